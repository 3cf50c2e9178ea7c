//! The drivers and the programs measured against.

mod baseline;
mod drive;
mod kernel_lru;
mod kernel_lru_values;
mod source;
mod template;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // A panic that can be reached is an endless loop to the verifier, which refuses it.
    loop {}
}

/// Read by the kernel: which helpers the program may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
