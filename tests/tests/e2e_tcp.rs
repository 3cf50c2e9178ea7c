//! What the relay does to TCP headers, seen at both ends.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::capture::{Capture, Frame};
use relay_tests::end_to_end::WEB;
use relay_tests::packet_view::Transport;
use relay_tests::topology::Options;
use relay_tests::topology::addresses::{CLIENT, VIP};
use relay_tests::traffic::packets::tcp_syn;
use relay_tests::{EndToEnd, Setup, privileged};

const PATIENCE: Duration = Duration::from_secs(3);

fn syn_from(frame: &Frame, port: u16) -> Option<Option<u16>> {
    match frame.view().ipv4()?.transport {
        Transport::Tcp { source, ref flags, mss, .. } if source == port && flags.contains('S') => Some(mss),
        _ => None,
    }
}

fn mss_at(capture: &Capture, port: u16) -> Result<Option<u16>> {
    let frame = capture.wait_for_frame("a SYN", PATIENCE, |frame| syn_from(frame, port).is_some())?;
    syn_from(&frame, port).context("the frame just found is a SYN")
}

#[test]
fn rule_29_the_mss_is_clamped_both_ways_and_never_raised() -> Result<()> {
    privileged("rule_29_the_mss_is_clamped_both_ways_and_never_raised", || {
        let system = EndToEnd::start(Setup { web: true, ..Setup::default() })?;
        let service = system.capture_service()?;
        let wire = system.client_wire()?;
        let target = SocketAddrV4::new(VIP, WEB);
        // Tunnel of 1500 bytes, 20 of the outer header, 40 of inner headers.
        for (port, offered, clamped) in [(40_001, 1460, 1440), (40_002, 1440, 1440), (40_003, 500, 500)] {
            wire.send(&tcp_syn(SocketAddrV4::new(CLIENT, port), target, offered)?)?;
            ensure!(mss_at(&service, port)? == Some(clamped), "a SYN with MSS {offered}");
        }
        // The answer of the service, whose own link would carry 1460.
        ensure!(mss_at(system.client_capture(), WEB)? == Some(1440), "the SYN-ACK");
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_29_a_smaller_tunnel_clamps_further_and_pages_still_arrive() -> Result<()> {
    privileged("rule_29_a_smaller_tunnel_clamps_further_and_pages_still_arrive", || {
        let options = Options { tunnel_mtu: 1400, ..Options::default() };
        let system = EndToEnd::start(Setup { web: true, options, ..Setup::default() })?;
        let copy = system.topology().directory().join("copy");
        system.browse(|browser, _| browser.fetch("1000000", &copy))?;
        ensure!(mss_at(system.client_capture(), WEB)? == Some(1340), "the SYN-ACK");
        system.finish()?;
        Ok(())
    })
}

#[test]
fn rule_29_a_tunnel_with_room_clamps_nothing() -> Result<()> {
    privileged("rule_29_a_tunnel_with_room_clamps_nothing", || {
        let options = Options { tunnel_mtu: 1520, ..Options::default() };
        let system = EndToEnd::start(Setup { web: true, options, ..Setup::default() })?;
        let copy = system.topology().directory().join("copy");
        system.browse(|browser, _| browser.fetch("1000000", &copy))?;
        ensure!(mss_at(system.client_capture(), WEB)? == Some(1460), "the SYN-ACK");
        let verdict = system.finish()?;
        let longest = verdict.client_capture.frames.iter().map(|frame| frame.bytes.len()).max();
        ensure!(longest == Some(1514), "full frames pass a tunnel with room: {longest:?}");
        Ok(())
    })
}
