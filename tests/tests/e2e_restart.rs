//! The controller comes and goes; the traffic does not notice.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_tests::process::run;
use relay_tests::relay::{Relay, binary};
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::{EndToEnd, Setup, privileged};

const SPEED: Pace = Pace { packets_per_second: 20_000, payload: 100, flows: 2 };
/// Packets between two events: a quarter of a second.
const BETWEEN: u64 = 5_000;

/// Runs `events` on both relays under traffic, of which nothing may be lost.
fn under_traffic(rounds: usize, mut event: impl FnMut(&mut Relay) -> Result<()>) -> Result<()> {
    let mut system = EndToEnd::start(Setup::default())?;
    let echo = system.start_echo()?;
    let stream = Stream::start(system.client()?, system.echo_target(), SPEED)?;
    stream.wait_for_more(BETWEEN)?;
    for _ in 0..rounds {
        for relay in [&mut system.ingress, &mut system.egress] {
            event(relay)?;
            stream.wait_for_more(BETWEEN)?;
        }
    }
    let report = stream.finish()?;
    report.must_be_lossless()?;
    ensure!(echo.finish()?.packets == report.sent);
    let verdict = system.finish()?;
    // Both ways, and nothing was counted from zero again.
    ensure!(verdict.ingress.relay.packets() >= 2 * report.sent);
    ensure!(verdict.egress.relay.packets() >= 2 * report.sent);
    Ok(())
}

#[test]
fn a_restart_of_the_controller_loses_no_packet() -> Result<()> {
    privileged("a_restart_of_the_controller_loses_no_packet", || {
        under_traffic(3, |relay| {
            relay.stop()?;
            relay.start()
        })
    })
}

#[test]
fn a_killed_controller_loses_no_packet() -> Result<()> {
    privileged("a_killed_controller_loses_no_packet", || {
        under_traffic(3, |relay| {
            relay.kill()?;
            relay.start()
        })
    })
}

#[test]
fn traffic_flows_on_while_no_controller_runs() -> Result<()> {
    privileged("traffic_flows_on_while_no_controller_runs", || {
        let mut system = EndToEnd::start(Setup::default())?;
        system.ingress.stop()?;
        system.egress.kill()?;
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), SPEED)?;
        stream.wait_for_more(4 * BETWEEN)?;
        stream.finish()?.must_be_lossless()?;
        drop(echo.finish()?);
        system.ingress.start()?;
        system.egress.start()?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_bad_configuration_is_refused_whole_and_what_runs_goes_on() -> Result<()> {
    privileged("a_bad_configuration_is_refused_whole_and_what_runs_goes_on", || {
        let mut system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), SPEED)?;
        stream.wait_for_more(BETWEEN)?;
        let good = system.egress.config.write()?;
        let bad = good.with_extension("bad.toml");
        // Two faults behind much that is right.
        let text = fs::read_to_string(&good).context("read a configuration")?;
        fs::write(&bad, format!("{text}\nweigth = 2\n\n[icmp]\nrate = 0\n"))
            .context("write a configuration")?;
        for stopped in [false, true] {
            if stopped {
                system.egress.stop()?;
            }
            let mut command = system.egress.namespace().command(binary()?);
            let ended = run(command.arg("run").arg("--config").arg(&bad), Duration::from_secs(10))?;
            ensure!(ended.code() == 3, "ended with {}: {}", ended.code(), ended.stderr);
            for key in ["weigth", "icmp.rate"] {
                ensure!(ended.stderr.contains(key), "says nothing of {key}: {}", ended.stderr);
            }
            stream.wait_for_more(BETWEEN)?;
        }
        system.egress.start()?;
        let report = stream.finish()?;
        report.must_be_lossless()?;
        ensure!(echo.finish()?.packets == report.sent);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_second_controller_for_the_same_node_is_refused_at_once() -> Result<()> {
    privileged("a_second_controller_for_the_same_node_is_refused_at_once", || {
        let system = EndToEnd::start(Setup::default())?;
        let start = Instant::now();
        let second = system.ingress.run_second()?;
        ensure!(second.code() == 1, "ended with {}: {}", second.code(), second.stderr);
        ensure!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
        ensure!(second.stderr.contains("ingress-1"), "does not name the node: {}", second.stderr);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn after_unload_nothing_of_the_relay_is_left() -> Result<()> {
    privileged("after_unload_nothing_of_the_relay_is_left", || {
        let mut system = EndToEnd::start(Setup::default())?;
        system.ingress.unload()?;
        ensure!(!system.ingress.is_pinned());
        for device in system.ingress.devices() {
            let link = system.ingress.namespace().link(device)?;
            ensure!(link["xdp"].is_null(), "{device} still has {}", link["xdp"]);
        }
        let status = system.ingress.command("status", &[])?;
        ensure!(status.code() == 4, "status of nothing ended with {}: {}", status.code(), status.stderr);
        system.ingress.start()?;
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), Pace::default())?;
        stream.wait_for_more(500)?;
        let report = stream.finish()?;
        ensure!(report.answers.received > 0, "{report:?}");
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn two_capabilities_are_enough() -> Result<()> {
    privileged("two_capabilities_are_enough", || {
        let mut system = EndToEnd::start(Setup::default())?;
        for relay in [&mut system.ingress, &mut system.egress] {
            relay.unload()?;
            relay.wrapper = [
                "setpriv",
                "--bounding-set",
                "-all,+bpf,+net_admin",
                "--inh-caps",
                "-all,+bpf,+net_admin",
                "--no-new-privs",
            ]
            .map(str::to_owned)
            .to_vec();
            relay.start()?;
        }
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), Pace::default())?;
        stream.wait_for_more(500)?;
        let report = stream.finish()?;
        ensure!(report.answers.received > 0, "{report:?}");
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}
