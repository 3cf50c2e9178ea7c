//! What the checks are made on. Gathering and judging are apart, so that each judgement can be tested on any facts.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::config::valid::Config;
use crate::inspect::{Address, Interface, NeighbourState, Offloads, Route, XdpFeatures};

/// Everything that was found out.
#[derive(Clone, Debug)]
pub struct Facts {
    /// About the machine.
    pub machine: Machine,
    /// About what the configuration asks for.
    pub relay: Wanted,
}

/// The configuration that was named on the command line.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// None was.
    Nothing,
    /// It is not valid, or cannot be read.
    Unusable(Vec<Complaint>),
    /// A valid one, and what there is of it.
    Relay(Box<Relay>),
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where and what.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// About the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// As `uname -r` says.
    pub release: String,
    /// `net.core.bpf_jit_enable`, if it can be read.
    pub jit: Option<u32>,
    /// Where pins go.
    pub pin_directory: PathBuf,
    /// Whether that is on a BPF filesystem.
    pub bpf_fs: bool,
    /// Effective capabilities of this process, one bit each.
    pub capabilities: u64,
}

/// About the relay that the configuration asks for.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The configuration.
    pub config: Config,
    /// The interfaces it names: first the one towards clients or backends, then the tunnel's unless it is the same.
    pub links: Vec<Link>,
    /// All interfaces of the host.
    pub interfaces: Vec<Interface>,
    /// All addresses of the host.
    pub addresses: Vec<Address>,
    /// `net.ipv4.conf.all`.
    pub all: Settings,
    /// Whether the kernel routes IPv6 (`net.ipv6.conf.all.forwarding`).
    pub ipv6_forwarding: bool,
    /// `net.ipv4.conf.lo`.
    pub loopback: Settings,
    /// The relays of the other tier.
    pub peers: Vec<Reach>,
    /// The backends of an egress relay.
    pub backends: Vec<Reach>,
    /// What runs under this node's name.
    pub running: Running,
}

/// An interface that the configuration names.
#[derive(Clone, Debug)]
pub struct Link {
    /// `public`, `service` or `tunnel`: the key that names it.
    pub key: &'static str,
    /// The name.
    pub name: String,
    /// What there is under it.
    pub found: Option<Found>,
}

/// An interface that exists.
#[derive(Clone, Debug)]
pub struct Found {
    /// As the kernel describes it.
    pub interface: Interface,
    /// Its offloads, if the driver tells.
    pub offloads: Option<Offloads>,
    /// What it can do for XDP, if the kernel tells.
    pub features: Option<XdpFeatures>,
    /// The other end of a veth, if it is in this network namespace: its name and offloads.
    pub other_end: Option<(String, Offloads)>,
    /// Names of the VLAN interfaces on it.
    pub vlans: Vec<String>,
    /// `net.ipv4.conf.<interface>`.
    pub settings: Settings,
}

/// Settings of IPv4 for one interface, or for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// 0: off, 1: strict, 2: loose.
    pub rp_filter: u32,
    /// Whether packets are routed that come in there.
    pub forwarding: bool,
    /// Whether the kernel tells senders of better next hops.
    pub send_redirects: bool,
    /// Whether the kernel believes others who do.
    pub accept_redirects: bool,
}

/// How an address can be reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Its name in the configuration.
    pub name: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The way to it.
    pub route: Option<Route>,
    /// The next hop's entry in the neighbour table.
    pub neighbour: Option<NeighbourState>,
    /// Whether echo requests were answered; `None` where none were sent.
    pub echo: Option<Echo>,
}

/// Answers to echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// A small one.
    pub small: bool,
    /// One as large as the largest outer packet, that may not be fragmented.
    pub full: bool,
}

/// What runs under a node's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The controller's process.
    pub controller: Option<u32>,
    /// Numbers of the programs that the node's pinned links hold.
    pub programs: Vec<u32>,
    /// Packets dropped because the driver left no room in front of them.
    pub head_room_packets: u64,
    /// Other nodes with pins beside this one's, and the programs that their links hold.
    pub others: Vec<(String, Vec<u32>)>,
}
