//! What the first bytes of a frame say: addresses, protocol and ports, as far as they go.

use std::net::Ipv4Addr;

/// IPv4 in IPv4.
const TUNNEL: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;

/// The addresses of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) protocol: u8,
    /// Source and destination port, of TCP and UDP.
    pub(super) ports: Option<(u16, u16)>,
}

/// An IPv4 packet, perhaps one in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The header of the tunnel, if it came in one.
    pub(super) outer: Option<Header>,
    /// The header next to what is carried.
    pub(super) inner: Header,
}

/// Reads a frame. What is addressed to `tunnel_address` and holds an IPv4 packet came through a tunnel.
pub(super) fn read(frame: &[u8], tunnel_address: Ipv4Addr) -> Option<Packet> {
    if frame.get(12..ETHERNET_BYTES)? != [8, 0] {
        return None;
    }
    let (header, rest) = header(frame.get(ETHERNET_BYTES..)?)?;
    let tunnelled = header.protocol == TUNNEL && header.destination == tunnel_address;
    let carried = if tunnelled { self::header(rest) } else { None };
    Some(match carried {
        Some((inner, _)) => Packet { outer: Some(header), inner },
        None => Packet { outer: None, inner: header },
    })
}

/// Where a tunnel packet that the relay sends goes: to which relay, and in the end to whom.
#[must_use]
pub fn sent_to(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (outer, rest) = header(frame.get(ETHERNET_BYTES..)?)?;
    let inner = if outer.protocol == TUNNEL { header(rest) } else { None };
    inner.map(|(inner, _)| (outer.destination, inner.destination))
}

/// Reads a header, and gives what follows it.
fn header(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let fixed: &[u8; IPV4_BYTES] = bytes.first_chunk()?;
    let [source, destination] = [12, 16].map(|at| {
        let [a, b, c, d] = [at, at + 1, at + 2, at + 3].map(|at: usize| fixed[at]);
        Ipv4Addr::new(a, b, c, d)
    });
    let protocol = fixed[9];
    let length = usize::from(fixed[0] & 0xf) * 4;
    let rest = bytes.get(length.max(IPV4_BYTES)..).unwrap_or_default();
    let later_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0;
    let ports = match (protocol, rest) {
        (TCP | UDP, [a, b, c, d, ..]) if !later_fragment => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        _ => None,
    };
    Some((Header { source, destination, protocol, ports }, rest))
}

/// The name of an IP protocol, or its number.
pub(super) fn protocol_name(protocol: u8) -> std::borrow::Cow<'static, str> {
    match protocol {
        1 => "icmp".into(),
        2 => "igmp".into(),
        TUNNEL => "ipip".into(),
        TCP => "tcp".into(),
        UDP => "udp".into(),
        41 => "ipv6".into(),
        47 => "gre".into(),
        50 => "esp".into(),
        132 => "sctp".into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
pub(super) mod sample {
    //! Frames for the tests of this module.

    /// Puts headers together: Ethernet, then each of (source, destination, protocol), then `ports` and zeroes.
    pub(crate) fn frame(headers: &[([u8; 4], [u8; 4], u8)], ports: [u16; 2]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        for (source, destination, protocol) in headers {
            frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, *protocol, 0, 0]);
            frame.extend(source);
            frame.extend(destination);
        }
        frame.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        frame.resize(frame.len().max(60), 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::sample::frame;
    use super::*;

    const CLIENT: [u8; 4] = [198, 51, 100, 2];
    const VIP: [u8; 4] = [192, 168, 100, 10];
    const LOCAL: [u8; 4] = [10, 0, 0, 1];
    const PEER: [u8; 4] = [10, 0, 0, 2];

    #[test]
    fn addresses_and_ports_are_read() {
        let packet = read(&frame(&[(CLIENT, VIP, TCP)], [51000, 443]), LOCAL.into()).unwrap();
        assert_eq!(packet.outer, None);
        assert_eq!((packet.inner.source, packet.inner.destination), (CLIENT.into(), VIP.into()));
        assert_eq!(packet.inner.ports, Some((51000, 443)));
    }

    #[test]
    fn a_tunnel_to_us_is_looked_into_and_one_to_others_is_not() {
        let frame = frame(&[(PEER, LOCAL, TUNNEL), (VIP, CLIENT, UDP)], [53, 4000]);
        let packet = read(&frame, LOCAL.into()).unwrap();
        assert_eq!(packet.outer.unwrap().source, Ipv4Addr::from(PEER));
        assert_eq!((packet.inner.destination, packet.inner.ports), (CLIENT.into(), Some((53, 4000))));
        let elsewhere = read(&frame, Ipv4Addr::new(10, 9, 9, 9)).unwrap();
        assert_eq!((elsewhere.outer, elsewhere.inner.protocol), (None, TUNNEL));
    }

    #[test]
    fn only_what_goes_into_a_tunnel_is_sent_to_a_relay() {
        let tunnelled = frame(&[(LOCAL, PEER, TUNNEL), (CLIENT, VIP, TCP)], [1, 2]);
        assert_eq!(sent_to(&tunnelled), Some((PEER.into(), VIP.into())));
        assert_eq!(sent_to(&frame(&[(CLIENT, VIP, TCP)], [1, 2])), None);
        assert_eq!(sent_to(&tunnelled[..50]), None);
    }

    #[test]
    fn options_are_skipped_and_later_fragments_have_no_ports() {
        let mut options = frame(&[(CLIENT, VIP, UDP)], [0, 0]);
        options[14] = 0x46;
        options[38..42].copy_from_slice(&[0x10, 0x00, 0x00, 0x35]);
        assert_eq!(read(&options, LOCAL.into()).unwrap().inner.ports, Some((4096, 53)));
        let mut fragment = frame(&[(CLIENT, VIP, UDP)], [1, 2]);
        fragment[21] = 1;
        assert_eq!(read(&fragment, LOCAL.into()).unwrap().inner.ports, None);
    }

    #[test]
    fn whatever_is_cut_off_is_not_read() {
        let whole = frame(&[(PEER, LOCAL, TUNNEL), (CLIENT, VIP, TCP)], [1, 2]);
        for length in 0..whole.len() {
            let packet = read(&whole[..length], LOCAL.into());
            assert_eq!(packet.is_some(), length >= 34, "{length}");
            let has_inner = packet.is_some_and(|packet| packet.outer.is_some());
            assert_eq!(has_inner, length >= 54, "{length}");
            let has_ports = has_inner && packet.unwrap().inner.ports.is_some();
            assert_eq!(has_ports, length >= 58, "{length}");
        }
        let mut arp = whole;
        arp[13] = 6;
        assert_eq!(read(&arp, LOCAL.into()), None);
    }
}
