//! The names that cases use, and the network around the relays: addresses, stations, routes towards the clients.
//!
//! The host's tables answer from this; the kernel's namespace is built from it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

/// Addresses by name. Documentation and private ranges only.
pub const ADDRESSES: &[(&str, [u8; 4])] = &[
    // Clients, by what is known of the way to them.
    ("client", [198, 51, 100, 7]),
    ("neighbour_client", [198, 51, 100, 8]),
    ("silent_client", [198, 51, 100, 66]),
    ("far_client", [203, 0, 113, 9]),
    ("narrow_client", [203, 0, 113, 200]),
    ("unreachable_client", [203, 0, 113, 130]),
    ("prohibited_client", [203, 0, 113, 194]),
    ("router", [198, 51, 100, 254]),
    // Relays.
    ("ingress_edge", [198, 51, 100, 1]),
    ("vip", [192, 168, 100, 10]),
    ("vip2", [192, 168, 100, 11]),
    ("vip3", [192, 168, 100, 12]),
    ("ingress1", [10, 0, 0, 1]),
    ("ingress2", [10, 0, 0, 4]),
    ("egress1", [10, 0, 0, 2]),
    ("egress2", [10, 0, 0, 3]),
    ("egress_edge", [192, 168, 100, 1]),
    // The service's side.
    ("web1", [192, 168, 100, 51]),
    ("web2", [192, 168, 100, 52]),
    ("web3", [192, 168, 100, 53]),
    ("service_router", [192, 168, 100, 2]),
    ("stranger", [10, 0, 0, 99]),
];

/// Link-layer addresses by name.
pub const STATIONS: &[(&str, [u8; 6])] = &[
    ("edge_mac", [2, 0, 0, 0, 0, 0xe0]),
    ("tunnel_mac", [2, 0, 0, 0, 0, 0x70]),
    ("client_mac", [2, 0, 0, 0, 0, 0xc1]),
    ("neighbour_mac", [2, 0, 0, 0, 0, 0xc2]),
    ("silent_mac", [2, 0, 0, 0, 0, 0xc6]),
    ("router_mac", [2, 0, 0, 0, 0, 0xc3]),
    ("peer1_mac", [2, 0, 0, 0, 0, 0xb1]),
    ("peer2_mac", [2, 0, 0, 0, 0, 0xb2]),
    ("web1_mac", [2, 0, 0, 0, 0, 0x51]),
    ("web2_mac", [2, 0, 0, 0, 0, 0x52]),
    ("web3_mac", [2, 0, 0, 0, 0, 0x53]),
    ("stranger_mac", [2, 0, 0, 0, 0, 0x99]),
    ("group_mac", [1, 0, 0x5e, 0, 0, 1]),
    ("broadcast_mac", [0xff; 6]),
];

/// The interface towards clients or backends.
pub const EDGE: &str = "edge";
/// The interface towards the other tier.
pub const TUNNEL: &str = "tunnel";
/// What of an interface the relay is told and the kernel's namespace has.
pub const DEVICES: &[(&str, &str)] = &[(EDGE, "edge_mac"), (TUNNEL, "tunnel_mac")];
/// MTU of every interface.
pub const LINK_MTU: u16 = 1500;

/// A route towards clients.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Network and bits of its prefix.
    pub network: ([u8; 4], u8),
    /// What becomes of packets to it.
    pub way: Way,
    /// MTU of the route, if it has one of its own. Locked: the kernel heeds no other for what it forwards.
    pub mtu: Option<u16>,
}

/// What a route does. Every one that sends leaves through [`EDGE`].
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// The destination is on the link.
    Link,
    /// Through the gateway of this name.
    Through(&'static str),
    Unreachable,
    Prohibited,
}

/// All routes, the more specific ones first. Nothing else has a route.
pub const ROUTES: &[Entry] = &[
    Entry { network: ([203, 0, 113, 128], 26), way: Way::Unreachable, mtu: None },
    Entry { network: ([203, 0, 113, 192], 29), way: Way::Prohibited, mtu: None },
    Entry { network: ([203, 0, 113, 200], 29), way: Way::Through("router"), mtu: Some(600) },
    Entry { network: ([203, 0, 113, 0], 25), way: Way::Through("router"), mtu: None },
    Entry { network: ([198, 51, 100, 0], 24), way: Way::Link, mtu: None },
];

/// Neighbours on [`EDGE`] that the kernel knows; `silent_client` is not among them.
pub const NEIGHBOURS: &[(&str, &str)] =
    &[("client", "client_mac"), ("neighbour_client", "neighbour_mac"), ("router", "router_mac")];

/// An address by name or in dots.
pub fn address(text: &str) -> Result<Ipv4Addr> {
    let known = ADDRESSES.iter().find(|(name, _)| *name == text);
    known.map(|(_, octets)| Ok(Ipv4Addr::from(*octets))).unwrap_or_else(|| {
        text.parse().with_context(|| format!("`{text}` is neither a named address nor one in dots"))
    })
}

/// The name of an address, or its dots.
pub fn name(address: Ipv4Addr) -> String {
    let known = ADDRESSES.iter().find(|(_, octets)| Ipv4Addr::from(*octets) == address);
    known.map_or_else(|| address.to_string(), |(name, _)| (*name).to_owned())
}

/// A station by name or in colons.
pub fn station(text: &str) -> Result<[u8; 6]> {
    let known = STATIONS.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, octets)| *octets)
        .or_else(|| crate::topology::namespace::parse_mac(text))
        .with_context(|| format!("`{text}` is neither a named station nor a MAC address"))
}
