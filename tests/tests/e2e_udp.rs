//! UDP both ways, packet by packet.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::capture::Frame;
use relay_tests::end_to_end::ECHO;
use relay_tests::packet_view::{Ipv4View, Transport};
use relay_tests::relay_config::Translate;
use relay_tests::topology::Options;
use relay_tests::topology::addresses::{BACKEND, CLIENT, EGRESS_TUNNEL, INGRESS_TUNNEL, VIP};
use relay_tests::traffic::packets::udp;
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::{EndToEnd, Setup, privileged};

const PATIENCE: Duration = Duration::from_secs(3);

fn is_udp_from(frame: &Frame, port: u16) -> bool {
    let view = frame.view();
    let packet = view.ipv4().map(|packet| packet.inner().unwrap_or(packet));
    matches!(packet.map(|packet| &packet.transport), Some(Transport::Udp { source, .. }) if *source == port)
}

fn ipv4(frame: &Frame) -> Result<Ipv4View> {
    frame.view().ipv4().cloned().context("the frame is IPv4")
}

fn numbered(translate: Translate) -> Result<()> {
    let system = EndToEnd::start(Setup { translate, ..Setup::default() })?;
    let echo = system.start_echo()?;
    let pace = Pace { packets_per_second: 20_000, flows: 4, ..Pace::default() };
    let stream = Stream::start(system.client()?, system.echo_target(), pace)?;
    stream.wait_for_more(100_000)?;
    let report = stream.finish()?;
    report.must_be_lossless()?;
    let seen = echo.finish()?;
    ensure!(seen.packets == report.sent, "the service saw {} of {}", seen.packets, report.sent);
    ensure!(seen.peers.iter().all(|peer| *peer.ip() == CLIENT), "the service saw {:?}", seen.peers);
    system.finish()?;
    Ok(())
}

#[test]
fn a_hundred_thousand_numbered_packets_pass_both_ways() -> Result<()> {
    privileged("a_hundred_thousand_numbered_packets_pass_both_ways", || numbered(Translate::Ingress))
}

#[test]
fn rule_41_numbered_packets_pass_when_the_service_holds_the_vip() -> Result<()> {
    privileged("rule_41_numbered_packets_pass_when_the_service_holds_the_vip", || numbered(Translate::None))
}

#[test]
fn the_service_sees_the_clients_address_behind_a_translated_port() -> Result<()> {
    privileged("the_service_sees_the_clients_address_behind_a_translated_port", || {
        for translate in [Translate::Ingress, Translate::None] {
            let system = EndToEnd::start(Setup { web: true, translate, ..Setup::default() })?;
            let answer = system.who_am_i(PATIENCE)?.context("the service answers")?;
            ensure!(answer.starts_with("198.51.100.2:"), "the service says {answer}");
            system.finish()?;
        }
        Ok(())
    })
}

#[test]
fn rule_40_a_udp_checksum_of_zero_stays_zero() -> Result<()> {
    privileged("rule_40_a_udp_checksum_of_zero_stays_zero", || {
        let system = EndToEnd::start(Setup::default())?;
        let service = system.capture_service()?;
        let mut packet =
            udp(SocketAddrV4::new(CLIENT, 41_000), SocketAddrV4::new(VIP, ECHO), 64, b"no checksum")?;
        packet[26..28].fill(0);
        system.client_wire()?.send(&packet)?;
        let frame = service.wait_for_frame("the packet", PATIENCE, |frame| is_udp_from(frame, 41_000))?;
        ensure!(frame.bytes[40..42] == [0, 0], "the checksum became {:?}", &frame.bytes[40..42]);
        ensure!(ipv4(&frame)?.destination == BACKEND);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_2_ethernet_padding_goes_no_further_than_the_first_relay() -> Result<()> {
    privileged("rule_2_ethernet_padding_goes_no_further_than_the_first_relay", || {
        let options = Options { watched_tunnel: true, ..Options::default() };
        let system = EndToEnd::start(Setup { options, ..Setup::default() })?;
        let (service, tunnel) = (system.capture_service()?, system.capture_tunnel()?);
        let packet = udp(SocketAddrV4::new(CLIENT, 41_000), SocketAddrV4::new(VIP, ECHO), 64, b"x")?;
        system.client_wire()?.send_padded(&packet, b"seventeen  bytes.")?;
        for (capture, length) in [(&tunnel, 14 + 20 + 29), (&service, 14 + 29)] {
            let frame = capture.wait_for_frame("the packet", PATIENCE, |frame| is_udp_from(frame, 41_000))?;
            ensure!(frame.bytes.len() == length, "{} bytes: {}", frame.bytes.len(), frame.view());
        }
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rules_7_10_12_13_23_25_the_outer_header_and_the_inner_ttl() -> Result<()> {
    privileged("rules_7_10_12_13_23_25_the_outer_header_and_the_inner_ttl", || {
        let options = Options { watched_tunnel: true, ..Options::default() };
        let system = EndToEnd::start(Setup { options, ..Setup::default() })?;
        let (service, tunnel) = (system.capture_service()?, system.capture_tunnel()?);
        let wire = system.client_wire()?;
        for ecn in 0..4_u8 {
            let port = 41_000 + u16::from(ecn);
            let mut packet = udp(SocketAddrV4::new(CLIENT, port), SocketAddrV4::new(VIP, ECHO), 50, b"x")?;
            // DSCP 46 (expedited forwarding) and no Don't Fragment; the checksum of the header follows.
            packet[1] = 46 << 2 | ecn;
            packet[6] = 0;
            packet[10..12].fill(0);
            let header = etherparse::Ipv4HeaderSlice::from_slice(&packet)?.to_header();
            let checksum = header.calc_header_checksum();
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            wire.send(&packet)?;

            let frame = tunnel.wait_for_frame("the packet", PATIENCE, |frame| is_udp_from(frame, port))?;
            let outer = ipv4(&frame)?;
            ensure!((outer.source, outer.destination) == (INGRESS_TUNNEL, EGRESS_TUNNEL), "{outer}");
            ensure!(outer.dont_fragment && outer.ttl == 64 && outer.header_checksum_right, "{outer:?}");
            ensure!((outer.ecn, outer.dscp) == (ecn, 0), "{outer:?}");
            let inner = outer.inner().context("a packet in the tunnel")?;
            ensure!((inner.ttl, inner.destination, inner.source) == (49, BACKEND, CLIENT), "{inner}");

            let frame = service.wait_for_frame("the packet", PATIENCE, |frame| is_udp_from(frame, port))?;
            let delivered = ipv4(&frame)?;
            ensure!((delivered.ttl, delivered.dscp, delivered.ecn) == (48, 46, ecn), "{delivered:?}");
            ensure!(!delivered.dont_fragment, "{delivered:?}");
        }
        system.finish()?;
        Ok(())
    })
}
