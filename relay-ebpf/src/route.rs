//! The kernel's answer to where a packet goes (`bpf_fib_lookup`).

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
    BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Parameters,
};
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::programs::XdpContext;
use relay_abi::Ipv4;
use relay_abi::neighbour::NeighbourKey;
use relay_core::tables::{Route, RouteQuery};
use relay_core::wire::ethernet::Stations;

/// Asks the kernel for the route of a packet that is to be forwarded.
#[inline(always)]
pub(crate) fn route(context: &XdpContext, query: &RouteQuery) -> Route {
    let mut storage = MaybeUninit::<Parameters>::uninit();
    let parameters = zeroed(&mut storage);
    parameters.family = AF_INET;
    parameters.l4_protocol = query.protocol;
    parameters.__bindgen_anon_1.tot_len = query.total_length;
    parameters.ifindex = LOOPBACK;
    parameters.__bindgen_anon_2.tos = query.tos;
    parameters.__bindgen_anon_3.ipv4_src = query.source.word();
    parameters.__bindgen_anon_4.ipv4_dst = query.destination.word();
    // SAFETY: the context is the kernel's, the parameters are whole and of the length given.
    let answer =
        unsafe { bpf_fib_lookup(context.as_ptr(), &raw mut *parameters, size_of::<Parameters>() as i32, 0) };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => {
            Route::Hop { ifindex: parameters.ifindex, stations: stations(parameters) }
        }
        BPF_FIB_LKUP_RET_NO_NEIGH => Route::NoNeighbour(NeighbourKey {
            ifindex: parameters.ifindex,
            // SAFETY: the kernel has left the next hop's address in this member of the union.
            address: Ipv4(unsafe { parameters.__bindgen_anon_4.ipv4_dst }.to_ne_bytes()),
        }),
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::TooBig,
        BPF_FIB_LKUP_RET_FWD_DISABLED => Route::ForwardingDisabled,
        _ => Route::Unreachable,
    }
}

/// Zeroes the parameters where they are, word by word: zeroing or moving them as a whole becomes a loop, which the verifier
/// refuses without CAP_PERFMON.
#[inline(always)]
fn zeroed(storage: &mut MaybeUninit<Parameters>) -> &mut Parameters {
    const WORDS: usize = size_of::<Parameters>() / 8;
    const { assert!(size_of::<Parameters>() == 8 * WORDS) };
    let words = storage.as_mut_ptr().cast::<u64>();
    for index in 0..WORDS {
        // SAFETY: the parameters have this many words.
        let word = unsafe { words.add(index) };
        // SAFETY: as above; the stack of a BPF program is aligned to words.
        unsafe { word.write_volatile(0) };
    }
    // SAFETY: all bytes are written, and all fields are plain numbers, for which zero is a value.
    unsafe { storage.assume_init_mut() }
}

/// Both link-layer addresses, read in steps of two bytes: the kernel refuses wider reads that are not aligned on the stack.
#[inline(always)]
fn stations(parameters: &Parameters) -> Stations {
    let (to, from) = (parameters.dmac.as_ptr().cast(), parameters.smac.as_ptr().cast());
    [join(pair(to, 0), pair(to, 1)), join(pair(to, 2), pair(from, 0)), join(pair(from, 1), pair(from, 2))]
}

#[inline(always)]
fn pair(address: *const u16, index: usize) -> u16 {
    // SAFETY: three pairs make an address, and both addresses stand at even offsets.
    let place = unsafe { address.add(index) };
    // SAFETY: as above.
    unsafe { place.read_volatile() }
}

#[inline(always)]
fn join(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

const AF_INET: u8 = 2;

/// The loopback interface, which has this index in every network namespace. The kernel answers only for an interface that
/// forwards: asked about this one, no other has to, and the kernel routes nothing past the relay.
const LOOPBACK: u32 = 1;
