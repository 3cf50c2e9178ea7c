//! What compiling needs besides the configuration: facts about this host, as the controller read them from the kernel.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// The interfaces the program is attached to, and this host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// Towards the clients (ingress relay) or the backends (egress relay).
    pub edge: Link,
    /// Towards the relays of the other tier; equal to `edge` on a one-armed host.
    pub tunnel: Link,
    /// Every IPv4 address of this host on the two interfaces and, but for 127.0.0.0/8, on the loopback interface;
    /// without duplicates, in ascending order.
    pub own_addresses: Vec<Ipv4Addr>,
    /// The edge interface's own address: source of the ICMP errors an egress relay sends to its backends. Unspecified
    /// when the interface has none.
    pub edge_address: Ipv4Addr,
    /// The kernel's clock.
    pub clock: Clock,
}

/// What the kernel's ticks (jiffies) mean. Measured once, when the controller starts: it does not follow a wall clock that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Length of a tick, for times and rates kept in jiffies.
    pub jiffies_per_second: u32,
    /// Added to the kernel's counter it gives the ticks since 1970: what relays agree on.
    pub epoch_offset: u64,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index; changes when the interface is deleted and made again.
    pub ifindex: u32,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Bytes of the largest IP packet.
    pub mtu: u32,
    /// Its name.
    pub name: String,
}

/// The ways to the addresses that packets are sent to: peers, and the backends of an egress relay.
///
/// An address that is not in here could not be resolved; the image says so, and packets for it are dropped with a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHops(HashMap<Ipv4Addr, ResolvedHop>);

/// A way to one address: what stands in the Ethernet header, and where the frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedHop {
    /// Interface to send from; never 0.
    pub ifindex: u32,
    /// Link-layer address of the gateway, or of the address itself when it is on the link.
    pub destination_mac: [u8; 6],
    /// Link-layer address of the interface.
    pub source_mac: [u8; 6],
}

impl NextHops {
    /// The way to an address, if it is resolved.
    #[must_use]
    pub fn get(&self, address: Ipv4Addr) -> Option<&ResolvedHop> {
        self.0.get(&address)
    }

    /// Number of resolved addresses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is resolved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Ipv4Addr, ResolvedHop)> for NextHops {
    fn from_iter<I: IntoIterator<Item = (Ipv4Addr, ResolvedHop)>>(hops: I) -> Self {
        Self(hops.into_iter().collect())
    }
}
