//! Packets made up to be asked about.

use std::net::Ipv4Addr;

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
/// The shortest frame, without its check sum.
const FRAME_BYTES: usize = 60;
const TTL: u8 = 64;
/// Where clients' ports begin.
const CLIENT_PORT: u16 = 49_152;
/// A port for services of any port.
const SOME_PORT: u16 = 9;
/// Stations of nobody: locally administered.
const STATIONS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// A packet that clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP: asks for a connection.
    Syn,
    /// TCP: belongs to an open connection.
    Ack,
    /// UDP.
    Datagram,
}

impl Kind {
    /// Those of an IP protocol.
    #[must_use]
    pub const fn of(protocol: u8) -> &'static [Self] {
        if protocol == 6 { &[Self::Syn, Self::Ack] } else { &[Self::Datagram] }
    }

    /// The word for it in JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Syn => "tcp_syn",
            Self::Ack => "tcp_ack",
            Self::Datagram => "udp",
        }
    }

    /// What it is to a person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Syn => "a SYN, for a new connection",
            Self::Ack => "an ACK, of an open connection",
            Self::Datagram => "a datagram",
        }
    }

    /// A frame of this kind, the shortest there is. Port 0 stands for any.
    #[must_use]
    pub fn frame(self, client: Ipv4Addr, vip: Ipv4Addr, port: u16) -> Vec<u8> {
        let port = if port == 0 { SOME_PORT } else { port };
        let mut payload = [CLIENT_PORT.to_be_bytes(), port.to_be_bytes()].concat();
        let (protocol, checksum_at) = match self {
            Self::Syn | Self::Ack => {
                let (acknowledged, flags) = if self == Self::Syn { (0_u32, 0x02) } else { (1, 0x10) };
                payload.extend(1_u32.to_be_bytes());
                payload.extend(acknowledged.to_be_bytes());
                // Five words of header, the window, check sum and urgent pointer.
                payload.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                (6, 16)
            }
            Self::Datagram => {
                let length = u16::try_from(FRAME_BYTES - ETHERNET_BYTES - IPV4_BYTES).unwrap_or(8);
                payload.extend(length.to_be_bytes());
                payload.resize(usize::from(length), 0);
                (17, 6)
            }
        };
        let total = u16::try_from(IPV4_BYTES + payload.len()).unwrap_or(u16::MAX);
        let [source, destination] = [client.octets(), vip.octets()];
        let mut header = vec![0x45, 0];
        header.extend(total.to_be_bytes());
        // No identification; DF, as almost everything has it.
        header.extend([0, 0, 0x40, 0, TTL, protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let length = (total - IPV4_BYTES as u16).to_be_bytes();
        let pseudo = [&source[..], &destination, &[0, protocol], &length].concat();
        let sum = checksum(&[&pseudo, &payload]);
        payload[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        let mut frame = [&STATIONS[..], &[8, 0], &header, &payload].concat();
        frame.resize(frame.len().max(FRAME_BYTES), 0);
        frame
    }
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 10);

    #[test]
    fn every_kind_is_a_whole_packet_whose_sums_are_right() {
        for kind in [Kind::Syn, Kind::Ack, Kind::Datagram] {
            let frame = kind.frame(CLIENT, VIP, 443);
            assert_eq!((frame.len(), &frame[12..15]), (60, &[8, 0, 0x45][..]));
            assert_eq!(checksum(&[&frame[14..34]]), 0, "{kind:?}");
            let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let length = u16::try_from(end - 34).unwrap().to_be_bytes();
            let pseudo = [&frame[26..34], &[0, frame[23]], &length].concat();
            assert_eq!(checksum(&[&pseudo, &frame[34..end]]), 0, "{kind:?}");
            assert_eq!((&frame[26..30], &frame[30..34]), (&CLIENT.octets()[..], &VIP.octets()[..]));
            assert_eq!(u16::from_be_bytes([frame[36], frame[37]]), 443);
        }
    }

    #[test]
    fn flags_say_what_a_segment_is_for() {
        assert_eq!(Kind::Syn.frame(CLIENT, VIP, 443)[47], 0x02);
        assert_eq!(Kind::Ack.frame(CLIENT, VIP, 443)[47], 0x10);
        assert_eq!(Kind::of(6), [Kind::Syn, Kind::Ack]);
        assert_eq!(Kind::of(17), [Kind::Datagram]);
    }

    #[test]
    fn a_service_of_any_port_is_asked_at_some_port() {
        let frame = Kind::Datagram.frame(CLIENT, VIP, 0);
        assert_eq!(frame[36..38], SOME_PORT.to_be_bytes());
    }
}
