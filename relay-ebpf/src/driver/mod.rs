//! The drivers and the programs measured against.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::btf_maps::{Array, ProgramArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use relay_abi::Be16;
use relay_core::wire::checksum::Sum;

/// A packet and how it varies.
#[repr(C)]
struct Template {
    /// The packet's words, as they stand in memory; its client's address is that of client 0.
    words: [u32; WORDS],
    /// Clients, less one: a power of two less one.
    mask: u32,
    /// State of the random numbers; not zero.
    random: u32,
}

/// Words of the longest packet: Ethernet, two IPv4 headers, payload, rounded up.
const WORDS: usize = 20;

#[btf_map]
static TEMPLATE: Array<Template, 1> = Array::new();

#[btf_map]
static MEASURED: ProgramArray<1> = ProgramArray::new();

/// Packets of 60 bytes from varying clients.
#[xdp]
pub(crate) fn drive_from_client(context: XdpContext) -> u32 {
    drive::<15, 14, 26>(&context)
}

/// Packets of 60 bytes to varying clients.
#[xdp]
pub(crate) fn drive_to_client(context: XdpContext) -> u32 {
    drive::<15, 14, 30>(&context)
}

/// Tunnel packets of 80 bytes that hold packets from varying clients.
#[xdp]
pub(crate) fn drive_tunnel_from_client(context: XdpContext) -> u32 {
    drive::<20, 34, 46>(&context)
}

/// Tunnel packets of 80 bytes that hold packets to varying clients.
#[xdp]
pub(crate) fn drive_tunnel_to_client(context: XdpContext) -> u32 {
    drive::<20, 34, 50>(&context)
}

/// What every relay's cost is counted over: sends the packet back as it is.
#[xdp]
pub(crate) fn baseline_tx(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Takes what the measured program sent, at the other end of the link.
#[xdp]
pub(crate) fn sink(_context: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Writes a packet of `LENGTH` words, whose client's address stands at `CLIENT` in the IPv4 header at `HEADER`, and jumps.
#[inline(always)]
fn drive<const LENGTH: usize, const HEADER: usize, const CLIENT: usize>(context: &XdpContext) -> u32 {
    let Some(template) = TEMPLATE.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the value is there as long as the program runs, and a benchmark runs on one CPU.
    let template: &mut Template = unsafe { &mut *template };
    let md: *mut xdp_md = context.as_ptr().cast();
    // SAFETY: the kernel hands a valid context to the program.
    let (start, end) = unsafe { ((*md).data as usize, (*md).data_end as usize) };
    if start + 4 * LENGTH > end {
        return xdp_action::XDP_ABORTED;
    }
    let packet = start as *mut u32;
    let mut index = 0;
    while index < LENGTH {
        // SAFETY: the packet has LENGTH words.
        unsafe { packet.add(index).write_unaligned(template.words[index]) };
        index += 1;
    }
    let client = next(&mut template.random) & template.mask;
    vary::<HEADER, CLIENT>(start, client);
    // SAFETY: the context is the one this program was called with; a missing target falls through.
    unsafe { MEASURED.tail_call(context, 0) };
    xdp_action::XDP_ABORTED
}

/// Puts a client into the packet: its number into the low half of the address.
#[inline(always)]
fn vary<const HEADER: usize, const CLIENT: usize>(start: usize, client: u32) {
    let low = (start + CLIENT + 2) as *mut u16;
    let high = (start + CLIENT) as *mut u16;
    let sum = (start + HEADER + 10) as *mut u16;
    // SAFETY: the caller has checked that the packet holds both headers.
    unsafe {
        let old = [low.read_unaligned(), high.read_unaligned()];
        let new = [(client as u16).to_be(), (u16::from_be(old[1]) + (client >> 16) as u16).to_be()];
        let changes = Sum::zero()
            .replace2(old[0].to_ne_bytes(), new[0].to_ne_bytes())
            .replace2(old[1].to_ne_bytes(), new[1].to_ne_bytes());
        let checksum = changes.update(Be16(sum.read_unaligned().to_ne_bytes()));
        low.write_unaligned(new[0]);
        high.write_unaligned(new[1]);
        sum.write_unaligned(u16::from_ne_bytes(checksum.0));
    }
}

/// Xorshift (Marsaglia 2003): random enough to defeat caches.
#[inline(always)]
fn next(state: &mut u32) -> u32 {
    let mut random = *state;
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    *state = random;
    random
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // A panic that can be reached is an endless loop to the verifier, which refuses it.
    loop {}
}

/// Read by the kernel: which helpers the program may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
