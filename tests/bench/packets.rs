//! The packets of the benchmark, as words that a driver writes, and which way of which relay they take.

use std::net::Ipv4Addr;

/// A way of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    IngressForward,
    IngressReturn,
    EgressForward,
    EgressReturn,
}

/// Clients are numbered within a network of this size, 198.18.0.0/15 (RFC 2544).
pub(crate) const MOST_CLIENTS: u32 = 1 << 17;
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const PORT: u16 = 5000;
const CLIENT_PORT: u16 = 40_000;

impl Scenario {
    /// Forward before return: an egress relay's return packets need flows.
    pub(crate) const ALL: [Self; 4] =
        [Self::IngressForward, Self::IngressReturn, Self::EgressForward, Self::EgressReturn];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::IngressForward => "ingress_forward",
            Self::IngressReturn => "ingress_return",
            Self::EgressForward => "egress_forward",
            Self::EgressReturn => "egress_return",
        }
    }

    pub(crate) const fn is_ingress(self) -> bool {
        matches!(self, Self::IngressForward | Self::IngressReturn)
    }

    /// The program that makes its packets.
    pub(crate) const fn driver(self) -> &'static str {
        match self {
            Self::IngressForward => "drive_from_client",
            Self::IngressReturn => "drive_tunnel_to_client",
            Self::EgressForward => "drive_tunnel_from_client",
            Self::EgressReturn => "drive_to_client",
        }
    }

    /// The label of the reason that each of its packets must end with.
    pub(crate) const fn reason(self) -> relay_abi::Reason {
        match self {
            Self::IngressForward => relay_abi::Reason::ForwardEncapsulated,
            Self::IngressReturn => relay_abi::Reason::ReturnDelivered,
            Self::EgressForward => relay_abi::Reason::ForwardDelivered,
            Self::EgressReturn => relay_abi::Reason::ReturnEncapsulated,
        }
    }

    /// The packet of client 0, from one station to another.
    pub(crate) fn packet(self, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        let (source, destination) = match self {
            Self::IngressForward => ((CLIENT, CLIENT_PORT), (VIP, PORT)),
            Self::EgressForward => ((CLIENT, CLIENT_PORT), (BACKEND, PORT)),
            Self::IngressReturn | Self::EgressReturn => ((BACKEND, PORT), (CLIENT, CLIENT_PORT)),
        };
        let inner = udp(source, destination);
        let mut frame = [to.as_slice(), &from, &[8, 0]].concat();
        if matches!(self, Self::IngressReturn | Self::EgressForward) {
            frame.extend(ipv4(PEER, LOCAL, IPIP, inner.len()));
        }
        frame.extend(inner);
        frame
    }
}

/// 46 bytes, which make an Ethernet frame of 60.
fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    const LENGTH: u16 = 26;
    let mut packet = ipv4(source.0, destination.0, UDP, LENGTH as usize);
    packet.extend(source.1.to_be_bytes());
    packet.extend(destination.1.to_be_bytes());
    packet.extend(LENGTH.to_be_bytes());
    // Any checksum but none: relays update it and never verify it.
    packet.extend([0x12, 0x34]);
    packet.extend([0; LENGTH as usize - 8]);
    packet
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: usize) -> Vec<u8> {
    let length = (20 + payload as u16).to_be_bytes();
    let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    header.extend(source.octets());
    header.extend(destination.octets());
    let mut sum: u32 =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    header
}

const IPIP: u8 = 4;
const UDP: u8 = 17;
