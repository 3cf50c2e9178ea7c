//! The kernel's answer to where a packet goes (`bpf_fib_lookup`).

use core::mem::{size_of, zeroed};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
    BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Parameters,
};
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::programs::XdpContext;
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::{Ipv4, Mac};
use relay_core::tables::{Route, RouteQuery};

/// Asks the kernel for the route of a packet that is to be forwarded.
#[inline(always)]
pub(crate) fn route(context: &XdpContext, query: &RouteQuery) -> Route {
    // SAFETY: all fields are plain numbers, for which zero is a value.
    let mut parameters: Parameters = unsafe { zeroed() };
    parameters.family = AF_INET;
    parameters.l4_protocol = query.protocol;
    parameters.__bindgen_anon_1.tot_len = query.total_length;
    parameters.ifindex = query.ifindex;
    parameters.__bindgen_anon_2.tos = query.tos;
    parameters.__bindgen_anon_3.ipv4_src = query.source.word();
    parameters.__bindgen_anon_4.ipv4_dst = query.destination.word();
    // SAFETY: the context is the kernel's, the parameters are whole and of the length given.
    let answer =
        unsafe { bpf_fib_lookup(context.as_ptr(), &raw mut parameters, size_of::<Parameters>() as i32, 0) };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => Route::Hop {
            ifindex: parameters.ifindex,
            neighbour: Neighbour { destination: mac(&parameters.dmac), source: mac(&parameters.smac) },
        },
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

/// Copies an address in steps of two bytes: the kernel refuses wider reads that are not aligned on the stack.
#[inline(always)]
fn mac(address: &[u8; 6]) -> Mac {
    let mut copy = [0; 6];
    let from = address.as_ptr().cast::<[u8; 2]>();
    for index in 0..3 {
        // SAFETY: three pairs of bytes make the six of the address.
        let pair = unsafe { from.add(index) };
        // SAFETY: the pair is inside the address, which lies on an even place of the stack.
        let [a, b] = unsafe { pair.cast::<u16>().read_volatile() }.to_ne_bytes();
        copy[2 * index] = a;
        copy[2 * index + 1] = b;
    }
    Mac(copy)
}

const AF_INET: u8 = 2;
