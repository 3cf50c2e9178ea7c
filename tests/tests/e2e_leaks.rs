//! Each way in which a service could show itself to a client (rule 44), tried on purpose: in a network whose kernels would
//! route everything, so that only the relay hides anything. The scan at the end of each test is the judge.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use anyhow::{Result, ensure};
use relay_tests::capture::Frame;
use relay_tests::end_to_end::ECHO;
use relay_tests::packet_view::{FrameView, Transport};
use relay_tests::process::run;
use relay_tests::topology::Options;
use relay_tests::topology::addresses::{BACKEND, CLIENT, EGRESS_TUNNEL, INGRESS_PUBLIC, INGRESS_TUNNEL, VIP};
use relay_tests::traffic::packets::{echo_request, ipip, ipv4, tcp_reset, tcp_syn, udp, udp6};
use relay_tests::traffic::raw::Wire;
use relay_tests::traffic::udp::{Echo, ask};
use relay_tests::{EndToEnd, Place, Setup, privileged};

const SHORT: Duration = Duration::from_millis(300);

fn open_system() -> Result<EndToEnd> {
    let options = Options { open_routing: true, ..Options::default() };
    EndToEnd::start(Setup { options, ..Setup::default() })
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

/// Ends the test; nothing but ARP may have reached the client since it had `known` frames.
fn finish_in_silence(system: EndToEnd, known: usize) -> Result<()> {
    let verdict = system.finish()?;
    let heard = verdict.client_capture.frames.iter().skip(known).filter(|frame| !frame.outgoing);
    let heard: Vec<FrameView> = heard.map(Frame::view).filter(|view| view.ipv4().is_some()).collect();
    ensure!(
        heard.is_empty(),
        "the client heard {}",
        heard.iter().map(ToString::to_string).collect::<String>()
    );
    Ok(())
}

fn is_udp(frame: &Frame) -> bool {
    matches!(frame.view().ipv4().map(|packet| &packet.transport), Some(Transport::Udp { .. }))
}

/// The frames captured at the client before anything is provoked. A program there can have an answer before the capture has
/// it, so this waits, but not forever, until the capture stands still.
fn frames_known(system: &EndToEnd) -> usize {
    let count = || system.client_capture().peek(<[Frame]>::len);
    let (mut known, mut still) = (count(), 0);
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(20));
        let now = count();
        still = if now == known { still + 1 } else { 0 };
        known = now;
        if still == 10 {
            break;
        }
    }
    known
}

#[test]
fn rule_44_what_a_service_host_starts_never_reaches_a_client() -> Result<()> {
    privileged("rule_44_what_a_service_host_starts_never_reaches_a_client", || {
        let system = open_system()?;
        let known = frames_known(&system);
        let before = system.egress.counters()?;
        let service = system.service()?;
        let client = CLIENT.to_string();
        run(
            service.command("ping").args(["-c", "3", "-i", "0.05", "-W", "1", &client]),
            Duration::from_secs(10),
        )?;
        ask(service, at(CLIENT, 9999), b"hello", SHORT)?;
        let mut curl = service.command("curl");
        run(
            curl.args(["--max-time", "1", "--silent", &format!("http://{CLIENT}:80/")]),
            Duration::from_secs(10),
        )?;
        system.egress.wait_for_reason(&before, "service_initiated", 5)?;
        finish_in_silence(system, known)
    })
}

#[test]
fn rules_43_and_44_an_answer_to_no_flow_never_reaches_a_client() -> Result<()> {
    privileged("rules_43_and_44_an_answer_to_no_flow_never_reaches_a_client", || {
        let system = open_system()?;
        let known = frames_known(&system);
        let before = system.egress.counters()?;
        let wire = system.service_wire()?;
        // From endpoints of the services, to a client that never asked.
        wire.send(&tcp_reset(at(BACKEND, 443), at(CLIENT, 40_000), 1)?)?;
        wire.send(&tcp_syn(at(BACKEND, 443), at(CLIENT, 40_000), 1460)?)?;
        wire.send(&udp(at(BACKEND, ECHO), at(CLIENT, 40_000), 64, b"unasked")?)?;
        system.egress.wait_for_reason(&before, "return_unknown_flow", 3)?;
        finish_in_silence(system, known)
    })
}

#[test]
fn rule_44_a_fragmented_answer_never_reaches_a_client() -> Result<()> {
    privileged("rule_44_a_fragmented_answer_never_reaches_a_client", || {
        let system = open_system()?;
        // A service that answers with more than a packet holds: its kernel cuts it into fragments.
        let echo = Echo::start(system.service()?, at(BACKEND, ECHO))?;
        let before = system.egress.counters()?;
        ask(system.client()?, system.echo_target(), b"opens the flow", SHORT)?;
        let known = frames_known(&system);
        let whole = udp(at(BACKEND, ECHO), at(CLIENT, 40_000), 64, &[7; 1400])?;
        let wire = system.service_wire()?;
        for (flags, payload) in [(0x20_u8, &whole[20..1020]), (0, &whole[1020..])] {
            let mut packet = ipv4(BACKEND, CLIENT, 64, 17, payload)?;
            packet[6] = flags;
            packet[7] = if flags == 0 { 125 } else { 0 };
            packet[10..12].fill(0);
            let header = etherparse::Ipv4HeaderSlice::from_slice(&packet)?.to_header();
            packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
            wire.send(&packet)?;
        }
        system.egress.wait_for_reason(&before, "fragment", 2)?;
        drop(echo.finish()?);
        finish_in_silence(system, known)
    })
}

#[test]
fn rule_44_no_answer_goes_around_an_ingress_relay_that_is_down() -> Result<()> {
    privileged("rule_44_no_answer_goes_around_an_ingress_relay_that_is_down", || {
        let mut system = open_system()?;
        let echo = system.start_echo()?;
        let answer = ask(system.client()?, system.echo_target(), b"opens the flow", Duration::from_secs(2))?;
        ensure!(answer.is_some());
        // A veth without a program takes no redirected frame: what the egress relay sends meanwhile is lost, and counted.
        system.may_lose = true;
        system.ingress.unload()?;
        // The service goes on answering the flow that is open; its kernel routes would lead to the client.
        let wire = system.service_wire()?;
        let port = system.client_capture().peek(|frames| {
            let ports = frames.iter().rev().filter_map(|frame| match frame.view().ipv4()?.transport {
                Transport::Udp { source, .. } if frame.outgoing => Some(source),
                _ => None,
            });
            ports.into_iter().next()
        });
        let port = port.unwrap_or(0);
        for _ in 0..10 {
            wire.send(&udp(at(BACKEND, ECHO), at(CLIENT, port), 64, b"still here")?)?;
        }
        // And the client goes on asking.
        ask(system.client()?, system.echo_target(), b"hello?", SHORT)?;
        drop(echo.finish()?);
        system.ingress.start()?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_44_ipv6_goes_no_further_than_the_relays() -> Result<()> {
    privileged("rule_44_ipv6_goes_no_further_than_the_relays", || {
        let system = open_system()?;
        // The relays' hosts speak IPv6, as hosts do; they are no IPv6 routers.
        for place in [Place::Ingress, Place::Egress] {
            system.topology().at(place)?.sysctl("net/ipv6/conf/all/disable_ipv6", "0")?;
        }
        // Where the service stands, in an address that only IPv6 has room for.
        let service = SocketAddrV6::new(BACKEND.to_ipv6_mapped(), 443, 0, 0);
        let client = SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2), 40_000, 0, 0);
        let vip = SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 10), 443, 0, 0);
        let known = frames_known(&system);
        let before = (system.ingress.counters()?, system.egress.counters()?);
        let wires = (system.client_wire()?, system.service_wire()?);
        for _ in 0..3 {
            wires.0.send(&udp6(client, vip, b"a client asks")?)?;
            wires.1.send(&udp6(service, client, b"the service begins")?)?;
        }
        system.ingress.wait_for_reason(&before.0, "ipv6_not_relayed", 3)?;
        system.egress.wait_for_reason(&before.1, "ipv6_not_relayed", 3)?;
        let verdict = system.finish()?;
        let heard = verdict.client_capture.frames.iter().skip(known).filter(|frame| !frame.outgoing);
        // The relay's own kernel looks for its neighbours and routers.
        let carries = |frame: &&Frame, text: &[u8]| frame.bytes.windows(text.len()).any(|part| part == text);
        let heard = heard.filter(|frame| carries(frame, b"the service begins")).count();
        ensure!(heard == 0, "the client heard {heard} packets");
        Ok(())
    })
}

#[test]
fn rule_44_nobody_on_the_client_side_answers_arp_for_hidden_addresses() -> Result<()> {
    privileged("rule_44_nobody_on_the_client_side_answers_arp_for_hidden_addresses", || {
        let mut system = open_system()?;
        system.client_forges = true;
        let client = system.client()?;
        for address in [BACKEND, EGRESS_TUNNEL] {
            let address = address.to_string();
            client.ip(&["route", "add", &format!("{address}/32"), "dev", "uplink"])?;
            let mut ping = client.command("ping");
            run(ping.args(["-c", "2", "-i", "0.2", "-W", "1", &address]), Duration::from_secs(10))?;
        }
        let answers = system.client_capture().count(|frame| {
            let hidden = [BACKEND, EGRESS_TUNNEL];
            matches!(frame.view(), FrameView::Arp { request: false, sender, .. } if hidden.contains(&sender))
        });
        ensure!(answers == 0, "{answers} answers");
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_42_a_strangers_tunnel_packets_go_nowhere() -> Result<()> {
    privileged("rule_42_a_strangers_tunnel_packets_go_nowhere", || {
        let mut system = open_system()?;
        system.client_forges = true;
        let echo = system.start_echo()?;
        let service = system.capture_service()?;
        let known = frames_known(&system);
        let wire = system.client_wire()?;
        let to_backend = udp(at(CLIENT, 40_000), at(BACKEND, ECHO), 64, b"let me in")?;
        let to_client = udp(at(BACKEND, ECHO), at(CLIENT, 40_000), 64, b"let me out")?;
        // What is not for the tunnel goes to the kernel, which may quote it back to whom it came from: no hidden address
        // inside, or the scan would see the client's own words.
        let to_vip = udp(at(CLIENT, 40_000), at(VIP, ECHO), 64, b"let me in")?;
        let tries = [
            (INGRESS_TUNNEL, [&to_backend, &to_client]),
            (INGRESS_PUBLIC, [&to_vip; 2]),
            (VIP, [&to_vip; 2]),
        ];
        let before = system.ingress.counters()?;
        let mut sent = 0;
        for outer_source in [CLIENT, EGRESS_TUNNEL, Ipv4Addr::new(203, 0, 113, 99)] {
            for (outer_destination, inners) in tries {
                for inner in inners {
                    wire.send(&ipip(outer_source, outer_destination, inner)?)?;
                    sent += 1;
                }
            }
        }
        // The kernel may answer a protocol it does not speak; it must then say nothing that is hidden.
        let moved = system.ingress.balance()?.relay.moved_since(&before);
        let sent_on = moved
            .iter()
            .filter(|(reason, _)| reason.ends_with("delivered") || reason.ends_with("encapsulated"));
        ensure!(sent_on.count() == 0, "of {sent} packets some were relayed: {moved:?}");
        let reached = service.count(|frame| frame.view().ipv4().is_some());
        ensure!(reached == 0, "{reached} packets reached the service");
        let echoed = system.client_capture().peek(|frames| {
            let heard = frames.iter().skip(known).filter(|frame| !frame.outgoing);
            heard.filter(|frame| is_udp(frame)).count()
        });
        ensure!(echoed == 0, "{echoed} packets came back to the client");
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_42_the_egress_relay_takes_tunnel_packets_from_its_peers_only() -> Result<()> {
    privileged("rule_42_the_egress_relay_takes_tunnel_packets_from_its_peers_only", || {
        let system = open_system()?;
        let service = system.capture_service()?;
        let before = system.egress.counters()?;
        let inner = udp(at(CLIENT, 40_000), at(BACKEND, ECHO), 64, b"let me in")?;
        // From the tunnel link itself, as a neighbour of the relays could send.
        let wire = Wire::open(system.topology().at(Place::Ingress)?, "tunnel", EGRESS_TUNNEL)?;
        wire.send(&ipip(Ipv4Addr::new(10, 0, 0, 77), EGRESS_TUNNEL, &inner)?)?;
        system.egress.wait_for_reason(&before, "tunnel_unknown_peer", 1)?;
        // From a peer, but for nobody the relay serves, or as nobody who can be a client.
        let strange = udp(at(CLIENT, 40_000), at(Ipv4Addr::new(192, 168, 100, 52), ECHO), 64, b"next door")?;
        wire.send(&ipip(INGRESS_TUNNEL, EGRESS_TUNNEL, &strange)?)?;
        system.egress.wait_for_reason(&before, "inner_destination", 1)?;
        let martian = udp(at(Ipv4Addr::LOCALHOST, 40_000), at(BACKEND, ECHO), 64, b"myself")?;
        wire.send(&ipip(INGRESS_TUNNEL, EGRESS_TUNNEL, &martian)?)?;
        system.egress.wait_for_reason(&before, "inner_source", 1)?;
        let twice = ipip(INGRESS_TUNNEL, EGRESS_TUNNEL, &inner)?;
        wire.send(&ipip(INGRESS_TUNNEL, EGRESS_TUNNEL, &twice)?)?;
        let reached = service.count(|frame| frame.view().ipv4().is_some());
        ensure!(reached == 0, "{reached} packets reached the service");
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_43_a_service_cannot_send_as_somebody_else_or_to_the_relays() -> Result<()> {
    privileged("rule_43_a_service_cannot_send_as_somebody_else_or_to_the_relays", || {
        let system = open_system()?;
        let echo = system.start_echo()?;
        let known = frames_known(&system);
        let wire = system.service_wire()?;
        wire.send(&udp(at(VIP, ECHO), at(CLIENT, 40_000), 64, b"as the VIP")?)?;
        wire.send(&udp(at(BACKEND, ECHO), at(INGRESS_TUNNEL, 40_000), 64, b"to the relay")?)?;
        let inner = udp(at(BACKEND, ECHO), at(CLIENT, 40_000), 64, b"in a tunnel of its own")?;
        wire.send(&ipip(BACKEND, INGRESS_TUNNEL, &inner)?)?;
        wire.send(&ipip(EGRESS_TUNNEL, INGRESS_TUNNEL, &inner)?)?;
        wire.send(&echo_request(BACKEND, CLIENT, 1)?)?;
        drop(echo.finish()?);
        // What the relays forward of it by mistake would reach the client within this balance's patience.
        system.ingress.balance()?.must_hold()?;
        finish_in_silence(system, known)
    })
}
