//! Who is on the other end of the wire: next hops of what the relay sends, and how they stay fresh.
//!
//! XDP traffic never refreshes the kernel's neighbour table: an entry goes stale, is collected, and nothing asks again.
//! So the controller asks. Everything here is pure: [`crate::netlink`] brings the facts, [`crate::serve`] acts.

mod clients;
mod facts;
mod misses;
mod next_hops;
mod upkeep;

use std::net::Ipv4Addr;

use crate::load::Present;

pub use clients::{Change, Clients};
pub use facts::{Effect, Facts};
pub use misses::MissLimit;
pub use next_hops::{NextHopTable, Target};
pub use upkeep::{Ask, ask_client, ask_clients, ask_hop};

/// A link-layer address.
pub type MacBytes = [u8; 6];

/// A link, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacBytes>,
    /// Bytes of the largest IP packet.
    pub mtu: u32,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// XDP programs attached to it.
    pub programs: Vec<Present>,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// Interface it is on.
    pub ifindex: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it may be a source towards anybody: global, not secondary.
    pub primary: bool,
}

/// An entry of the kernel's neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Interface the neighbour is on.
    pub ifindex: u32,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its link-layer address, if known.
    pub mac: Option<MacBytes>,
    /// What the kernel thinks of it.
    pub state: State,
}

impl Entry {
    /// The link-layer address, if it may be used.
    #[must_use]
    pub fn usable(&self) -> Option<MacBytes> {
        self.mac.filter(|_| self.state.is_valid())
    }
}

/// States of a neighbour entry (`NUD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Confirmed lately.
    Reachable,
    /// Not confirmed for a while. The kernel asks when it has a packet for it; it never sees ours.
    Stale,
    /// The kernel will ask soon.
    Delay,
    /// The kernel is asking, and uses the old address meanwhile.
    Probe,
    /// Set by the administrator, or on a link without addresses: never asked.
    Fixed,
    /// The kernel is asking and knows no address.
    Incomplete,
    /// Did not answer.
    Failed,
    /// Nothing happened yet.
    Unknown,
}

impl State {
    const fn is_valid(self) -> bool {
        matches!(self, Self::Reachable | Self::Stale | Self::Delay | Self::Probe | Self::Fixed)
    }
}

/// Where a packet leaves, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Interface it leaves through.
    pub ifindex: u32,
    /// The gateway, or the destination itself when it is on the link.
    pub neighbour: Ipv4Addr,
}
