//! The configuration as the rest of the program sees it: checked, complete, defaults applied.
//!
//! These types cannot say what the checks refuse: what only one role or one way of translation has, only that variant
//! carries. Names of peers are resolved to indices into [`Config::peers`].

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::policy::{Clients, Events, Lists, Policy};

/// One relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this relay on this host: names its pins and its lock.
    pub node: String,
    /// bpffs directory that holds `<node>/` with the pins.
    pub pin_directory: PathBuf,
    /// Directory of the lock file `<node>.lock`.
    pub state_directory: PathBuf,
    /// How the program is attached to the interfaces.
    pub mode: AttachMode,
    /// The outer header of what this relay sends, and where the tunnels arrive.
    pub tunnel: Tunnel,
    /// Relays of the other tier; at least one.
    pub peers: Vec<Peer>,
    /// Limits of generated ICMP errors.
    pub icmp: Icmp,
    /// Keeping next hops alive.
    pub neighbours: Neighbours,
    /// Samples of dropped packets.
    pub events: Events,
    /// What only this relay's tier has.
    pub role: Role,
}

/// What only one tier has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tier 1, towards clients.
    Ingress(Ingress),
    /// Tier 2, towards backends.
    Egress(Egress),
}

/// The part of an ingress relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Interface towards clients; may be the tunnel interface (one-armed).
    pub public: String,
    /// Key of the flow hash, the same on all ingress relays of a service.
    pub hash_key: HashKey,
    /// What is kept of clients.
    pub clients: Clients,
    /// Lists of prefixes.
    pub lists: Lists,
    /// At least one.
    pub services: Vec<IngressService>,
}

/// A service as an ingress relay knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressService {
    /// Unique among the services.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port clients use.
    pub port: Port,
    /// Who rewrites, and what this relay must know for it.
    pub way: IngressWay,
    /// What its clients may do.
    pub policy: Policy,
}

/// Translation, seen from the ingress relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressWay {
    /// `translate = "ingress"`: this relay rewrites VIP:port to backend:port and back.
    Translate {
        /// The one address clients use.
        vip: Ipv4Addr,
        /// At least one. Every backend port is `Any` exactly when the service's is.
        backends: Vec<IngressBackend>,
    },
    /// `translate = "none"`: packets stay as clients sent them; the egress relays pick the backend.
    Keep {
        /// At least one, no duplicates.
        vips: Vec<Ipv4Addr>,
        /// Egress relays that reach the service; at least one, no duplicates.
        peers: Vec<PeerIndex>,
    },
}

/// A backend as an ingress relay knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressBackend {
    /// Unique in its service.
    pub name: String,
    /// Real address.
    pub address: Ipv4Addr,
    /// Real port; `Any` keeps the client's destination port.
    pub port: Port,
    /// Share of new flows, relative to the other backends of the service; at least 1.
    pub weight: u16,
    /// Egress relays that reach it; at least one, no duplicates.
    pub peers: Vec<PeerIndex>,
}

/// The part of an egress relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Interface towards the backends; may be the tunnel interface.
    pub service: String,
    /// Key of the flow hash; present exactly when a service is `Keep`.
    pub hash_key: Option<HashKey>,
    /// The flow table.
    pub flows: Flows,
    /// At least one.
    pub services: Vec<EgressService>,
}

/// A service as an egress relay knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressService {
    /// Unique among the services.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who rewrites, and what this relay must know for it.
    pub way: EgressWay,
}

/// Translation, seen from the egress relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressWay {
    /// `translate = "ingress"`: packets arrive addressed to the backend. No VIP is known here.
    Translated {
        /// At least one.
        backends: Vec<Endpoint>,
    },
    /// `translate = "none"`: packets arrive addressed to the VIP; this relay picks the backend by its MAC address.
    Keep {
        /// At least one, no duplicates.
        vips: Vec<Ipv4Addr>,
        /// The port clients use, which is also the backends'.
        port: Port,
        /// At least one.
        backends: Vec<WeightedHost>,
    },
}

/// A backend that packets are addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Unique in its service.
    pub name: String,
    /// Real address.
    pub address: Ipv4Addr,
    /// Real port.
    pub port: Port,
}

/// A backend that holds the VIP itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedHost {
    /// Unique in its service.
    pub name: String,
    /// The address whose next hop the packet is sent to.
    pub address: Ipv4Addr,
    /// Share of new flows, relative to the other backends of the service; at least 1.
    pub weight: u16,
}

/// A relay of the other tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Unique among the peers.
    pub name: String,
    /// Its tunnel address, unique among the peers.
    pub address: Ipv4Addr,
}

/// Position in [`Config::peers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub usize);

/// This relay's end of every tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Interface towards the other tier.
    pub interface: String,
    /// Outer source of what is sent, outer destination of what is accepted.
    pub local: Ipv4Addr,
    /// Bytes of the largest outer packet; `None`: the MTU of the interface.
    pub mtu: Option<u16>,
    /// Outer TTL; at least 1.
    pub ttl: u8,
    /// Outer DSCP, 0 to 63.
    pub dscp: u8,
}

/// Token buckets of generated ICMP errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Errors per second sent by the relay.
    pub rate: u32,
    /// Errors per second sent to one client /24.
    pub prefix_rate: u32,
}

/// The flow table of an egress relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// Entries asked for; the table rounds up.
    pub entries: u32,
    /// After which a flow without packets may be displaced.
    pub idle_timeout: Duration,
}

/// Keeping next hops alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// How often a stale next hop is probed.
    pub probe_interval: Duration,
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel allocates anything.
    Driver,
    /// In the kernel's generic hook: works everywhere, slow.
    Generic,
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A transport port, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// Every port of the protocol.
    Any,
    /// This one, never 0.
    Number(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// The secret of the flow hash. Never printed: its `Debug` shows no bit of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// Wraps the 128 bits.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bits, for the image of the maps.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_key_shows_nothing() {
        assert_eq!(format!("{:?}", HashKey::new([0xab; 16])), "HashKey(hidden)");
    }
}
