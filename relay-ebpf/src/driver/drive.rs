//! The drivers: each writes one packet after the other, and jumps to the program measured.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::{Array, ProgramArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use relay_abi::Be16;
use relay_core::wire::checksum::Sum;

use super::source;
use super::template::{Template, WORDS};

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
    drive::<WORDS, 34, 46>(&context)
}

/// Tunnel packets of 80 bytes that hold packets to varying clients.
#[xdp]
pub(crate) fn drive_tunnel_to_client(context: XdpContext) -> u32 {
    drive::<WORDS, 34, 50>(&context)
}

/// Writes a packet of `LENGTH` words, whose client's address stands at `CLIENT` in the IPv4 header at `HEADER`, and jumps.
#[inline(always)]
fn drive<const LENGTH: usize, const HEADER: usize, const CLIENT: usize>(context: &XdpContext) -> u32 {
    let Some(template) = TEMPLATE.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the value is there as long as the program runs, and a driver runs on one CPU.
    let template: &mut Template = unsafe { &mut *template };
    let (start, end) = (context.data(), context.data_end());
    if start + 14 + 4 * (LENGTH - 4) > end {
        return xdp_action::XDP_ABORTED;
    }
    let client = source::address(next(template)).to_be();
    let (address, checksum) = (word_of(CLIENT), word_of(HEADER + 10));
    let [ttl, protocol, c0, c1] = template.words[checksum].to_ne_bytes();
    let sum = Sum::zero().replace_word(0, client).update(Be16([c0, c1]));
    let mut index = 0;
    while index < LENGTH {
        let word = if index == address {
            client
        } else if index == checksum {
            u32::from_ne_bytes([ttl, protocol, sum.0[0], sum.0[1]])
        } else {
            template.words[index]
        };
        // Writes as headers are read, for a read across two writes waits for both of them to leave the processor's store
        // buffer.
        let to = start + if index < 4 { 4 * index } else { 14 + 4 * (index - 4) };
        if index == 3 {
            // SAFETY: the packet has LENGTH words, of which the fourth is cut short.
            unsafe { (to as *mut u16).write_unaligned(word as u16) };
        } else {
            // SAFETY: as above.
            unsafe { (to as *mut u32).write_unaligned(word) };
        }
        index += 1;
    }
    // SAFETY: the context is the one this program was called with; a missing target falls through.
    unsafe { MEASURED.tail_call(context, 0) };
    xdp_action::XDP_ABORTED
}

/// The index of the word that starts at an offset in the packet, or holds it, behind the Ethernet header.
const fn word_of(offset: usize) -> usize {
    4 + (offset - 14) / 4
}

/// The number of the source of the next packet.
#[inline(always)]
fn next(template: &mut Template) -> u32 {
    let choice = if template.random == 0 {
        template.turn = template.turn.wrapping_add(1);
        template.turn
    } else {
        template.random = random(template.random);
        template.random
    };
    template.first.wrapping_add(choice & template.mask)
}

/// Xorshift (Marsaglia 2003): random enough to defeat caches.
#[inline(always)]
const fn random(state: u32) -> u32 {
    let random = state ^ state << 13;
    let random = random ^ random >> 17;
    random ^ random << 5
}
