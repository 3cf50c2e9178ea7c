//! What a frame says, read by an outside parser and independent arithmetic: nothing here is shared with the relay.

use std::fmt;
use std::net::Ipv4Addr;

use etherparse::{Ethernet2HeaderSlice, Ipv4HeaderSlice, TcpHeaderSlice, TcpOptionElement, UdpHeaderSlice};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_IPIP: u8 = 4;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// A frame as far as the tests ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameView {
    Arp { request: bool, sender: Ipv4Addr, target: Ipv4Addr },
    Ipv4(Ipv4View),
    Other { ethertype: u16 },
    Broken { reason: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4View {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    pub ttl: u8,
    pub dscp: u8,
    pub ecn: u8,
    pub dont_fragment: bool,
    pub identification: u16,
    pub total_length: u16,
    pub header_length: usize,
    pub header_checksum_right: bool,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        source: u16,
        destination: u16,
        sequence: u32,
        acknowledgement: u32,
        flags: String,
        mss: Option<u16>,
        header: usize,
        payload: usize,
    },
    Udp {
        source: u16,
        destination: u16,
        payload: usize,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: [u8; 4],
        quoted: Option<Box<Ipv4View>>,
    },
    /// IP in IP: the packet inside.
    Tunnel(Box<Ipv4View>),
    /// The ports of a header cut short, as in a quote of eight bytes.
    Ports {
        source: u16,
        destination: u16,
    },
    Other,
}

impl FrameView {
    pub fn of(frame: &[u8]) -> Self {
        let Ok(ethernet) = Ethernet2HeaderSlice::from_slice(frame) else {
            return Self::Broken { reason: "shorter than an Ethernet header" };
        };
        let payload = frame.get(14..).unwrap_or_default();
        match ethernet.ether_type().0 {
            ETHERTYPE_IPV4 => {
                Ipv4View::of(payload).map_or(Self::Broken { reason: "no IPv4 header" }, Self::Ipv4)
            }
            ETHERTYPE_ARP => arp(payload).unwrap_or(Self::Broken { reason: "short ARP" }),
            ethertype => Self::Other { ethertype },
        }
    }

    pub fn ipv4(&self) -> Option<&Ipv4View> {
        match self {
            Self::Ipv4(packet) => Some(packet),
            Self::Arp { .. } | Self::Other { .. } | Self::Broken { .. } => None,
        }
    }
}

impl Ipv4View {
    /// Reads a packet that may be cut short after its IP header.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let end = packet.len().min(usize::from(header.total_len()));
        let payload = packet.get(header.slice().len()..end).unwrap_or_default();
        let first_fragment = header.fragments_offset().value() == 0;
        Some(Self {
            source: header.source_addr(),
            destination: header.destination_addr(),
            protocol: header.protocol().0,
            ttl: header.ttl(),
            dscp: header.dcp().value(),
            ecn: header.ecn().value(),
            dont_fragment: header.dont_fragment(),
            identification: header.identification(),
            total_length: header.total_len(),
            header_length: header.slice().len(),
            header_checksum_right: sum(&[header.slice()]) == 0xffff,
            transport: if first_fragment {
                transport(header.protocol().0, payload)
            } else {
                Transport::Other
            },
        })
    }

    /// The packet inside, if this is a tunnel packet.
    pub fn inner(&self) -> Option<&Self> {
        match &self.transport {
            Transport::Tunnel(inner) => Some(inner),
            Transport::Tcp { .. }
            | Transport::Udp { .. }
            | Transport::Icmp { .. }
            | Transport::Ports { .. }
            | Transport::Other => None,
        }
    }

    /// Type and code of an ICMP message.
    pub fn icmp(&self) -> Option<(u8, u8)> {
        match self.transport {
            Transport::Icmp { kind, code, .. } => Some((kind, code)),
            Transport::Tcp { .. }
            | Transport::Udp { .. }
            | Transport::Tunnel(_)
            | Transport::Ports { .. }
            | Transport::Other => None,
        }
    }

    /// The MTU that a Fragmentation Needed announces.
    pub fn announced_mtu(&self) -> Option<u16> {
        match self.transport {
            Transport::Icmp { kind: 3, code: 4, rest, .. } => Some(u16::from_be_bytes([rest[2], rest[3]])),
            Transport::Icmp { .. }
            | Transport::Tcp { .. }
            | Transport::Udp { .. }
            | Transport::Tunnel(_)
            | Transport::Ports { .. }
            | Transport::Other => None,
        }
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self) -> Option<&Self> {
        match &self.transport {
            Transport::Icmp { quoted, .. } => quoted.as_deref(),
            Transport::Tcp { .. }
            | Transport::Udp { .. }
            | Transport::Tunnel(_)
            | Transport::Ports { .. }
            | Transport::Other => None,
        }
    }
}

/// Says which checksum of an IPv4 frame is wrong, if one is. Cut and fragmented packets are not judged beyond the header.
pub fn wrong_checksum(frame: &[u8]) -> Option<&'static str> {
    let ethernet = Ethernet2HeaderSlice::from_slice(frame).ok()?;
    if ethernet.ether_type().0 != ETHERTYPE_IPV4 {
        return None;
    }
    wrong_checksum_of_packet(frame.get(14..)?)
}

fn wrong_checksum_of_packet(packet: &[u8]) -> Option<&'static str> {
    let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
    if sum(&[header.slice()]) != 0xffff {
        return Some("IPv4 header");
    }
    let payload = packet.get(header.slice().len()..usize::from(header.total_len()))?;
    if header.is_fragmenting_payload() {
        return None;
    }
    let protocol = header.protocol().0;
    let length = u16::try_from(payload.len()).ok()?;
    let pseudo =
        [&header.source()[..], &header.destination()[..], &[0, protocol], &length.to_be_bytes()[..], payload];
    match protocol {
        PROTOCOL_IPIP => wrong_checksum_of_packet(payload),
        PROTOCOL_ICMP => (sum(&[payload]) != 0xffff).then_some("ICMP"),
        PROTOCOL_TCP => (sum(&pseudo) != 0xffff).then_some("TCP"),
        PROTOCOL_UDP if payload.get(6..8) == Some(&[0, 0]) => None,
        PROTOCOL_UDP => (sum(&pseudo) != 0xffff).then_some("UDP"),
        _ => None,
    }
}

/// The ones' complement sum over parts, each of which starts at an even offset.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0_u128;
    for part in parts {
        // Words of any even length add up to the same sum; long ones are fast in a debug build too.
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            total += u128::from(u64::from_be_bytes(*word));
        }
        for pair in rest.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u128::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    // Folded above: what is left fits.
    u16::try_from(total).unwrap_or(0)
}

fn transport(protocol: u8, payload: &[u8]) -> Transport {
    match protocol {
        PROTOCOL_TCP => tcp(payload).unwrap_or_else(|| ports(payload)),
        PROTOCOL_UDP => udp(payload).unwrap_or_else(|| ports(payload)),
        PROTOCOL_ICMP => icmp(payload).unwrap_or(Transport::Other),
        PROTOCOL_IPIP => {
            Ipv4View::of(payload).map_or(Transport::Other, |inner| Transport::Tunnel(Box::new(inner)))
        }
        _ => Transport::Other,
    }
}

fn tcp(payload: &[u8]) -> Option<Transport> {
    let header = TcpHeaderSlice::from_slice(payload).ok()?;
    let flags = [
        (header.syn(), 'S'),
        (header.fin(), 'F'),
        (header.rst(), 'R'),
        (header.psh(), 'P'),
        (header.ack(), '.'),
    ];
    let mss = header.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::MaximumSegmentSize(size)) => Some(size),
        Ok(_) | Err(_) => None,
    });
    Some(Transport::Tcp {
        source: header.source_port(),
        destination: header.destination_port(),
        sequence: header.sequence_number(),
        acknowledgement: header.acknowledgment_number(),
        flags: flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect(),
        mss,
        header: header.slice().len(),
        payload: payload.len() - header.slice().len(),
    })
}

fn udp(payload: &[u8]) -> Option<Transport> {
    let header = UdpHeaderSlice::from_slice(payload).ok()?;
    Some(Transport::Udp {
        source: header.source_port(),
        destination: header.destination_port(),
        payload: payload.len() - 8,
    })
}

fn icmp(payload: &[u8]) -> Option<Transport> {
    let [kind, code, _, _, a, b, c, d] = *payload.first_chunk::<8>()?;
    let is_error = matches!(kind, 3 | 4 | 5 | 11 | 12);
    let quoted = if is_error { payload.get(8..).and_then(Ipv4View::of).map(Box::new) } else { None };
    Some(Transport::Icmp { kind, code, rest: [a, b, c, d], quoted })
}

fn ports(payload: &[u8]) -> Transport {
    payload.first_chunk::<4>().map_or(Transport::Other, |[a, b, c, d]| Transport::Ports {
        source: u16::from_be_bytes([*a, *b]),
        destination: u16::from_be_bytes([*c, *d]),
    })
}

fn arp(payload: &[u8]) -> Option<FrameView> {
    let body = payload.first_chunk::<28>()?;
    let address = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
    Some(FrameView::Arp { request: body[7] == 1, sender: address(14), target: address(24) })
}

impl fmt::Display for FrameView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp { request: true, sender, target } => {
                write!(formatter, "ARP who has {target}, tell {sender}")
            }
            Self::Arp { request: false, sender, .. } => write!(formatter, "ARP {sender} is here"),
            Self::Ipv4(packet) => write!(formatter, "{packet}"),
            Self::Other { ethertype } => write!(formatter, "ethertype {ethertype:#06x}"),
            Self::Broken { reason } => write!(formatter, "broken frame: {reason}"),
        }
    }
}

impl fmt::Display for Ipv4View {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = format!("{} > {}", self.source, self.destination);
        let rest = format!("ttl {} len {}", self.ttl, self.total_length);
        match &self.transport {
            Transport::Tunnel(inner) => write!(formatter, "{ends} IPIP {rest} [{inner}]"),
            transport => write!(formatter, "{ends} {transport} {rest}"),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { source, destination, flags, payload, mss, .. } => {
                write!(formatter, "TCP {source}>{destination} {flags} +{payload}")?;
                mss.map_or(Ok(()), |mss| write!(formatter, " mss {mss}"))
            }
            Self::Udp { source, destination, payload } => {
                write!(formatter, "UDP {source}>{destination} +{payload}")
            }
            Self::Icmp { kind, code, quoted, .. } => {
                write!(formatter, "ICMP {kind}/{code}")?;
                quoted.as_ref().map_or(Ok(()), |quoted| write!(formatter, " about ({quoted})"))
            }
            Self::Tunnel(inner) => write!(formatter, "[{inner}]"),
            Self::Ports { source, destination } => write!(formatter, "{source}>{destination} (cut)"),
            Self::Other => write!(formatter, "-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn udp_frame() -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([198, 51, 100, 2], [192, 168, 100, 10], 64)
            .udp(4000, 53)
            .write(&mut frame, b"hello")
            .unwrap();
        frame
    }

    #[test]
    fn reads_addresses_ports_and_length() {
        let view = FrameView::of(&udp_frame());
        let packet = view.ipv4().unwrap();
        assert_eq!(packet.transport, Transport::Udp { source: 4000, destination: 53, payload: 5 });
        assert_eq!(view.to_string(), "198.51.100.2 > 192.168.100.10 UDP 4000>53 +5 ttl 64 len 33");
    }

    #[test]
    fn a_flipped_bit_is_a_wrong_checksum() {
        let frame = udp_frame();
        assert_eq!(wrong_checksum(&frame), None);
        let mut broken = frame.clone();
        broken[45] ^= 1;
        assert_eq!(wrong_checksum(&broken), Some("UDP"));
        broken = frame;
        broken[26] ^= 1;
        assert_eq!(wrong_checksum(&broken), Some("IPv4 header"));
    }

    #[test]
    fn looks_into_a_tunnel_packet() {
        let inner = &udp_frame()[14..];
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ip(etherparse::IpHeaders::Ipv4(
                etherparse::Ipv4Header::new(33, 64, etherparse::IpNumber::IPV4, [10, 0, 0, 1], [10, 0, 0, 2])
                    .unwrap(),
                etherparse::Ipv4Extensions::default(),
            ))
            .write(&mut frame, etherparse::IpNumber::IPV4, inner)
            .unwrap();
        let view = FrameView::of(&frame);
        let packet = view.ipv4().unwrap();
        assert_eq!(packet.inner().unwrap().destination, Ipv4Addr::new(192, 168, 100, 10));
        assert_eq!(wrong_checksum(&frame), None);
    }

    #[test]
    fn cut_frames_never_panic() {
        let frame = udp_frame();
        for length in 0..frame.len() {
            let _ = FrameView::of(&frame[..length]);
            let _ = wrong_checksum(&frame[..length]);
        }
    }
}
