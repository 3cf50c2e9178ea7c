//! One configuration as the packet path reads it: a single value, published by one atomic swap.
//!
//! A packet looks the image up once and sees one generation from its first byte to its verdict. User space never
//! changes an image in force; it publishes another.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::EndpointSet;
use crate::limits::{BACKENDS, ENDPOINT_SETS, PEER_SLOTS, PEERS, RING_SLOTS, SERVICES};
use crate::{Be16, Ipv4};

/// Everything a packet is judged by, but for counters, flows and token buckets.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Image {
    /// What holds for every packet.
    pub globals: Globals,
    /// What an address is to this relay.
    pub endpoints: [EndpointSet; ENDPOINT_SETS],
    /// Services, by index.
    pub services: [Service; SERVICES],
    /// Backends, by index.
    pub backends: [Backend; BACKENDS],
    /// Relays of the other tier, by index.
    pub peers: [Peer; PEERS],
    /// Pool of the services' pick tables.
    pub ring: [u16; RING_SLOTS],
}

/// What holds for every packet of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Globals {
    /// Number of this generation; 0 in an image nobody has written.
    pub generation: u64,
    /// Secret of the flow hash, shared by the ingress relays.
    pub hash_key: [u64; 2],
    /// Of the endpoint table.
    pub endpoint_seed: u64,
    /// Of the flow table; as in [`crate::meta::Meta::flow_seed`].
    pub flow_seed: u64,
    /// Interface towards the clients (ingress relay) or the backends (egress relay).
    pub edge_ifindex: u32,
    /// Interface towards the relays of the other tier; may be the same.
    pub tunnel_ifindex: u32,
    /// This relay's tunnel address: source of outer headers, destination of what the peers send.
    pub tunnel_address: Ipv4,
    /// Source of the ICMP errors an egress relay sends to its backends.
    pub edge_address: Ipv4,
    /// Sets of the flow table, less one.
    pub flow_mask: u32,
    /// Ticks after which a flow may be displaced.
    pub flow_idle_ticks: u32,
    /// A tick is 2 to this power jiffies: about one second.
    pub tick_shift: u32,
    /// Largest outer packet, in bytes.
    pub tunnel_mtu: u16,
    /// First byte pair of the outer header: version, header length, DSCP with a zero ECN field.
    pub outer_start: [u8; 2],
    /// Generated ICMP errors a jiffy, for the relay and for one /24, in units of 1 / [`crate::bucket::TOKEN`].
    pub icmp_rate: [u32; 2],
    /// Bucket depths of the same.
    pub icmp_burst: [u32; 2],
    /// Sets of the endpoint table in use, less one.
    pub endpoint_mask: u32,
    /// TTL of the outer header.
    pub outer_ttl: u8,
    /// Zero.
    pub reserved: [u8; 35],
}

/// Where translation of addresses happens.
pub mod translate {
    /// At the ingress relay.
    pub const INGRESS: u8 = 0;
    /// Nowhere: the service's hosts hold the VIP.
    pub const NONE: u8 = 1;
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Service {
    /// Public address.
    pub vip: Ipv4,
    /// Public port; zero for any.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// One of [`translate`].
    pub translate: u8,
    /// First slot of the pick table in [`Image::ring`].
    pub ring_start: u32,
    /// Slots of the pick table; 0 when there is nothing to pick. The slots hold indices of backends; at an ingress relay
    /// with [`translate::NONE`], of peers.
    pub ring_length: u32,
}

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Backend {
    /// Real address.
    pub address: Ipv4,
    /// Real port; zero to keep the packet's.
    pub port: Be16,
    /// Slots of `peers` in use; 0 when no egress relay reaches it.
    pub peer_count: u16,
    /// Egress relays that reach it, spread over the slots.
    pub peers: [u8; PEER_SLOTS],
    /// Way to it; egress relay only.
    pub next_hop: NextHop,
}

/// A relay of the other tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Peer {
    /// Its tunnel address.
    pub address: Ipv4,
    /// One's-complement sum, as native 16-bit words, of the outer header's bytes that do not change from packet to packet.
    pub outer_sum: u32,
    /// Way to it.
    pub next_hop: NextHop,
    /// Zero.
    pub reserved: u32,
}

/// A resolved next hop, ready to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NextHop {
    /// Interface to send from; 0 while the next hop is not resolved.
    pub ifindex: u32,
    /// Destination and source of the Ethernet header, six bytes each, in words as they stand in memory.
    pub stations: [u32; 3],
    /// Zero.
    pub reserved: [u8; 4],
}
