//! What a service lets its clients do, checked and complete: limits, filters, proofs, bans, lists.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipnet::Ipv4Net;

/// What an ingress relay asks of the clients of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How much they may send.
    pub limits: Limits,
    /// Packets that are refused at sight.
    pub filters: Filters,
    /// When the source of a SYN has to prove itself.
    pub proof: Proof,
    /// Whether an answer over UDP proves the client, for the service answers none that has not proved itself.
    pub answers_verify: bool,
}

/// How much clients may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Each client.
    pub client: Rates,
    /// Each prefix of clients.
    pub prefix: Rates,
    /// All together.
    pub total: Rates,
    /// How long at full rate a limit may be exceeded.
    pub burst: Duration,
    /// What happens to what is over a limit of its client or prefix.
    pub over: OverLimit,
    /// What is shared fairly when clients ask for more.
    pub fair: Option<Capacity>,
    /// Automatic bans of clients that stay over their limit.
    pub ban: Option<Ban>,
}

impl Limits {
    /// Whether a client, or its prefix, has a limit of its own.
    #[must_use]
    pub fn limit_clients(&self) -> bool {
        self.client != Rates::default() || self.prefix != Rates::default() || self.fair.is_some()
    }
}

/// Rates a second; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Packets.
    pub packets: Option<u64>,
    /// Bytes of IPv4 packets.
    pub bytes: Option<u64>,
    /// New connections: SYNs.
    pub connections: Option<u64>,
}

/// What happens to what is over a limit of its client or prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// It is dropped.
    #[default]
    Drop,
    /// It passes while the service's total, of which there is one then, has room.
    MarkDown,
}

/// What a service can take, in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// Packets a second.
    Packets(u64),
    /// Bytes of IPv4 packets a second.
    Bytes(u64),
}

/// Automatic bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// How long a client must stay over its limit; never zero.
    pub after: Duration,
    /// How long the first ban lasts; each further one twice as long.
    pub first: Duration,
    /// How long a ban lasts at most.
    pub longest: Duration,
    /// How long a client is banned, each time, that has not proved that its address is its own; zero: never.
    pub unproven: Duration,
}

/// The filters of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// UDP from ports that reflect.
    pub reflector_ports: FilterMode,
    /// TCP flags no connection has.
    pub tcp_flags: FilterMode,
    /// Source port 0.
    pub source_port_zero: FilterMode,
    /// Fragments but the first.
    pub fragments: FilterMode,
    /// IP protocols that no service of the VIP speaks.
    pub protocols: FilterMode,
}

/// What a filter does, from the least to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterMode {
    /// Nothing.
    Off,
    /// Counts what it would drop.
    Shadow,
    /// Drops.
    Enforce,
}

/// When the source of a SYN of an unproven client has to prove itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Never.
    #[default]
    Off,
    /// While there are more unproven SYNs a second.
    Above(u32),
    /// Always.
    Always,
}

/// The client table and what else an ingress relay keeps of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Clients of services that the table is made for: it has twice as many places.
    pub entries: u32,
    /// Length of the prefixes that are limited.
    pub prefix_length: u8,
    /// ACKs a second and CPU that challenge clients.
    pub challenge_rate: u32,
}

/// Lists from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Blocked prefixes.
    pub block: Vec<ListedPrefix>,
    /// Prefixes that are never limited, nor banned by the relay on its own.
    pub allow: Vec<ListedPrefix>,
    /// Files of blocked prefixes.
    pub block_files: Vec<PathBuf>,
    /// Files of allowed prefixes.
    pub allow_files: Vec<PathBuf>,
}

/// A prefix in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPrefix {
    /// Without bits set behind its length.
    pub prefix: Ipv4Net,
    /// Why it is there.
    pub reason: Option<String>,
    /// From when on it no longer holds.
    pub expires: Option<SystemTime>,
}

/// Samples of dropped packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// A second, for each reason and CPU; 0 for none.
    pub rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client: Rates::default(),
            prefix: Rates::default(),
            total: Rates::default(),
            burst: super::defaults::BURST,
            over: OverLimit::Drop,
            fair: None,
            ban: None,
        }
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            reflector_ports: FilterMode::Enforce,
            tcp_flags: FilterMode::Enforce,
            source_port_zero: FilterMode::Enforce,
            fragments: FilterMode::Enforce,
            // A host may speak other protocols at an address that is a VIP as well: VRRP, for one.
            protocols: FilterMode::Shadow,
        }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            entries: super::defaults::CLIENT_ENTRIES,
            prefix_length: super::defaults::PREFIX_LENGTH,
            challenge_rate: super::defaults::CHALLENGE_RATE,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self { rate: super::defaults::EVENT_RATE }
    }
}
