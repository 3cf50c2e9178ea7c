//! The questions the packet path asks of what stands outside the packet: one method a question.

use core::sync::atomic::AtomicU64;

use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::event::EventBudget;
use relay_abi::flow::{FlowKey, FlowSet};
use relay_abi::limit::PrefixSet;
use relay_abi::list::Line;
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::service_state::{ServiceCounters, ServiceState};
use relay_abi::{Image, Ipv4, Tally, bucket::Bucket};

use crate::wire::ethernet::Stations;
use crate::{Frame, path};

/// Configuration, state and kernel services, as the packet path sees them.
pub trait Tables {
    /// A list of prefixes.
    type List;

    /// The configuration in force; `None` before the first is published.
    fn image(&self) -> Option<&Image>;

    /// Set `set` of the flow table.
    fn flow_set(&self, set: u32) -> Option<&FlowSet>;

    /// A word of a table; reads of two words keep their order.
    fn load(&self, word: &AtomicU64) -> u64;

    /// Writes a word of a table; writes of two words keep their order.
    fn store(&self, word: &AtomicU64, value: u64);

    /// Replaces a word of a table if it still is `old`; whether it was. (The BPF target's core library has no atomic
    /// operations, its machine has.)
    fn swap(&self, word: &AtomicU64, old: u64, new: u64) -> bool;

    /// Adds to a word of a table that other CPUs change as well; what it was before.
    fn add(&self, word: &AtomicU64, value: u64) -> u64;

    /// Writes a word of a table that other CPUs change as well; what it was before.
    fn exchange(&self, word: &AtomicU64, value: u64) -> u64;

    /// Set `set` of the client table.
    fn client_set(&self, set: u32) -> Option<&ClientSet>;

    /// The details of the client at a place of the client table.
    fn client_details(&self, place: u32) -> Option<&ClientDetails>;

    /// Set `set` of the prefix table.
    fn prefix_set(&self, set: u32) -> Option<&PrefixSet>;

    /// What all CPUs share of a service.
    fn service_state(&self, service: u16) -> Option<&ServiceState>;

    /// This CPU's counts of a service: read and written without atomic operations.
    fn service_counters(&self, service: u16) -> Option<&ServiceCounters>;

    /// The fair share of a client of a service, as a cost; 0 at peace.
    fn fair_cost(&self, service: u16) -> u64;

    /// The list in force, one of [`relay_abi::list::slot`].
    fn list(&self, slot: u32) -> Option<&Self::List>;

    /// A line of a list.
    fn list_line<'list>(&self, list: &'list Self::List, line: u32) -> Option<&'list Line>;

    /// What this CPU may still report of a reason, by its code.
    fn event_budget(&self, code: u8) -> Option<EventBudget>;

    /// Writes a budget of this CPU back.
    fn set_event_budget(&self, code: u8, budget: EventBudget);

    /// Reports a dropped packet: its first bytes, and how many were not reported before; whether the report found room.
    fn report_dropped(&self, reason_code: u8, length: usize, suppressed: u64) -> bool;

    /// The state word of a flow in the spill table.
    fn spilled_flow(&self, key: &FlowKey) -> Option<u64>;

    /// Puts a flow into the spill table; whether there was room.
    fn spill_flow(&self, key: &FlowKey, state: u64) -> bool;

    /// A token bucket of this CPU: `ICMP_BUCKETS`.
    fn bucket(&self, index: u32) -> Option<Bucket>;

    /// Writes a token bucket of this CPU back.
    fn set_bucket(&self, index: u32, bucket: Bucket);

    /// The kernel's tick counter.
    fn jiffies(&self) -> u64;

    /// The kernel's route for a packet that came in on `ifindex`.
    fn route(&self, query: &RouteQuery) -> Route;

    /// The last known way to a next hop that the kernel has forgotten.
    fn neighbour(&self, key: &NeighbourKey) -> Option<Neighbour>;

    /// Asks the controller to resolve a next hop; whether the report found room.
    fn report_missing(&self, key: &NeighbourKey) -> bool;

    /// The number itself, but the kernel's verifier forgets what it knows of it: without CAP_PERFMON it does not let numbers that it knows to differ from
    /// path to path be added to a pointer.
    fn forgotten(&self, number: u64) -> u64;

    /// 1 if both are equal, else 0: without a branch, each of which would double the paths that the verifier walks.
    fn equal(&self, a: u64, b: u64) -> u32;

    /// Counts an event.
    fn tally(&self, tally: Tally);
}

/// Steps of the path that a kernel's verifier looks at by themselves, as if with any arguments: in the kernel each is a function of its own that
/// finds everything anew. On the host they are what they are.
pub trait Apart: Tables + Sized {
    /// [`path::judge`].
    fn judge<F: Frame>(&self, frame: &F, service: u16, generation: u64) -> u32 {
        path::judge(frame, self, service, generation)
    }

    /// [`path::judge_error`].
    fn judge_error<F: Frame>(&self, frame: &F, service: u16, generation: u64) -> u32 {
        path::judge_error(frame, self, service, generation)
    }

    /// [`path::account`].
    fn account(&self, key: u64, demand: u64, generation: u64) -> u32 {
        path::account(self, key, demand, generation)
    }

    /// [`path::clamp`].
    fn clamp<F: Frame>(&self, frame: &F, tcp: usize, options: u32, tunnel_mtu: u16) -> u64 {
        path::clamp(frame, tcp, options, tunnel_mtu)
    }

    /// [`path::dropped`].
    fn dropped(&self, key: u64, class: u32, length: u16) {
        path::dropped(self, key, class, length);
    }

    /// [`path::not_forwarded`].
    fn not_forwarded<F: Frame>(&self, frame: &F, service: u16, answered: u16) {
        path::not_forwarded(frame, self, service, answered);
    }

    /// [`path::returned`].
    fn returned<F: Frame>(&self, frame: &F) {
        path::returned(frame, self);
    }

    /// [`path::report`].
    fn report(&self, code: u8, length: usize) {
        path::report(self, code, length);
    }
}

/// A question to the kernel's routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteQuery {
    /// Source address.
    pub source: Ipv4,
    /// Destination address.
    pub destination: Ipv4,
    /// Bytes of the IP packet, checked against the MTU of the route.
    pub total_length: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Type of service byte.
    pub tos: u8,
}

/// The kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Send to this next hop.
    Hop {
        /// Interface to send from.
        ifindex: u32,
        /// Destination and source of the Ethernet header.
        stations: Stations,
    },
    /// There is a route, but the link-layer address of its next hop is not known.
    NoNeighbour(NeighbourKey),
    /// The packet is larger than the route's MTU.
    TooBig,
    /// Forwarding is switched off on the interface.
    ForwardingDisabled,
    /// No route, or one that refuses.
    Unreachable,
}
