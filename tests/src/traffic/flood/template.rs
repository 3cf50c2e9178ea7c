//! The frame of a flood: built once, changed in place for each packet, with right checksums.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};

use crate::traffic::packets::{Hop, tcp, udp};

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Datagrams with so many bytes of payload, which starts with [`MARK`].
    Udp(usize),
    /// TCP SYNs.
    Syn,
    /// TCP segments of no connection.
    Ack,
}

/// Leads the payload of a flood's datagrams; the packet's number follows.
pub const MARK: [u8; 4] = *b"fld:";
/// Least payload of a datagram: mark and number.
const LEAST: usize = 8;

const IP: usize = 14;
const TRANSPORT: usize = IP + 20;
const SOURCE: usize = IP + 12;
/// Ports of clients start here, above those of services that reflect; a flood changes them with its packets.
const FIRST_PORT: u16 = 20_000;
const PORTS: u64 = 40_000;

/// A frame whose source, port and number vary.
#[derive(Clone, Debug)]
pub(super) struct Template {
    frame: Vec<u8>,
    number_at: usize,
    checksum_at: usize,
    /// Sums over what does not vary.
    header_sum: u32,
    transport_sum: u32,
    udp: bool,
}

impl Template {
    pub(super) fn new(kind: Kind, hop: &Hop, target: SocketAddrV4) -> Result<Self> {
        let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let (packet, number_at, checksum_at) = match kind {
            Kind::Udp(payload) => {
                let mut bytes = vec![0; payload.max(LEAST)];
                bytes[..MARK.len()].copy_from_slice(&MARK);
                (udp(nobody, target, 64, &bytes)?, TRANSPORT + 8 + MARK.len(), TRANSPORT + 6)
            }
            Kind::Syn => (tcp(nobody, target, "S", 0, &[])?, TRANSPORT + 4, TRANSPORT + 16),
            Kind::Ack => (tcp(nobody, target, "A", 0, &[])?, TRANSPORT + 4, TRANSPORT + 16),
        };
        let mut frame = hop.frame(&packet)?;
        for checksum in [IP + 10, checksum_at] {
            frame[checksum..checksum + 2].fill(0);
        }
        let length = u32::try_from(frame.len() - TRANSPORT).context("length of a packet")?;
        let protocol = u32::from(frame[IP + 9]);
        let pseudo_header = sum(&frame[SOURCE..TRANSPORT]) + protocol + length;
        Ok(Self {
            header_sum: sum(&frame[IP..TRANSPORT]),
            transport_sum: pseudo_header + sum(&frame[TRANSPORT..]),
            udp: matches!(kind, Kind::Udp(_)),
            frame,
            number_at,
            checksum_at,
        })
    }

    pub(super) fn length(&self) -> usize {
        self.frame.len()
    }

    /// The frame as it starts out.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Makes a copy of the frame the packet with this number from that source.
    pub(super) fn fill(&self, frame: &mut [u8], source: Ipv4Addr, number: u64) {
        let port = FIRST_PORT + (number % PORTS) as u16;
        let number = ((number & u64::from(u32::MAX)) as u32).to_be_bytes();
        frame[SOURCE..SOURCE + 4].copy_from_slice(&source.octets());
        frame[TRANSPORT..TRANSPORT + 2].copy_from_slice(&port.to_be_bytes());
        frame[self.number_at..self.number_at + 4].copy_from_slice(&number);
        let address = sum(&source.octets());
        let header = folded(self.header_sum + address);
        frame[IP + 10..IP + 12].copy_from_slice(&header.to_be_bytes());
        let transport = folded(self.transport_sum + address + u32::from(port) + sum(&number));
        let transport = if self.udp && transport == 0 { 0xffff } else { transport };
        frame[self.checksum_at..self.checksum_at + 2].copy_from_slice(&transport.to_be_bytes());
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_view::{FrameView, Transport, wrong_checksum};
    use crate::traffic::flood::Sources;

    #[test]
    fn every_packet_of_every_kind_is_right() {
        let hop = Hop { source: [2; 6], destination: [4; 6] };
        let target = SocketAddrV4::new(Ipv4Addr::new(192, 168, 100, 10), 443);
        for kind in [Kind::Udp(0), Kind::Udp(101), Kind::Syn, Kind::Ack] {
            let template = Template::new(kind, &hop, target).unwrap();
            let mut frame = template.frame().to_vec();
            for number in (0..200_000).step_by(997) {
                let source = Sources::Fresh.of(number);
                template.fill(&mut frame, source, number);
                let view = FrameView::of(&frame);
                assert_eq!(wrong_checksum(&frame), None, "{kind:?} {number}: {view}");
                let packet = view.ipv4().unwrap();
                assert_eq!((packet.source, packet.destination), (source, *target.ip()));
                let flags = match &packet.transport {
                    Transport::Tcp { flags, .. } => flags.clone(),
                    Transport::Udp { .. } => "udp".to_owned(),
                    other => panic!("{other:?}"),
                };
                let wanted = match kind {
                    Kind::Udp(_) => "udp",
                    Kind::Syn => "S",
                    // As tcpdump has it.
                    Kind::Ack => ".",
                };
                assert_eq!(flags, wanted);
            }
        }
    }
}
