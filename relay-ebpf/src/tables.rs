//! The tables over the maps: one lookup a question.

use core::arch::asm;
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};
use core::sync::atomic::AtomicU64;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::programs::XdpContext;
use relay_abi::bucket::Bucket;
use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::event::EventBudget;
use relay_abi::flow::{FlowKey, FlowSet};
use relay_abi::limit::PrefixSet;
use relay_abi::list::Line;
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::service_state::{ServiceCounters, ServiceState};
use relay_abi::{Image, Tally};
use relay_core::Tables;
use relay_core::tables::{Route, RouteQuery};

use crate::maps::{
    CLIENT_DETAILS, CLIENTS, EVENT_BUDGETS, FAIR_COSTS, FLOW_SPILL, FLOWS, GENERATIONS, ICMP_BUCKETS, LISTS,
    List, NEIGHBOUR_MISSES, NEIGHBOURS, PREFIXES, SERVICE_COUNTERS, SERVICE_STATES,
};
use crate::{count, event, route};

/// The maps of this object, and the kernel's services for one packet.
pub(crate) struct MapTables {
    context: XdpContext,
}

impl MapTables {
    #[inline(always)]
    pub(crate) fn new(context: &XdpContext) -> Self {
        Self { context: XdpContext::new(context.as_ptr().cast()) }
    }

    /// The kernel's context.
    #[inline(always)]
    pub(crate) fn context(&self) -> *mut xdp_md {
        self.context.as_ptr().cast()
    }
}

impl Tables for MapTables {
    type List = List;

    #[inline(always)]
    fn image(&self) -> Option<&Image> {
        GENERATIONS.get_value(0, &0)
    }

    #[inline(always)]
    fn flow_set(&self, set: u32) -> Option<&FlowSet> {
        FLOWS.get(set)
    }

    #[inline(always)]
    fn load(&self, word: &AtomicU64) -> u64 {
        // SAFETY: the word is inside a map value; aligned 64-bit reads are atomic on every machine that runs BPF programs.
        unsafe { word.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn store(&self, word: &AtomicU64, value: u64) {
        // SAFETY: as in `load`.
        unsafe { word.as_ptr().write_volatile(value) };
    }

    #[inline(always)]
    fn swap(&self, word: &AtomicU64, old: u64, new: u64) -> bool {
        // SAFETY: the word is inside a map value; the kernel's instruction is atomic.
        let (_, swapped) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                word.as_ptr(),
                old,
                new,
            )
        };
        swapped
    }

    #[inline(always)]
    fn add(&self, word: &AtomicU64, value: u64) -> u64 {
        // SAFETY: as in `swap`.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word.as_ptr(), value) }
    }

    #[inline(always)]
    fn exchange(&self, word: &AtomicU64, value: u64) -> u64 {
        // SAFETY: as in `swap`.
        unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word.as_ptr(), value) }
    }

    #[inline(always)]
    fn client_set(&self, set: u32) -> Option<&ClientSet> {
        CLIENTS.get(set)
    }

    #[inline(always)]
    fn client_details(&self, place: u32) -> Option<&ClientDetails> {
        CLIENT_DETAILS.get(place)
    }

    #[inline(always)]
    fn prefix_set(&self, set: u32) -> Option<&PrefixSet> {
        PREFIXES.get(set)
    }

    #[inline(always)]
    fn service_state(&self, service: u16) -> Option<&ServiceState> {
        SERVICE_STATES.get(service as u32)
    }

    #[inline(always)]
    fn service_counters(&self, service: u16) -> Option<&ServiceCounters> {
        SERVICE_COUNTERS.get(service as u32)
    }

    #[inline(always)]
    fn fair_cost(&self, service: u16) -> u64 {
        match FAIR_COSTS.get_ptr(service as u32) {
            // SAFETY: the pointer is to a map value; user space writes the word as a whole.
            Some(cost) => unsafe { cost.read_volatile() },
            None => 0,
        }
    }

    #[inline(always)]
    fn list(&self, slot: u32) -> Option<&List> {
        LISTS.get(slot)
    }

    #[inline(always)]
    fn list_line<'list>(&self, list: &'list List, line: u32) -> Option<&'list Line> {
        list.get(line)
    }

    #[inline(always)]
    fn event_budget(&self, code: u8) -> Option<EventBudget> {
        EVENT_BUDGETS.get(code as u32).copied()
    }

    #[inline(always)]
    fn set_event_budget(&self, code: u8, budget: EventBudget) {
        if let Some(place) = EVENT_BUDGETS.get_ptr_mut(code as u32) {
            // SAFETY: the pointer is to this CPU's value, which nothing else touches while the program runs on this CPU.
            unsafe { *place = budget };
        }
    }

    #[inline(always)]
    fn report_dropped(&self, reason_code: u8, length: usize, suppressed: u64) -> bool {
        event::report(self.context.as_ptr().cast(), reason_code, length, suppressed)
    }

    #[inline(always)]
    fn spilled_flow(&self, key: &FlowKey) -> Option<u64> {
        // SAFETY: the value is one word, copied at once; an entry reused meanwhile gives another flow's peer at worst.
        unsafe { FLOW_SPILL.get(key) }.copied()
    }

    #[inline(always)]
    fn spill_flow(&self, key: &FlowKey, state: u64) -> bool {
        FLOW_SPILL.insert(key, state, 0).is_ok()
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<Bucket> {
        ICMP_BUCKETS.get(index).copied()
    }

    #[inline(always)]
    fn set_bucket(&self, index: u32, bucket: Bucket) {
        if let Some(place) = ICMP_BUCKETS.get_ptr_mut(index) {
            // SAFETY: the pointer is to this CPU's value, which nothing else touches while the program runs on this CPU.
            unsafe { *place = bucket };
        }
    }

    #[inline(always)]
    fn jiffies(&self) -> u64 {
        // SAFETY: the helper takes nothing and cannot fail.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery) -> Route {
        route::route(&self.context, query)
    }

    #[inline(always)]
    fn neighbour(&self, key: &NeighbourKey) -> Option<Neighbour> {
        // SAFETY: the value is copied at once; user space replaces values as a whole.
        unsafe { NEIGHBOURS.get(key) }.copied()
    }

    #[inline(always)]
    fn report_missing(&self, key: &NeighbourKey) -> bool {
        NEIGHBOUR_MISSES.output_untyped(*key, 0).is_ok()
    }

    #[inline(always)]
    fn forgotten(&self, number: u64) -> u64 {
        // The factor brings the doubt into all bits.
        number ^ (count::unknown_zero(self.context()) as u64).wrapping_mul(0x1_0000_0001)
    }

    #[inline(always)]
    fn equal(&self, a: u64, b: u64) -> u32 {
        let mut zero = a ^ b;
        let mut other = zero;
        // In instructions, for the compiler would make branches of it.
        // SAFETY: the instructions reckon with two registers: the sign of a number or of its negative is set unless it is zero.
        unsafe {
            asm!(
                "{other} = -{other}",
                "{zero} |= {other}",
                "{zero} >>= 63",
                "{zero} ^= 1",
                zero = inout(reg) zero,
                other = inout(reg) other,
                options(pure, nomem, nostack)
            );
        };
        let _ = other;
        zero as u32
    }

    #[inline(always)]
    fn tally(&self, tally: Tally) {
        count::tally(self.context.as_ptr().cast(), tally);
    }
}
