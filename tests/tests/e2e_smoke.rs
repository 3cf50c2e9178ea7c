//! The tools of the end-to-end tests themselves, without a relay: the kernels route what the relay will carry, and every
//! check must be able to fail.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Result, ensure};
use relay_tests::capture::Capture;
use relay_tests::hiding::scan;
use relay_tests::process::output_of;
use relay_tests::topology::addresses::{BACKEND, CLIENT, HIDDEN};
use relay_tests::topology::plan::{CLIENT_DEVICE, SERVICE_DEVICE};
use relay_tests::topology::{Options, Place, Topology};
use relay_tests::traffic::fetch::{Browser, must_be_equal};
use relay_tests::traffic::udp::{Echo, Pace, Stream, ask};
use relay_tests::web_service::{HTTPS_PORT, WHO_AM_I_PORT, WebService};
use relay_tests::{privileged, table};

fn routed(options: Options) -> Result<Topology> {
    let topology = Topology::build(Options { open_routing: true, ..options })?;
    for (from, to) in [(Place::Client, BACKEND), (Place::Service, CLIENT)] {
        let mut ping = topology.at(from)?.command("ping");
        output_of(ping.args(["-c", "2", "-i", "0.05", "-W", "2", &to.to_string()]))?;
    }
    Ok(topology)
}

#[test]
fn every_variant_of_the_topology_routes() -> Result<()> {
    privileged("every_variant_of_the_topology_routes", || {
        for bits in 0..16_u8 {
            routed(Options {
                one_armed_ingress: bits & 1 != 0,
                one_armed_egress: bits & 2 != 0,
                client_router: bits & 4 != 0,
                service_router: bits & 8 != 0,
                watched_tunnel: bits & 1 == 0,
                ..Options::default()
            })?;
        }
        Ok(())
    })
}

#[test]
fn a_page_over_tls_is_fetched_whole_and_seen_by_the_capture() -> Result<()> {
    privileged("a_page_over_tls_is_fetched_whole_and_seen_by_the_capture", || {
        let topology = routed(Options::default())?;
        let web = WebService::start(topology.at(Place::Service)?, BACKEND, topology.directory())?;
        let client = topology.at(Place::Client)?;
        let capture = Capture::start("client side", client, CLIENT_DEVICE)?;
        let authority = web.authority();
        let browser = Browser {
            client,
            target: SocketAddrV4::new(BACKEND, HTTPS_PORT),
            authority: &authority,
            limit: Duration::from_secs(60),
            from: None,
        };
        let copy = topology.directory().join("copy");
        for page in ["1", "10000", "100000000"] {
            browser.fetch(page, &copy)?;
            must_be_equal(&web.page(page), &copy)?;
        }
        let answers = browser.fetch_parallel(&vec!["1000".to_owned(); 100])?;
        ensure!(answers.len() == 100);
        let log = web.access_log()?;
        ensure!(log.len() == 103 && log.iter().all(|line| line.starts_with("198.51.100.2:")), "{log:?}");

        let captured = capture.finish()?;
        captured.must_be_complete()?;
        captured.must_have_right_checksums(false)?;
        let longest = captured.frames.iter().map(|frame| frame.bytes.len()).max();
        ensure!(longest == Some(1514), "frames were merged before the capture: {longest:?}");
        let report = scan(&captured.frames, &HIDDEN, false);
        ensure!(report.bytes > 100_000_000, "the capture holds {} bytes only", report.bytes);
        // Nothing hides the service here, so a scan that is clean is broken.
        ensure!(report.must_be_clean().is_err());
        Ok(())
    })
}

#[test]
fn numbered_udp_at_speed_is_counted_without_loss() -> Result<()> {
    privileged("numbered_udp_at_speed_is_counted_without_loss", || {
        let topology = routed(Options::default())?;
        let target = SocketAddrV4::new(BACKEND, 7000);
        let echo = Echo::start(topology.at(Place::Service)?, target)?;
        let pace = Pace { packets_per_second: 20_000, flows: 4, ..Pace::default() };
        let stream = Stream::start(topology.at(Place::Client)?, target, pace)?;
        stream.wait_for_more(40_000)?;
        let report = stream.finish()?;
        report.must_be_lossless()?;
        ensure!(report.sent as f64 / report.seconds > 15_000.0, "too slow: {report:?}");
        let seen = echo.finish()?;
        ensure!(seen.packets == report.sent && seen.peers.len() == 4, "{} of {}", seen.packets, report.sent);
        ensure!(seen.peers.iter().all(|peer| *peer.ip() == CLIENT));
        Ok(())
    })
}

#[test]
fn a_lost_packet_is_noticed() -> Result<()> {
    privileged("a_lost_packet_is_noticed", || {
        let topology = routed(Options::default())?;
        let target = SocketAddrV4::new(BACKEND, 7000);
        let _echo = Echo::start(topology.at(Place::Service)?, target)?;
        let stream = Stream::start(topology.at(Place::Client)?, target, Pace::default())?;
        stream.wait_for_more(200)?;
        let egress = topology.at(Place::Egress)?;
        egress.ip(&["link", "set", "dev", "service", "down"])?;
        stream.wait_for_more(200)?;
        egress.ip(&["link", "set", "dev", "service", "up"])?;
        stream.wait_for_more(200)?;
        let report = stream.finish()?;
        ensure!(report.must_be_lossless().is_err() && report.answers.missing >= 150, "{report:?}");
        Ok(())
    })
}

#[test]
fn the_table_shows_a_packet_at_each_point() -> Result<()> {
    privileged("the_table_shows_a_packet_at_each_point", || {
        let topology = routed(Options { watched_tunnel: true, ..Options::default() })?;
        let web = WebService::start(topology.at(Place::Service)?, BACKEND, topology.directory())?;
        let client = topology.at(Place::Client)?;
        let port = topology.switch_port(Place::Egress)?;
        let captures = [
            Capture::start("client side", client, CLIENT_DEVICE)?,
            Capture::start("tunnel", topology.at(Place::Switch)?, &port)?,
            Capture::start("service side", topology.at(Place::Service)?, SERVICE_DEVICE)?,
        ];
        let target = SocketAddrV4::new(BACKEND, WHO_AM_I_PORT);
        let answer = ask(client, target, b"who am I", Duration::from_secs(2))?;
        let text = String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned();
        ensure!(text.starts_with("198.51.100.2:"), "the service says: {text}");
        let captured = captures.map(Capture::finish).into_iter().collect::<Result<Vec<_>>>()?;
        let rows = table::rows(&captured.iter().collect::<Vec<_>>(), |packet| packet.protocol == 17);
        println!("{}", table::text(&rows));
        ensure!(rows.len() == 6, "{rows:?}");
        drop(web);
        Ok(())
    })
}
