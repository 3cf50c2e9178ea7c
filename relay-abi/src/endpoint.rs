//! The table that says what an IPv4 address, or an address and port, is to this relay.

use bytemuck::{Pod, Zeroable};

use crate::limits::ENDPOINT_WAYS;
use crate::{Be16, Ipv4};

/// What an endpoint is. A newtype over its byte, so that any byte read from memory is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Kind(pub u8);

impl Kind {
    /// An unused place in the table.
    pub const EMPTY: Self = Self(0);
    /// VIP, protocol and port (or any port) of a service: `index` is the service. Ingress relay.
    pub const SERVICE: Self = Self(1);
    /// An address that is a VIP of some service: `index` holds, as [`crate::image::Service::filters`] does, the modes of the filters
    /// [`FRAGMENTS`](crate::image::filter::FRAGMENTS) and [`PROTOCOLS`](crate::image::filter::PROTOCOLS), for packets that belong to no service;
    /// each is the strictest that a service of the VIP has. Ingress relay.
    pub const VIP: Self = Self(2);
    /// An address of this host.
    pub const OWN: Self = Self(3);
    /// A relay of the other tier: `index` is the peer.
    pub const PEER: Self = Self(4);
    /// Address, protocol and port (or any port) at which packets from the tunnel are delivered and from which
    /// replies come. `index` is, at an ingress relay, the service its replies belong to (`translate = "ingress"`);
    /// at an egress relay, the backend ([`Self::BACKEND`]).
    pub const BACKEND: Self = Self(5);
    /// The same with `translate = "none"`: the endpoint is VIP and port, held by the service's hosts; `index` is the service.
    pub const SHARED: Self = Self(6);
    /// An address of a host that serves: nothing else of it may reach a client.
    pub const SERVER: Self = Self(7);
}

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Endpoint {
    /// Made by [`key`].
    pub key: u64,
    /// What it is.
    pub kind: Kind,
    /// Zero.
    pub reserved: u8,
    /// Of the service, peer or backend, or modes of filters, as [`Kind`] says.
    pub index: u16,
    /// Zero.
    pub reserved_too: [u8; 4],
}

/// Endpoints whose keys hash to the same place: one cache line.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct EndpointSet(pub [Endpoint; ENDPOINT_WAYS]);

/// The key of an address, a port (zero: any) and an IP protocol number (zero: the address as such).
#[inline(always)]
pub const fn key(address: Ipv4, port: Be16, protocol: u8) -> u64 {
    address.word() as u64 | (u16::from_ne_bytes(port.0) as u64) << 32 | (protocol as u64) << 48
}

/// The set of a key among `mask + 1` sets. The compiler of the image chooses both so that no set overflows and that few endpoints
/// lie in few cache lines: the packet path looks every client up, wherever that falls.
#[inline(always)]
pub const fn set_of(seed: u64, mask: u32, key: u64) -> usize {
    let mixed = (key ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed >> 32) as u32 & mask) as usize
}
