//! The XDP shell. On the host it is an empty program, so that the workspace builds and tests as one.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

    #[xdp]
    fn ingress(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[xdp]
    fn egress(_: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    /// The verifier refuses a program in which this loop can be reached.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(no_mangle)]
    #[unsafe(link_section = "license")]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
