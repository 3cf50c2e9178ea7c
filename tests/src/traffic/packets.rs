//! Frames built from nothing, for tests that send what no socket would. Built by an outside crate, so that it can serve as
//! judge.

use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};

use anyhow::{Context, Result};
use etherparse::{
    EtherType, Ethernet2Header, IcmpEchoHeader, Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header,
    PacketBuilder, TcpHeader,
};

/// Ethernet addresses of one hop.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    pub source: [u8; 6],
    pub destination: [u8; 6],
}

impl Hop {
    /// Puts an Ethernet header in front of an IP packet.
    pub fn frame(&self, packet: &[u8]) -> Result<Vec<u8>> {
        let mut frame = Vec::with_capacity(14 + packet.len());
        let ether_type = if packet.first().is_some_and(|first| first >> 4 == 6) {
            EtherType::IPV6
        } else {
            EtherType::IPV4
        };
        Ethernet2Header { source: self.source, destination: self.destination, ether_type }
            .write(&mut frame)
            .context("write an Ethernet header")?;
        frame.extend_from_slice(packet);
        Ok(frame)
    }
}

/// A UDP packet from its IPv4 header on.
pub fn udp(from: SocketAddrV4, to: SocketAddrV4, ttl: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), ttl)
        .udp(from.port(), to.port())
        .write(&mut packet, payload)
        .context("build a UDP packet")?;
    Ok(packet)
}

/// A UDP packet from its IPv6 header on.
pub fn udp6(from: SocketAddrV6, to: SocketAddrV6, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port())
        .write(&mut packet, payload)
        .context("build a UDP packet")?;
    Ok(packet)
}

/// A TCP segment with the flags that `flags` names (of S, A, F, R, P, U) and no options, from its IPv4 header on.
pub fn tcp(
    from: SocketAddrV4,
    to: SocketAddrV4,
    flags: &str,
    sequence: u32,
    payload: &[u8],
) -> Result<Vec<u8>> {
    let mut header = TcpHeader::new(from.port(), to.port(), sequence, 64_000);
    let set = |flag: char| flags.contains(flag);
    (header.syn, header.ack, header.fin) = (set('S'), set('A'), set('F'));
    (header.rst, header.psh, header.urg) = (set('R'), set('P'), set('U'));
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64)
        .tcp_header(header)
        .write(&mut packet, payload)
        .context("build a TCP packet")?;
    Ok(packet)
}

/// A TCP SYN with this MSS, from its IPv4 header on.
pub fn tcp_syn(from: SocketAddrV4, to: SocketAddrV4, mss: u16) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64)
        .tcp(from.port(), to.port(), 1, 64_000)
        .syn()
        .options(&[etherparse::TcpOptionElement::MaximumSegmentSize(mss)])
        .context("write a TCP option")?
        .write(&mut packet, &[])
        .context("build a TCP packet")?;
    Ok(packet)
}

/// A TCP RST, from its IPv4 header on.
pub fn tcp_reset(from: SocketAddrV4, to: SocketAddrV4, sequence: u32) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64)
        .tcp(from.port(), to.port(), sequence, 0)
        .rst()
        .write(&mut packet, &[])
        .context("build a TCP packet")?;
    Ok(packet)
}

/// An echo request, from its IPv4 header on.
pub fn echo_request(from: Ipv4Addr, to: Ipv4Addr, sequence: u16) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from.octets(), to.octets(), 64)
        .icmpv4(Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 77, seq: sequence }))
        .write(&mut packet, b"relay")
        .context("build an echo request")?;
    Ok(packet)
}

/// An ICMP error about `quoted` (cut to what fits 576 bytes), from its IPv4 header on. `rest` are the four bytes behind the
/// checksum: the MTU of a Fragmentation Needed is in the last two.
pub fn icmp_error(
    from: Ipv4Addr,
    to: Ipv4Addr,
    (kind, code): (u8, u8),
    rest: [u8; 4],
    quoted: &[u8],
) -> Result<Vec<u8>> {
    let quoted = &quoted[..quoted.len().min(576 - 28)];
    let message = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: rest };
    let header = Icmpv4Header::with_checksum(message, quoted);
    let mut body = header.to_bytes().to_vec();
    body.extend_from_slice(quoted);
    ipv4(from, to, 64, 1, &body)
}

/// Any IPv4 packet with Don't Fragment set.
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, ttl: u8, protocol: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(payload.len()).context("payload longer than a packet")?;
    let mut header = Ipv4Header::new(length, ttl, IpNumber(protocol), from.octets(), to.octets())
        .context("payload longer than a packet")?;
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    let mut packet = Vec::new();
    header.write(&mut packet).context("write an IPv4 header")?;
    packet.extend_from_slice(payload);
    Ok(packet)
}

/// `inner` in an IPIP tunnel packet.
pub fn ipip(from: Ipv4Addr, to: Ipv4Addr, inner: &[u8]) -> Result<Vec<u8>> {
    ipv4(from, to, 64, 4, inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_view::{FrameView, wrong_checksum};

    const HOP: Hop = Hop { source: [2; 6], destination: [4; 6] };
    const FROM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
    const TO: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 10);

    #[test]
    fn every_packet_is_right_before_a_test_breaks_it() {
        let (from, to) = (SocketAddrV4::new(FROM, 4000), SocketAddrV4::new(TO, 443));
        let udp = udp(from, to, 64, b"x").unwrap();
        let packets = [
            icmp_error(FROM, TO, (3, 4), [0, 0, 5, 0], &udp).unwrap(),
            ipip(FROM, TO, &udp).unwrap(),
            tcp_syn(from, to, 1460).unwrap(),
            tcp_reset(from, to, 7).unwrap(),
            tcp(from, to, "SF", 7, b"odd").unwrap(),
            echo_request(FROM, TO, 1).unwrap(),
            udp,
        ];
        for packet in packets {
            let frame = HOP.frame(&packet).unwrap();
            assert_eq!(wrong_checksum(&frame), None, "{}", FrameView::of(&frame));
        }
    }

    #[test]
    fn an_error_carries_its_mtu_and_its_quote() {
        let quoted = udp(SocketAddrV4::new(TO, 443), SocketAddrV4::new(FROM, 4000), 64, &[0; 1400]).unwrap();
        let frame = HOP.frame(&icmp_error(FROM, TO, (3, 4), [0, 0, 5, 0x14], &quoted).unwrap()).unwrap();
        let view = FrameView::of(&frame);
        let packet = view.ipv4().unwrap();
        assert_eq!((packet.total_length, packet.announced_mtu()), (576, Some(1300)));
        assert_eq!(packet.quoted().unwrap().source, TO);
    }
}
