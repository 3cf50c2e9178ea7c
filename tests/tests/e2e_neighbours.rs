//! Neighbours that are forgotten, change or disappear for a while: the relay must never need help to find them again.

use std::time::Duration;

use anyhow::{Result, ensure};
use relay_tests::topology::{Options, Place};
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};

const SPEED: Pace = Pace { packets_per_second: 5_000, payload: 100, flows: 1 };
/// How long a relay may take to notice and to ask again; probes go out every two seconds by default.
const HEALING: Duration = Duration::from_secs(10);

fn flush_under_traffic(options: Options, flushes: usize) -> Result<()> {
    let system = EndToEnd::start(Setup { options, ..Setup::default() })?;
    let echo = system.start_echo()?;
    let stream = Stream::start(system.client()?, system.echo_target(), SPEED)?;
    stream.wait_for_more(1_000)?;
    for _ in 0..flushes {
        for relay in [&system.ingress, &system.egress] {
            for device in relay.devices() {
                relay.namespace().ip(&["neigh", "flush", "dev", device])?;
                stream.wait_for_more(500)?;
            }
        }
    }
    stream.wait_for_more(5_000)?;
    stream.finish()?.must_be_lossless()?;
    drop(echo.finish()?);
    system.finish()?;
    Ok(())
}

#[test]
fn flushed_neighbours_lose_no_packet() -> Result<()> {
    privileged("flushed_neighbours_lose_no_packet", || flush_under_traffic(Options::default(), 5))
}

#[test]
fn flushed_neighbours_of_one_armed_relays_lose_no_packet() -> Result<()> {
    privileged("flushed_neighbours_of_one_armed_relays_lose_no_packet", || {
        let options = Options { one_armed_ingress: true, one_armed_egress: true, ..Options::default() };
        flush_under_traffic(options, 3)
    })
}

/// Traffic flows, `event` happens, traffic flows again within [`HEALING`], all by itself.
fn heals(options: Options, event: impl Fn(&EndToEnd) -> Result<()>) -> Result<()> {
    let mut system = EndToEnd::start(Setup { options, ..Setup::default() })?;
    system.may_lose = true;
    let echo = system.start_echo()?;
    event(&system)?;
    wait_until("traffic to flow again", HEALING, || {
        let stream = Stream::start(system.client()?, system.echo_target(), Pace::default())?;
        stream.wait_for_more(50)?;
        Ok(stream.finish()?.must_be_lossless().is_ok())
    })?;
    drop(echo.finish()?);
    system.finish()?;
    Ok(())
}

/// Gives a host another MAC address without telling anyone, as a replaced machine would.
fn replace_machine(system: &EndToEnd, place: Place, device: &str, last: u8) -> Result<()> {
    let host = system.topology().at(place)?;
    let before = host.mac(device)?;
    host.set_mac(device, [2, 0, 0, 0xfe, 0, last])?;
    ensure!(host.mac(device)? != before);
    Ok(())
}

#[test]
fn a_backend_with_a_new_mac_address_is_found_again() -> Result<()> {
    privileged("a_backend_with_a_new_mac_address_is_found_again", || {
        heals(Options::default(), |system| replace_machine(system, Place::Service, "net0", 1))
    })
}

#[test]
fn an_egress_relay_with_a_new_mac_address_is_found_again() -> Result<()> {
    privileged("an_egress_relay_with_a_new_mac_address_is_found_again", || {
        heals(Options::default(), |system| replace_machine(system, Place::Egress, "tunnel", 2))
    })
}

#[test]
fn a_client_router_with_a_new_mac_address_is_found_again() -> Result<()> {
    privileged("a_client_router_with_a_new_mac_address_is_found_again", || {
        let options = Options { client_router: true, ..Options::default() };
        heals(options, |system| replace_machine(system, Place::ClientRouter, "relays", 3))
    })
}

#[test]
fn a_link_that_was_down_is_used_again() -> Result<()> {
    privileged("a_link_that_was_down_is_used_again", || {
        for (place, device) in
            [(Place::Egress, "service"), (Place::Ingress, "tunnel"), (Place::Egress, "tunnel")]
        {
            heals(Options::default(), |system| {
                let host = system.topology().at(place)?;
                // Routes over a gateway and neighbours go with the link; addresses stay.
                host.ip(&["link", "set", "dev", device, "down"])?;
                host.ip(&["link", "set", "dev", device, "up"])?;
                Ok(())
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_backend_that_was_away_is_found_again() -> Result<()> {
    privileged("a_backend_that_was_away_is_found_again", || {
        heals(Options::default(), |system| {
            let service = system.service()?;
            service.ip(&["link", "set", "dev", "net0", "down"])?;
            system.egress.namespace().ip(&["neigh", "flush", "dev", "service"])?;
            // Long enough for the kernel to give up asking.
            std::thread::sleep(Duration::from_secs(5));
            service.ip(&["link", "set", "dev", "net0", "up"])?;
            service.ip(&["route", "replace", "default", "via", "192.168.100.1"])?;
            Ok(())
        })
    })
}
