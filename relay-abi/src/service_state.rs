//! What the packet path keeps of each service beside the image, at an ingress relay.

use core::sync::atomic::AtomicU64;

use crate::client::DropClass;

/// State of a service that all CPUs share: the value of `SERVICE_STATES` at the service's index.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ServiceState {
    /// As [`crate::client::Client::dues`], of the service in total: of packets and of bytes.
    pub dues: [AtomicU64; 2],
    /// The same of new connections.
    pub connections_due: AtomicU64,
    /// The same for the clients that found no place in the client table: they share one client's limits.
    pub unplaced_dues: [AtomicU64; 2],
    /// The same of new connections.
    pub unplaced_connections_due: AtomicU64,
    /// Unproven SYNs (bits 0-31) in the tick in bits 32-63.
    pub unproven_syns: AtomicU64,
    /// The tick until which unproven SYNs are challenged; in the past when the service is at peace.
    pub challenged_until: AtomicU64,
}

/// Counts of a service on one CPU, which nothing else writes: the value of `SERVICE_COUNTERS` at the service's index.
///
/// `forward_packets` + `dropped_packets` are all packets of its clients that could be told to be theirs.
/// `forward_packets` is the sum of [`crate::client::ClientDetails::packets`] and [`crate::client::Client::counts`] over its clients, and
/// `gone`; likewise with the others.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ServiceCounters {
    /// Packets forwarded.
    pub forward_packets: AtomicU64,
    /// Bytes of IPv4 packets forwarded.
    pub forward_bytes: AtomicU64,
    /// Packets of the service that went back to clients.
    pub return_packets: AtomicU64,
    /// Their bytes of IPv4 packets.
    pub return_bytes: AtomicU64,
    /// SYNs admitted.
    pub connections: AtomicU64,
    /// Packets dropped of clients of this service.
    pub dropped_packets: AtomicU64,
    /// Their bytes of IPv4 packets.
    pub dropped_bytes: AtomicU64,
    /// Clients that gave their place to another one.
    pub evicted: AtomicU64,
    /// What clients that have no place in the table, or no longer have one, account for.
    pub gone: Gone,
}

/// The counts of [`crate::client::ClientDetails`] of clients without a place.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Gone {
    /// Forwarded packets.
    pub packets: AtomicU64,
    /// Forwarded bytes.
    pub bytes: AtomicU64,
    /// Packets back.
    pub return_packets: AtomicU64,
    /// Bytes back.
    pub return_bytes: AtomicU64,
    /// New connections.
    pub connections: AtomicU64,
    /// Dropped packets by [`DropClass`].
    pub drops: [AtomicU64; DropClass::COUNT],
}
