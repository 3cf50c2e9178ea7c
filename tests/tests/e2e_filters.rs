//! The cheap filters, each in each of its modes, with packets on the cable.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, ensure};
use relay_tests::capture::Witness;
use relay_tests::end_to_end::{ECHO, WEB};
use relay_tests::relay_config::Service;
use relay_tests::topology::addresses::{CLIENT, VIP};
use relay_tests::topology::plan::SERVICE_DEVICE;
use relay_tests::traffic::packets::{ipv4, tcp, udp};
use relay_tests::{EndToEnd, Setup, privileged};

const UDP: u8 = 17;
const TCP: u8 = 6;
/// A protocol that no service speaks: GRE.
const GRE: u8 = 47;
const NAMES: u16 = 53;
/// Packets of each kind.
const EACH: u64 = 5;
const FILTERS: [&str; 5] = ["reflector_ports", "tcp_flags", "source_port_zero", "fragments", "protocols"];

/// Packets of one kind, and where they are counted in each mode.
struct Probe {
    packets: Vec<Vec<u8>>,
    /// The reason with `enforce`.
    reason: &'static str,
    /// The reason with `off` and `shadow`.
    otherwise: &'static str,
    /// The tally with `shadow`.
    tally: &'static str,
    /// Whether the packets reach the service with `off` and `shadow`.
    arrive: bool,
}

fn probes(from: Ipv4Addr) -> Result<Vec<Probe>> {
    let [echo, web] = [ECHO, WEB].map(|port| SocketAddrV4::new(VIP, port));
    let datagram = |port| udp(SocketAddrV4::new(from, port), echo, 64, b"probe");
    let forwarded = "forward_encapsulated";
    let reflectors = [17, 19, 53, 69, 111, 123, 137, 161, 389, 1900, 3702, 5353, 5683, 11_211];
    let flags = ["", "SF", "SR", "FPU", "SFPU"];
    let fragment = {
        let mut packet = ipv4(from, VIP, 64, UDP, &[0; 64])?;
        // Eight times three bytes into the packet, and no Don't Fragment; the checksum of the header follows.
        packet[6..8].copy_from_slice(&[0, 3]);
        packet[10..12].fill(0);
        let checksum = etherparse::Ipv4HeaderSlice::from_slice(&packet)?.to_header().calc_header_checksum();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet
    };
    Ok(vec![
        Probe {
            packets: reflectors.into_iter().map(datagram).collect::<Result<_>>()?,
            reason: "filter_reflector_port",
            otherwise: forwarded,
            tally: "shadow_reflector_port",
            arrive: true,
        },
        Probe {
            packets: flags
                .into_iter()
                .map(|flags| tcp(SocketAddrV4::new(from, 4000), web, flags, 1, &[]))
                .collect::<Result<_>>()?,
            reason: "filter_tcp_flags",
            otherwise: forwarded,
            tally: "shadow_tcp_flags",
            arrive: true,
        },
        Probe {
            packets: vec![datagram(0)?],
            reason: "filter_source_port",
            otherwise: forwarded,
            tally: "shadow_source_port",
            arrive: true,
        },
        Probe {
            packets: vec![fragment],
            reason: "filter_fragment",
            otherwise: "not_a_service",
            tally: "shadow_fragment",
            arrive: false,
        },
        Probe {
            packets: vec![ipv4(from, VIP, 64, GRE, &[0; 16])?],
            reason: "filter_protocol",
            otherwise: "protocol_to_kernel",
            tally: "shadow_protocol",
            arrive: false,
        },
    ])
}

/// All filters in one mode: what becomes of each kind of packet from somebody who has proved nothing.
fn all_filters(mode: &str) -> Result<()> {
    let keys = FILTERS.map(|filter| format!("{filter} = \"{mode}\"")).join("\n");
    let setup = Setup { asks: vec![(None, "filters", keys)], ..Setup::default() };
    let mut system = EndToEnd::start(setup)?;
    system.client_forges = true;
    let wire = system.client_wire()?;
    for probe in probes(STRANGER)? {
        let witness = Witness::start(system.service()?, SERVICE_DEVICE)?;
        let before = system.ingress.counters()?;
        for packet in &probe.packets {
            (0..EACH).try_for_each(|_| wire.send(packet))?;
        }
        let sent = EACH * probe.packets.len() as u64;
        let reason = if mode == "enforce" { probe.reason } else { probe.otherwise };
        system.ingress.wait_for_reason(&before, reason, sent)?;
        let after = system.ingress.counters()?;
        // A shadow is counted with the packet.
        let shadows =
            after.tallies.iter().map(|tally| &tally.name).filter(|name| name.starts_with("shadow_"));
        let moved = shadows.map(|name| (name, after.tally(name) - before.tally(name)));
        let shadows: Vec<(&String, u64)> = moved.filter(|(_, moved)| *moved > 0).collect();
        let wanted = if probe.arrive { format!("{}_unproven", probe.tally) } else { probe.tally.to_owned() };
        let wanted = if mode == "shadow" { vec![(&wanted, sent)] } else { Vec::new() };
        ensure!(shadows == wanted, "{mode}: the shadows of {sent} packets are {shadows:?}, not {wanted:?}");
        let passes = probe.arrive && mode != "enforce";
        std::thread::sleep(Duration::from_millis(if passes { 100 } else { 20 }));
        let arrived = witness.finish()?;
        let arrived: u64 = [(UDP, ECHO), (TCP, WEB)]
            .iter()
            .map(|(protocol, port)| arrived.packets(*protocol, *port, |source| source == STRANGER))
            .sum();
        ensure!(
            arrived == if passes { sent } else { 0 },
            "{mode}: {arrived} of {sent} {} arrived",
            probe.reason
        );
    }
    system.finish()?;
    Ok(())
}

/// Somebody who has proved nothing.
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

#[test]
fn filters_that_are_off_let_everything_through() -> Result<()> {
    privileged("filters_that_are_off_let_everything_through", || all_filters("off"))
}

#[test]
fn filters_in_the_shadow_count_what_they_would_drop() -> Result<()> {
    privileged("filters_in_the_shadow_count_what_they_would_drop", || all_filters("shadow"))
}

#[test]
fn filters_that_are_enforced_drop() -> Result<()> {
    privileged("filters_that_are_enforced_drop", || all_filters("enforce"))
}

#[test]
fn shadows_of_the_verified_are_counted_apart() -> Result<()> {
    privileged("shadows_of_the_verified_are_counted_apart", || {
        let asks = vec![(None, "filters", "tcp_flags = \"shadow\"".to_owned())];
        let mut system = EndToEnd::start(Setup { web: true, asks, ..Setup::default() })?;
        system.client_forges = true;
        let copy = system.topology().directory().join("copy");
        system.browse(|browser, _| browser.fetch("1000", &copy))?;
        let before = system.ingress.counters()?;
        let wire = system.client_wire()?;
        for (from, times) in [(CLIENT, 3), (STRANGER, 4)] {
            let packet = tcp(SocketAddrV4::new(from, 4000), SocketAddrV4::new(VIP, WEB), "SF", 1, &[])?;
            (0..times).try_for_each(|_| wire.send(&packet))?;
        }
        system.ingress.wait_for_reason(&before, "forward_encapsulated", 7)?;
        let after = system.ingress.counters()?;
        let moved = ["shadow_tcp_flags_verified", "shadow_tcp_flags_unproven"]
            .map(|name| after.tally(name) - before.tally(name));
        ensure!(moved == [3, 4], "{moved:?} shadows of verified and unproven clients");
        system.finish()?;
        Ok(())
    })
}

/// Name servers talk to name servers: from port 53 to port 53.
#[test]
fn a_service_at_a_reflectors_port_talks_to_its_like() -> Result<()> {
    privileged("a_service_at_a_reflectors_port_talks_to_its_like", || {
        let more_services = vec![Service::new("names", "udp", NAMES, NAMES)];
        let mut system = EndToEnd::start(Setup { more_services, ..Setup::default() })?;
        system.client_forges = true;
        let wire = system.client_wire()?;
        let witness = Witness::start(system.service()?, SERVICE_DEVICE)?;
        let before = system.ingress.counters()?;
        for port in [NAMES, 123] {
            let packet = udp(SocketAddrV4::new(STRANGER, port), SocketAddrV4::new(VIP, NAMES), 64, b"?")?;
            (0..EACH).try_for_each(|_| wire.send(&packet))?;
        }
        system.ingress.wait_for_reason(&before, "filter_reflector_port", EACH)?;
        system.ingress.wait_for_reason(&before, "forward_encapsulated", EACH)?;
        std::thread::sleep(Duration::from_millis(100));
        let arrived = witness.finish()?.packets(UDP, NAMES, |source| source == STRANGER);
        ensure!(arrived == EACH, "{arrived} of {EACH} arrived");
        system.finish()?;
        Ok(())
    })
}
