//! Relays with one interface for both sides: all kinds of traffic, on every mix of one-armed and two-armed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::process::output_of;
use relay_tests::topology::Options;
use relay_tests::topology::addresses::VIP;
use relay_tests::traffic::fetch::must_be_equal;
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::{EndToEnd, Setup, privileged};

fn everything_passes(options: Options) -> Result<()> {
    let system = EndToEnd::start(Setup { web: true, options, ..Setup::default() })?;
    let copy = system.topology().directory().join("copy");
    system.browse(|browser, web| {
        browser.fetch("1000000", &copy)?;
        must_be_equal(&web.page("1000000"), &copy)
    })?;
    let answer = system.who_am_i(Duration::from_secs(3))?.context("the service answers")?;
    ensure!(answer.starts_with("198.51.100.2:"), "the service says {answer}");
    output_of(system.client()?.command("ping").args(["-c", "3", "-i", "0.05", "-W", "2", &VIP.to_string()]))?;
    let echo = system.start_echo()?;
    let pace = Pace { packets_per_second: 10_000, ..Pace::default() };
    let stream = Stream::start(system.client()?, system.echo_target(), pace)?;
    stream.wait_for_more(20_000)?;
    stream.finish()?.must_be_lossless()?;
    drop(echo.finish()?);
    system.finish()?;
    Ok(())
}

#[test]
fn a_one_armed_ingress_relay() -> Result<()> {
    privileged("a_one_armed_ingress_relay", || {
        everything_passes(Options { one_armed_ingress: true, ..Options::default() })
    })
}

#[test]
fn a_one_armed_egress_relay() -> Result<()> {
    privileged("a_one_armed_egress_relay", || {
        everything_passes(Options { one_armed_egress: true, ..Options::default() })
    })
}

#[test]
fn both_relays_one_armed() -> Result<()> {
    privileged("both_relays_one_armed", || {
        everything_passes(Options { one_armed_ingress: true, one_armed_egress: true, ..Options::default() })
    })
}

#[test]
fn two_armed_relays_between_routers() -> Result<()> {
    privileged("two_armed_relays_between_routers", || {
        everything_passes(Options { client_router: true, service_router: true, ..Options::default() })
    })
}
