//! ICMP as clients, services and the routers around them meet it through the relay.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::capture::{Capture, Frame};
use relay_tests::end_to_end::{ECHO, WHO_AM_I};
use relay_tests::packet_view::{Ipv4View, Transport};
use relay_tests::process::{output_of, run};
use relay_tests::topology::addresses::{
    BACKEND, CLIENT, INGRESS_BEHIND_ROUTER, INGRESS_PUBLIC, ROUTER_TO_INGRESS, VIP,
};
use relay_tests::topology::{Options, Place};
use relay_tests::traffic::packets::{icmp_error, udp};
use relay_tests::traffic::udp::ask;
use relay_tests::web_service::WHO_AM_I_PORT;
use relay_tests::{EndToEnd, Setup, privileged};

const PATIENCE: Duration = Duration::from_secs(3);
const FRAGMENTATION_NEEDED: (u8, u8) = (3, 4);
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const PROHIBITED: (u8, u8) = (3, 13);
const TIME_EXCEEDED: (u8, u8) = (11, 0);

fn arrived(frame: &Frame, kind: (u8, u8)) -> bool {
    !frame.outgoing && frame.view().ipv4().and_then(Ipv4View::icmp) == Some(kind)
}

fn error_at(capture: &Capture, kind: (u8, u8)) -> Result<Ipv4View> {
    let frame = capture.wait_for_frame(&format!("ICMP {kind:?}"), PATIENCE, |frame| arrived(frame, kind))?;
    frame.view().ipv4().cloned().context("the frame just found is IPv4")
}

/// An error a client may see: from the VIP, about the packet as the client sent it.
fn must_be_about(error: &Ipv4View, from: SocketAddrV4, to: SocketAddrV4) -> Result<()> {
    let quoted = error.quoted().context("the error quotes a packet")?;
    ensure!((error.source, error.destination) == (*to.ip(), *from.ip()), "{error}");
    ensure!((quoted.source, quoted.destination) == (*from.ip(), *to.ip()), "{error}");
    let ports = match quoted.transport {
        Transport::Udp { source, destination, .. } | Transport::Ports { source, destination } => {
            (source, destination)
        }
        _ => (0, 0),
    };
    ensure!(ports == (from.port(), to.port()), "{error}");
    ensure!(quoted.header_checksum_right, "the quoted header has a wrong checksum: {error}");
    Ok(())
}

fn client(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(CLIENT, port)
}

fn vip(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(VIP, port)
}

#[test]
fn the_vip_answers_ping() -> Result<()> {
    privileged("the_vip_answers_ping", || {
        let system = EndToEnd::start(Setup::default())?;
        let mut ping = system.client()?.command("ping");
        let text = output_of(ping.args(["-c", "20", "-i", "0.02", "-W", "2", &VIP.to_string()]))?;
        ensure!(text.contains(" 0% packet loss"), "{text}");
        system.finish()?;
        Ok(())
    })
}

fn traceroute(options: Options, may_see: &[Ipv4Addr]) -> Result<()> {
    let system = EndToEnd::start(Setup { web: true, options, ..Setup::default() })?;
    let (udp_port, target) = (ECHO.to_string(), VIP.to_string());
    let ways: [&[&str]; 3] = [&["-U", "-p", &udp_port], &["-T", "-p", "443"], &["-I"]];
    for way in ways {
        let mut command = system.client()?.command("traceroute");
        command.args(["-n", "-q", "1", "-w", "0.4", "-m", "6"]).args(way).arg(&target);
        let text = run(&mut command, Duration::from_secs(30))?.success()?;
        let seen = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        let seen: Vec<Ipv4Addr> = seen.filter_map(|word| word.parse().ok()).collect();
        ensure!(seen.contains(&VIP), "{way:?} never saw the VIP:\n{text}");
        ensure!(seen.iter().all(|hop| may_see.contains(hop)), "{way:?}:\n{text}");
    }
    system.finish()?;
    Ok(())
}

#[test]
fn rule_44_traceroute_sees_nothing_behind_the_ingress_relay() -> Result<()> {
    privileged("rule_44_traceroute_sees_nothing_behind_the_ingress_relay", || {
        traceroute(Options::default(), &[VIP, INGRESS_PUBLIC])?;
        let options = Options { client_router: true, service_router: true, ..Options::default() };
        traceroute(options, &[Ipv4Addr::new(198, 51, 100, 1), ROUTER_TO_INGRESS, INGRESS_BEHIND_ROUTER, VIP])
    })
}

#[test]
fn rule_8_time_exceeded_comes_from_the_vip() -> Result<()> {
    privileged("rule_8_time_exceeded_comes_from_the_vip", || {
        let system = EndToEnd::start(Setup::default())?;
        system.client_wire()?.send(&udp(client(41_000), vip(ECHO), 1, b"one hop")?)?;
        let error = error_at(system.client_capture(), TIME_EXCEEDED)?;
        must_be_about(&error, client(41_000), vip(ECHO))?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_9_a_ttl_that_ends_at_the_egress_relay_is_not_told() -> Result<()> {
    privileged("rule_9_a_ttl_that_ends_at_the_egress_relay_is_not_told", || {
        let system = EndToEnd::start(Setup::default())?;
        let before = system.egress.counters()?;
        system.client_wire()?.send(&udp(client(41_000), vip(ECHO), 2, b"two hops")?)?;
        system.egress.wait_for_reason(&before, "inner_ttl_expired", 1)?;
        let verdict = system.finish()?;
        let told = verdict.client_capture.frames.iter().filter(|frame| arrived(frame, TIME_EXCEEDED)).count();
        ensure!(told == 0, "the client was told {told} times");
        Ok(())
    })
}

#[test]
fn rule_16_and_31_an_oversize_packet_is_answered_with_the_tunnels_mtu() -> Result<()> {
    privileged("rule_16_and_31_an_oversize_packet_is_answered_with_the_tunnels_mtu", || {
        let system = EndToEnd::start(Setup::default())?;
        let mut packet = udp(client(41_000), vip(ECHO), 64, &[7; 1472])?;
        ensure!(packet.len() == 1500 && packet[6] & 0x40 != 0, "a full packet with Don't Fragment");
        system.client_wire()?.send(&packet)?;
        let error = error_at(system.client_capture(), FRAGMENTATION_NEEDED)?;
        must_be_about(&error, client(41_000), vip(ECHO))?;
        ensure!(error.announced_mtu() == Some(1480), "{error:?}");
        ensure!(error.total_length > 28 + 28 && error.total_length <= 576, "{error}");
        // One byte less than the limit passes.
        let service = system.capture_service()?;
        packet = udp(client(41_001), vip(ECHO), 64, &[7; 1452])?;
        system.client_wire()?.send(&packet)?;
        service.wait_for_frame("a packet that just fits", PATIENCE, |frame| frame.bytes.len() == 1494)?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_16_the_clients_kernel_learns_the_mtu() -> Result<()> {
    privileged("rule_16_the_clients_kernel_learns_the_mtu", || {
        let system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        // A plain socket: the first full packet is answered by the relay, the kernel then sends what fits.
        ask(system.client()?, system.echo_target(), &[7; 1472], Duration::from_millis(500))?;
        let route = system.client()?.ip(&["route", "get", &VIP.to_string()])?;
        ensure!(route.contains("mtu 1480"), "the client's kernel knows {route}");
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_33_generated_errors_are_limited_and_the_rest_is_counted() -> Result<()> {
    privileged("rule_33_generated_errors_are_limited_and_the_rest_is_counted", || {
        let extra = "[icmp]\nrate = 100\nprefix_rate = 20".to_owned();
        let system = EndToEnd::start(Setup { ingress_extra: extra, ..Setup::default() })?;
        let before = system.ingress.counters()?;
        let wire = system.client_wire()?;
        let packet = udp(client(41_000), vip(ECHO), 64, &[7; 1472])?;
        for _ in 0..2_000 {
            wire.send(&packet)?;
        }
        system.ingress.wait_for_reason(&before, "too_big", 1)?;
        let verdict = system.finish()?;
        let moved = verdict.ingress.relay.moved_since(&before);
        let count = |reason: &str| moved.get(reason).copied().unwrap_or(0);
        let (sent, dropped) = (count("fragmentation_needed_sent"), count("too_big"));
        ensure!(sent + dropped == 2_000, "{moved:?}");
        ensure!(sent > 0 && sent < 200, "{sent} errors were sent");
        let frames = verdict.client_capture.frames.iter();
        let seen = frames.filter(|frame| arrived(frame, FRAGMENTATION_NEEDED)).count() as u64;
        ensure!(seen == sent, "{seen} arrived of {sent}");
        Ok(())
    })
}

#[test]
fn rule_35_and_37_a_closed_port_of_the_service_is_told_by_the_vip() -> Result<()> {
    privileged("rule_35_and_37_a_closed_port_of_the_service_is_told_by_the_vip", || {
        // No web service: the port behind WHO_AM_I is closed, and another one than the client asked for.
        let system = EndToEnd::start(Setup::default())?;
        system.client_wire()?.send(&udp(client(41_000), vip(WHO_AM_I), 64, b"anyone?")?)?;
        let error = error_at(system.client_capture(), PORT_UNREACHABLE)?;
        must_be_about(&error, client(41_000), vip(WHO_AM_I))?;
        ensure!(WHO_AM_I != WHO_AM_I_PORT);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_35_an_error_of_the_services_router_is_told_by_the_vip() -> Result<()> {
    privileged("rule_35_an_error_of_the_services_router_is_told_by_the_vip", || {
        let options = Options { service_router: true, ..Options::default() };
        let system = EndToEnd::start(Setup { options, ..Setup::default() })?;
        let router = system.topology().at(Place::ServiceRouter)?;
        router.ip(&["route", "add", "prohibit", &format!("{BACKEND}/32")])?;
        system.client_wire()?.send(&udp(client(41_000), vip(ECHO), 64, b"may I?")?)?;
        let error = error_at(system.client_capture(), PROHIBITED)?;
        must_be_about(&error, client(41_000), vip(ECHO))?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_35_a_narrow_link_behind_the_services_router_is_told_by_the_vip() -> Result<()> {
    privileged("rule_35_a_narrow_link_behind_the_services_router_is_told_by_the_vip", || {
        let options = Options { service_router: true, ..Options::default() };
        let system = EndToEnd::start(Setup { options, ..Setup::default() })?;
        let router = system.topology().at(Place::ServiceRouter)?;
        router.ip(&["link", "set", "dev", "hosts", "mtu", "1300"])?;
        system.client_wire()?.send(&udp(client(41_000), vip(ECHO), 64, &[7; 1372])?)?;
        let error = error_at(system.client_capture(), FRAGMENTATION_NEEDED)?;
        must_be_about(&error, client(41_000), vip(ECHO))?;
        ensure!(error.announced_mtu() == Some(1300), "{error:?}");
        system.finish()?;
        Ok(())
    })
}

/// An error of a router on the client's side about an answer of the service, as it would arrive at the ingress relay.
fn about_an_answer(client_port: u16, payload: &[u8], mtu: u16) -> Result<Vec<u8>> {
    let quoted = udp(vip(ECHO), client(client_port), 60, payload)?;
    let [high, low] = mtu.to_be_bytes();
    icmp_error(CLIENT, VIP, FRAGMENTATION_NEEDED, [0, 0, high, low], &quoted)
}

#[test]
fn rules_27_34_37_a_clients_error_reaches_the_service_about_its_own_packet() -> Result<()> {
    privileged("rules_27_34_37_a_clients_error_reaches_the_service_about_its_own_packet", || {
        let system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        let service = system.capture_service()?;
        let wire = system.client_wire()?;
        // Opens the flow that the error is about.
        wire.send(&udp(client(41_000), vip(ECHO), 64, &[7; 1400])?)?;
        system
            .client_capture()
            .wait_for_frame("the answer", PATIENCE, |frame| !frame.outgoing && frame.bytes.len() == 1442)?;
        wire.send(&about_an_answer(41_000, &[7; 1400], 1300)?)?;
        let error = error_at(&service, FRAGMENTATION_NEEDED)?;
        ensure!((error.source, error.destination) == (CLIENT, BACKEND), "{error}");
        ensure!(error.announced_mtu() == Some(1300), "{error}");
        let quoted = error.quoted().context("the error quotes a packet")?;
        ensure!((quoted.source, quoted.destination) == (BACKEND, CLIENT), "{error}");
        ensure!(quoted.header_checksum_right, "{error}");
        let route = system.service()?.ip(&["route", "get", &CLIENT.to_string()])?;
        ensure!(route.contains("mtu 1300"), "the service's kernel knows {route}");
        drop(echo.finish()?);
        let captured = service.finish()?;
        captured.must_have_right_checksums(true)?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rules_28_and_36_an_error_about_nothing_is_dropped_and_opens_nothing() -> Result<()> {
    privileged("rules_28_and_36_an_error_about_nothing_is_dropped_and_opens_nothing", || {
        let system = EndToEnd::start(Setup::default())?;
        let wire = system.client_wire()?;
        let (at_ingress, at_egress) = (system.ingress.counters()?, system.egress.counters()?);
        // No such flow; then one whose MTU no link can have.
        for _ in 0..2 {
            wire.send(&about_an_answer(41_777, &[7; 1400], 1300)?)?;
        }
        wire.send(&about_an_answer(41_777, &[7; 1400], 60)?)?;
        system.ingress.wait_for_reason(&at_ingress, "icmp_mtu_too_small", 1)?;
        system.egress.wait_for_reason(&at_egress, "icmp_quote_unknown", 2)?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_32_no_error_is_sent_about_an_error() -> Result<()> {
    privileged("rule_32_no_error_is_sent_about_an_error", || {
        let system = EndToEnd::start(Setup::default())?;
        let before = system.ingress.counters()?;
        let mut error = about_an_answer(41_000, &[7; 400], 1300)?;
        error[8] = 1;
        error[10..12].fill(0);
        let checksum = etherparse::Ipv4HeaderSlice::from_slice(&error)?.to_header().calc_header_checksum();
        error[10..12].copy_from_slice(&checksum.to_be_bytes());
        system.client_wire()?.send(&error)?;
        system.ingress.wait_for_reason(&before, "ttl_expired", 1)?;
        let verdict = system.finish()?;
        let told = verdict.client_capture.frames.iter().filter(|frame| arrived(frame, TIME_EXCEEDED)).count();
        ensure!(told == 0, "the client was told {told} times");
        Ok(())
    })
}
