//! The packets that the drivers make: one for each way through a relay.

use std::net::Ipv4Addr;

use super::addresses::{BACKEND, LOCAL, PEER, VIP};

/// A way, and what is sent down it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// From a client, at an ingress relay.
    Forward,
    /// A client's SYN, at an ingress relay.
    ForwardSyn,
    /// Out of the tunnel to a client, at an ingress relay.
    Return,
    /// Out of the tunnel to a backend, at an egress relay.
    TunnelForward,
    /// From a backend, at an egress relay.
    TunnelReturn,
}

/// The port of the UDP service.
pub const UDP_PORT: u16 = 5000;
/// The port of the TCP service.
pub const TCP_PORT: u16 = 443;
/// The port of all clients.
const CLIENT_PORT: u16 = 40_000;

/// Bytes of the IPv4 packet of a client, which make an Ethernet frame of 60.
pub const BYTES: u64 = 46;

impl Packet {
    /// The program that makes them.
    pub const fn driver(self) -> &'static str {
        match self {
            Self::Forward | Self::ForwardSyn => "drive_from_client",
            Self::Return => "drive_tunnel_to_client",
            Self::TunnelForward => "drive_tunnel_from_client",
            Self::TunnelReturn => "drive_to_client",
        }
    }

    /// The frame from one station to another, from or to a client.
    pub fn frame(self, client: Ipv4Addr, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        let client = (client, CLIENT_PORT);
        let inner = match self {
            Self::Forward => udp(client, (VIP, UDP_PORT)),
            Self::ForwardSyn => syn(client, (VIP, TCP_PORT)),
            Self::TunnelForward => udp(client, (BACKEND, UDP_PORT)),
            Self::Return | Self::TunnelReturn => udp((BACKEND, UDP_PORT), client),
        };
        let mut frame = [to.as_slice(), &from, &[8, 0]].concat();
        if matches!(self, Self::Return | Self::TunnelForward) {
            frame.extend(ipv4(PEER, LOCAL, IPIP, inner.len()));
        }
        frame.extend(inner);
        frame
    }
}

fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    const LENGTH: u16 = BYTES as u16 - 20;
    let mut packet = ipv4(source.0, destination.0, UDP, LENGTH as usize);
    packet.extend(source.1.to_be_bytes());
    packet.extend(destination.1.to_be_bytes());
    packet.extend(LENGTH.to_be_bytes());
    // Any checksum but none: relays update it and never verify it.
    packet.extend([0x12, 0x34]);
    packet.extend([0; LENGTH as usize - 8]);
    packet
}

/// A SYN with six bytes of data, as long as the others.
fn syn(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    const LENGTH: usize = BYTES as usize - 20;
    const SYN: [u8; 2] = [5 << 4, 2];
    let mut packet = ipv4(source.0, destination.0, TCP, LENGTH);
    packet.extend(source.1.to_be_bytes());
    packet.extend(destination.1.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    packet.extend(SYN);
    packet.extend([0xff, 0xff, 0x12, 0x34, 0, 0]);
    packet.extend([0; LENGTH - 20]);
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
const TCP: u8 = 6;
const UDP: u8 = 17;
