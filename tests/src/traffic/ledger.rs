//! What a capture on the client side says of each client: the judge of what the relay says of it. ICMP errors to a client are
//! not counted: they need not come from the service.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::capture::Frame;
use crate::packet_view::{Ipv4View, Transport};

/// What one client sent to one service, and got from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    pub sent_packets: u64,
    /// Of IPv4 packets.
    pub sent_bytes: u64,
    pub got_packets: u64,
    pub got_bytes: u64,
    /// SYNs it sent.
    pub connections: u64,
}

/// All clients of a VIP, by address, protocol and port of the service. ICMP errors from a client belong to the packet they quote.
#[derive(Clone, Debug, Default)]
pub struct Ledger(BTreeMap<(Ipv4Addr, u8, u16), Wire>);

impl Ledger {
    pub fn of(frames: &[Frame], vip: Ipv4Addr) -> Self {
        let mut ledger = Self::default();
        for frame in frames {
            let view = frame.view();
            let Some(packet) = view.ipv4() else { continue };
            let bytes = u64::from(packet.total_length);
            if packet.destination == vip {
                let Some((protocol, port)) = service(packet, true) else { continue };
                let wire = ledger.0.entry((packet.source, protocol, port)).or_default();
                wire.sent_packets += 1;
                wire.sent_bytes += bytes;
                wire.connections += u64::from(opens(packet));
            } else if packet.source == vip && packet.icmp().is_none() {
                let Some((protocol, port)) = service(packet, false) else { continue };
                let wire = ledger.0.entry((packet.destination, protocol, port)).or_default();
                wire.got_packets += 1;
                wire.got_bytes += bytes;
            }
        }
        ledger
    }

    pub fn client(&self, address: Ipv4Addr, protocol: u8, port: u16) -> Wire {
        self.0.get(&(address, protocol, port)).copied().unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, u8, u16, Wire)> {
        self.0.iter().map(|((address, protocol, port), wire)| (*address, *protocol, *port, *wire))
    }
}

/// Protocol and port of the service that a packet is to, or from.
fn service(packet: &Ipv4View, to: bool) -> Option<(u8, u16)> {
    match &packet.transport {
        Transport::Tcp { source, destination, .. }
        | Transport::Udp { source, destination, .. }
        | Transport::Ports { source, destination } => {
            Some((packet.protocol, if to { *destination } else { *source }))
        }
        // What is quoted went the other way.
        Transport::Icmp { quoted, .. } => service(quoted.as_deref()?, !to),
        Transport::Tunnel(_) | Transport::Other => None,
    }
}

fn opens(packet: &Ipv4View) -> bool {
    matches!(&packet.transport, Transport::Tcp { flags, .. } if flags == "S")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::traffic::packets::{Hop, icmp_error, tcp, udp};

    #[test]
    fn packets_and_errors_are_their_clients() {
        let [client, vip] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 9)];
        let (from, to) = (SocketAddrV4::new(client, 4000), SocketAddrV4::new(vip, 443));
        let answer = udp(to, from, 64, b"12").unwrap();
        let packets = [
            udp(from, to, 64, b"1").unwrap(),
            icmp_error(client, vip, (3, 3), [0; 4], &answer).unwrap(),
            icmp_error(vip, client, (11, 0), [0; 4], &udp(from, to, 64, b"1").unwrap()).unwrap(),
            answer,
            tcp(from, to, "S", 0, &[]).unwrap(),
            tcp(to, from, "SA", 0, &[]).unwrap(),
            udp(from, SocketAddrV4::new(client, 443), 64, b"1").unwrap(),
        ];
        let hop = Hop { source: [2; 6], destination: [4; 6] };
        let frame = |packet: &Vec<u8>| Frame {
            nanoseconds: 0,
            outgoing: false,
            bytes: hop.frame(packet).unwrap().into(),
        };
        let ledger = Ledger::of(&packets.iter().map(frame).collect::<Vec<_>>(), vip);
        let udp =
            Wire { sent_packets: 2, sent_bytes: 29 + 58, got_packets: 1, got_bytes: 30, connections: 0 };
        assert_eq!(ledger.client(client, 17, 443), udp);
        let tcp = Wire { sent_packets: 1, sent_bytes: 40, got_packets: 1, got_bytes: 40, connections: 1 };
        assert_eq!(ledger.client(client, 6, 443), tcp);
        assert_eq!(ledger.iter().count(), 2);
    }
}
