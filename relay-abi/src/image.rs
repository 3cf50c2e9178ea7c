//! One configuration as the packet path reads it: a single value, published by one atomic swap.
//!
//! A packet looks the image up once and sees one generation from its first byte to its verdict. User space never
//! changes an image in force; it publishes another.

use bytemuck::{Pod, Zeroable};

use crate::endpoint::EndpointSet;
use crate::limit::Costs;
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
    /// Of the flow table and the client tables; as in [`crate::meta::Meta::table_seed`].
    pub table_seed: u64,
    /// Key of the proofs that challenged clients are asked for, shared by the ingress relays.
    pub proof_key: [u64; 2],
    /// Added to jiffies to get jiffies since 1970, so that relays agree on the epoch of a proof.
    pub epoch_offset: u64,
    /// Jiffies an epoch lasts; never 0.
    pub epoch_jiffies: u64,
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
    pub reserved: [u8; 3],
    /// Sets of the client table, less one.
    pub client_mask: u32,
    /// Sets of the prefix table, less one.
    pub prefix_mask: u32,
    /// Netmask of the prefixes that are limited, as [`Ipv4::word`].
    pub prefix_netmask: u32,
    /// ACKs that challenge clients, a jiffy and CPU, in units of 1 / [`crate::bucket::TOKEN`].
    pub challenge_rate: u32,
    /// Bucket depth of the same.
    pub challenge_burst: u32,
    /// Events a jiffy, for each reason and CPU, in units of 1 / [`crate::bucket::TOKEN`]; 0 for none.
    pub event_rate: u32,
    /// Bucket depth of the same.
    pub event_burst: u32,
    /// Zero.
    pub reserved_too: [u8; 36],
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
    /// Limits of one client; ingress relay only, as all that follows.
    pub client: Costs,
    /// Limits of one prefix of clients.
    pub prefix: Costs,
    /// Limits of the service in total.
    pub total: Costs,
    /// How far a due time may be ahead of now (see [`crate::limit`]).
    pub burst: u64,
    /// A [`filter::Mode`] for each filter, two bits each, from [`filter`]'s numbers.
    pub filters: u16,
    /// One of [`proof`].
    pub proof: u8,
    /// Bits of [`option`].
    pub options: u8,
    /// Unproven SYNs a tick above which unproven SYNs are challenged, with [`proof::THRESHOLD`].
    pub proof_threshold: u32,
    /// Zero.
    pub reserved: [u8; 24],
}

/// Cheap filters of a service, and where their mode stands in [`Service::filters`].
pub mod filter {
    /// What a filter does. A newtype over its two bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Mode(pub u16);

    impl Mode {
        /// Nothing.
        pub const OFF: Self = Self(0);
        /// Counts what it would drop, apart for verified and unproven clients.
        pub const SHADOW: Self = Self(1);
        /// Drops.
        pub const ENFORCE: Self = Self(2);
    }

    /// UDP from ports that reflect (amplify) what others ask.
    pub const REFLECTOR_PORTS: u16 = 0;
    /// TCP flags that no connection has: none, SYN+FIN, SYN+RST, FIN+URG+PSH without ACK.
    pub const TCP_FLAGS: u16 = 1;
    /// Source port 0.
    pub const SOURCE_PORT_ZERO: u16 = 2;
    /// Fragments but the first, which have no ports.
    pub const FRAGMENTS: u16 = 3;
    /// IP protocols that no service of the VIP speaks.
    pub const PROTOCOLS: u16 = 4;

    /// The mode of a filter.
    #[inline(always)]
    pub const fn mode(filters: u16, filter: u16) -> Mode {
        Mode(filters >> (2 * filter) & 3)
    }
}

/// When the source of a SYN of an unproven client has to prove itself.
pub mod proof {
    /// Never.
    pub const OFF: u8 = 0;
    /// While there are more unproven SYNs than the threshold, and for some ticks after.
    pub const THRESHOLD: u8 = 1;
    /// Always.
    pub const ALWAYS: u8 = 2;
}

/// Switches of a service.
pub mod option {
    /// What is over a limit of its client or prefix passes while the service's total has room, instead of being dropped.
    pub const MARK_DOWN: u8 = 1;
    /// The fair share in `FAIR_COSTS` is a cost of bytes, else of packets.
    pub const FAIR_BYTES: u8 = 2;
    /// An answer of the service proves a client of UDP: the service answers only clients that have proved themselves.
    pub const ANSWERS_VERIFY: u8 = 4;
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
