//! Ethernet II frames.

use relay_abi::neighbour::Neighbour;

/// Bytes of the header.
pub const LENGTH: usize = 14;

/// A protocol number, host order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);
    /// A customer VLAN tag (IEEE 802.1Q).
    pub const VLAN: Self = Self(0x8100);
    /// A service VLAN tag (IEEE 802.1ad).
    pub const SERVICE_VLAN: Self = Self(0x88a8);
}

/// Destination and source, in words as they stand in memory.
pub type Stations = [u32; 3];

/// The stations of a frame to a neighbour.
#[inline(always)]
pub const fn to(neighbour: &Neighbour) -> Stations {
    let [a, b, c, d, e, f] = neighbour.destination.0;
    let [g, h, i, j, k, l] = neighbour.source.0;
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]), u32::from_ne_bytes([i, j, k, l])]
}

/// The stations of the answer to a frame.
#[inline(always)]
pub const fn answer(stations: Stations) -> Stations {
    let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) =
        (stations[0].to_ne_bytes(), stations[1].to_ne_bytes(), stations[2].to_ne_bytes());
    [u32::from_ne_bytes([g, h, i, j]), u32::from_ne_bytes([k, l, a, b]), u32::from_ne_bytes([c, d, e, f])]
}
