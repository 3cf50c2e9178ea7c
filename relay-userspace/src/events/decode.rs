//! A record of the ring, put into words.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use relay_abi::Reason;
use relay_abi::event::Event;
use relay_abi::reason::Action;

use super::clock::Clock;
use super::packet::{self, Packet};
use super::record::{Dropped, What};
use super::services::Services;
use crate::config::valid::{Config, Role};

/// What is needed to tell what a record is about.
#[derive(Debug)]
pub struct Decoder {
    services: Services,
    tunnel_address: Ipv4Addr,
    is_ingress: bool,
    interfaces: HashMap<u32, Arc<str>>,
}

impl Decoder {
    /// Prepares for the records of a relay with this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            services: Services::of(config),
            tunnel_address: config.tunnel.local,
            is_ingress: matches!(config.role, Role::Ingress(_)),
            interfaces: HashMap::new(),
        }
    }

    /// Says what an interface is called now.
    pub fn name_interface(&mut self, ifindex: u32, name: &str) {
        if self.interfaces.get(&ifindex).is_none_or(|known| **known != *name) {
            self.interfaces.insert(ifindex, name.into());
        }
    }

    /// Reads a record; `None` if its bytes are none. Also gives when it was.
    #[must_use]
    pub fn decode(&self, record: &[u8], clock: &Clock) -> Option<(std::time::SystemTime, What)> {
        let event: Event = bytemuck::try_pod_read_unaligned(record).ok()?;
        let captured = usize::try_from(event.captured).ok()?;
        let start = event.start.get(..captured)?;
        let packet = packet::read(start, self.tunnel_address);
        let reason = u8::try_from(event.reason).ok().and_then(Reason::from_code);
        let dropped = Dropped {
            reason: reason.map_or_else(|| event.reason.to_string().into(), |reason| reason.label().into()),
            verdict: reason.map_or("drop", verdict).into(),
            client: packet.map(|packet| self.client(&packet)),
            service: packet.and_then(|packet| self.service(&packet)),
            protocol: packet.map(|packet| packet::protocol_name(packet.inner.protocol)),
            source: packet.map(|packet| packet.inner.source),
            source_port: packet.and_then(|packet| packet.inner.ports).map(|(source, _)| source),
            destination: packet.map(|packet| packet.inner.destination),
            destination_port: packet
                .and_then(|packet| packet.inner.ports)
                .map(|(_, destination)| destination),
            tunnel_source: packet.and_then(|packet| packet.outer).map(|outer| outer.source),
            tunnel_destination: packet.and_then(|packet| packet.outer).map(|outer| outer.destination),
            interface: self.interfaces.get(&event.ifindex).cloned(),
            ifindex: event.ifindex,
            cpu: event.cpu,
            length_bytes: event.length,
            suppressed_events: event.suppressed,
            start: start.to_vec(),
        };
        Some((clock.at(event.time_ns), What::Drop(dropped)))
    }

    /// Packets leave the tunnel towards clients at an ingress relay, and come from them at an egress relay.
    fn client(&self, packet: &Packet) -> Ipv4Addr {
        if packet.outer.is_some() == self.is_ingress { packet.inner.destination } else { packet.inner.source }
    }

    fn service(&self, packet: &Packet) -> Option<Arc<str>> {
        let header = packet.inner;
        let (source_port, destination_port) = header.ports?;
        self.services
            .at(header.destination, destination_port, header.protocol)
            .or_else(|| self.services.at(header.source, source_port, header.protocol))
            .cloned()
    }
}

const fn verdict(reason: Reason) -> &'static str {
    match reason.action() {
        Action::Send => "send",
        Action::Pass => "pass",
        Action::Drop => "drop",
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use relay_abi::event::EVENT_BYTES;

    use super::*;
    use crate::compile::sample;
    use crate::events::packet::sample::frame;

    fn event(reason: Reason, frame: &[u8]) -> Event {
        let captured = frame.len().min(EVENT_BYTES);
        let mut event = Event {
            time_ns: 5,
            length: u32::try_from(frame.len()).unwrap(),
            ifindex: 2,
            reason: reason as u32,
            captured: u32::try_from(captured).unwrap(),
            suppressed: 7,
            cpu: 1,
            ..Event::zeroed()
        };
        event.start[..captured].copy_from_slice(&frame[..captured]);
        event
    }

    fn decoded(config: &Config, event: &Event) -> Dropped {
        let mut decoder = Decoder::new(config);
        decoder.name_interface(2, "eth0");
        match decoder.decode(bytemuck::bytes_of(event), &Clock::now()).unwrap().1 {
            What::Drop(dropped) => dropped,
            other => panic!("{other:?}"),
        }
    }

    const CLIENT: [u8; 4] = [198, 51, 100, 2];

    #[test]
    fn a_packet_of_a_client_at_an_ingress_relay() {
        let frame = frame(&[(CLIENT, sample::VIP.octets(), 6)], [51000, 443]);
        let dropped = decoded(&sample::ingress(), &event(Reason::Blocked, &frame));
        assert_eq!((&*dropped.reason, &*dropped.verdict), ("blocked", "drop"));
        assert_eq!((dropped.client, dropped.source_port), (Some(CLIENT.into()), Some(51000)));
        assert_eq!((dropped.service.as_deref(), dropped.protocol.as_deref()), (Some("web"), Some("tcp")));
        assert_eq!(
            (dropped.interface.as_deref(), dropped.cpu, dropped.suppressed_events),
            (Some("eth0"), 1, 7)
        );
        assert_eq!((dropped.length_bytes, dropped.start.len()), (60, 60));
    }

    #[test]
    fn a_service_of_any_port_and_an_answer_are_told_as_well() {
        let frame_to_any = frame(&[(CLIENT, sample::SECOND_VIP.octets(), 17)], [4000, 9999]);
        let dropped = decoded(&sample::ingress(), &event(Reason::LimitClientPackets, &frame_to_any));
        assert_eq!(dropped.service.as_deref(), Some("game"));
        let answer = frame(
            &[(sample::FIRST_PEER.octets(), sample::LOCAL.octets(), 4), (sample::WEB_1.octets(), CLIENT, 6)],
            [8443, 51000],
        );
        let dropped = decoded(&sample::ingress(), &event(Reason::NoRoute, &answer));
        assert_eq!((dropped.client, dropped.service.as_deref()), (Some(CLIENT.into()), Some("web")));
        assert_eq!(dropped.tunnel_source, Some(sample::FIRST_PEER));
    }

    #[test]
    fn at_an_egress_relay_clients_are_at_the_other_end() {
        let forward = frame(
            &[(sample::FIRST_PEER.octets(), sample::LOCAL.octets(), 4), (CLIENT, sample::WEB_1.octets(), 6)],
            [51000, 8443],
        );
        let dropped = decoded(&sample::egress(), &event(Reason::InnerChecksum, &forward));
        assert_eq!((dropped.client, dropped.service.as_deref()), (Some(CLIENT.into()), Some("web")));
        let back = frame(&[(sample::WEB_1.octets(), CLIENT, 6)], [8443, 51000]);
        let dropped = decoded(&sample::egress(), &event(Reason::ReturnUnknownFlow, &back));
        assert_eq!((dropped.client, dropped.service.as_deref()), (Some(CLIENT.into()), Some("web")));
    }

    #[test]
    fn what_cannot_be_read_is_reported_all_the_same() {
        let dropped = decoded(&sample::ingress(), &event(Reason::FrameTruncated, &[0; 20]));
        assert_eq!((dropped.client, dropped.service, dropped.start.len()), (None, None, 20));
        let unknown = Event { reason: 255, ..event(Reason::Land, &[0; 60]) };
        assert_eq!(decoded(&sample::ingress(), &unknown).reason, "255");
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        let decoder = Decoder::new(&sample::ingress());
        let good = event(Reason::Land, &[0; 60]);
        assert!(decoder.decode(&bytemuck::bytes_of(&good)[1..], &Clock::now()).is_none());
        let long = Event { captured: 65, ..good };
        assert!(decoder.decode(bytemuck::bytes_of(&long), &Clock::now()).is_none());
    }
}
