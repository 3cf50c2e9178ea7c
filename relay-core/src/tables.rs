//! The questions the packet path asks of what stands outside the packet: one method a question.

use core::sync::atomic::AtomicU64;

use relay_abi::flow::{FlowKey, FlowSet};
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::{Image, Ipv4, Tally, bucket::Bucket};

use crate::wire::ethernet::Stations;

/// Configuration, state and kernel services, as the packet path sees them.
pub trait Tables {
    /// The configuration in force; `None` before the first is published.
    fn image(&self) -> Option<&Image>;

    /// Set `set` of the flow table.
    fn flow_set(&self, set: u32) -> Option<&FlowSet>;

    /// A word of a flow set; reads of two words keep their order.
    fn load(&self, word: &AtomicU64) -> u64;

    /// Writes a word of a flow set; writes of two words keep their order.
    fn store(&self, word: &AtomicU64, value: u64);

    /// Replaces a word of a flow set if it still is `old`; whether it was. (The BPF target's core library has no atomic
    /// operations, its machine has.)
    fn swap(&self, word: &AtomicU64, old: u64, new: u64) -> bool;

    /// The state word of a flow in the spill table.
    fn spilled_flow(&self, key: &FlowKey) -> Option<u64>;

    /// Puts a flow into the spill table; whether there was room.
    fn spill_flow(&self, key: &FlowKey, state: u64) -> bool;

    /// A token bucket of this CPU.
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

    /// Counts an event.
    fn tally(&self, tally: Tally);
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
