//! A service that is asked for more than it can take: who asks for less than a fair share notices nothing, the others get it.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_tests::capture::Witness;
use relay_tests::end_to_end::ECHO;
use relay_tests::topology::Options;
use relay_tests::topology::addresses::{ATTACKER, CLIENT, VIP};
use relay_tests::topology::plan::SERVICE_DEVICE;
use relay_tests::traffic::flood::{Flood, Kind, Pour, Sources};
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};
use serde_json::Value;

const UDP: u8 = 17;
const CAPACITY: f64 = 2000.0;
const FLOOD: u32 = 12_000;
/// What the modest client asks for, a second.
const MODEST: f64 = 100.0;
const SPOOFED: u32 = 60;
const PATIENCE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(4);

fn build() -> Result<EndToEnd> {
    let limits = format!("fair = true\ncapacity_packets = {CAPACITY}");
    let options = Options { attacker: true, ..Options::default() };
    let asks = vec![(Some("echo"), "limits", limits)];
    let mut system = EndToEnd::start(Setup { options, asks, ..Setup::default() })?;
    system.may_lose = true;
    Ok(system)
}

fn flood(system: &EndToEnd, sources: Sources) -> Result<Flood> {
    system.flood(Pour {
        kind: Kind::Udp(60),
        sources,
        target: SocketAddrV4::new(VIP, ECHO),
        packets_per_second: FLOOD,
        first: 0,
        packets: None,
    })
}

/// The fair share in force, in packets a second.
fn share(system: &EndToEnd) -> Result<Option<f64>> {
    let status: Value = serde_json::from_str(&system.ingress.command("status", &["--json"])?.success()?)?;
    let rows = status["clients"]["services"].as_array().context("no services")?;
    let name = format!("udp {VIP}:{ECHO}");
    let row = rows.iter().find(|row| row["service"] == name.as_str()).context("no such service")?;
    Ok(row["fair_share_packets"].as_f64())
}

/// Floods while a modest client goes on asking; `expected` is the level at which the capacity is shared.
fn shared(sources: Sources, expected: f64) -> Result<()> {
    let system = build()?;
    let echo = system.start_echo()?;
    let stream = modest(&system, MODEST as u32)?;
    stream.wait_for_more(50)?;
    ensure!(share(&system)?.is_none(), "shared at peace");

    let flood = flood(&system, sources)?;
    let start = Instant::now();
    wait_until("the capacity to be shared", PATIENCE, || Ok(share(&system)?.is_some()))?;
    println!("shared after {:?}", start.elapsed());
    // What the clients had saved up of their bursts is spent by then.
    std::thread::sleep(Duration::from_secs(1));
    let witness = Witness::start(system.service()?, SERVICE_DEVICE)?;
    let from = Instant::now();
    std::thread::sleep(WINDOW);
    let level = share(&system)?.context("not shared during the flood")?;
    let seen = witness.finish()?;
    let seconds = from.elapsed().as_secs_f64();
    let poured = flood.finish()?;
    let flooded = seen.packets(UDP, ECHO, |source| sources.hold(source)) as f64 / seconds;
    let modest = seen.packets(UDP, ECHO, |source| source == CLIENT) as f64 / seconds;
    println!(
        "{poured:?}; level {level:.1}, {expected:.1} expected; {flooded:.0} of the flood and {modest:.0} more a second"
    );
    ensure!((level / expected - 1.0).abs() < 0.1, "the level is {level}, not {expected}");
    ensure!(((flooded + modest) / CAPACITY - 1.0).abs() < 0.1, "{flooded} + {modest} of {CAPACITY} a second");

    wait_until("peace", PATIENCE, || Ok(share(&system)?.is_none()))?;
    must_have_noticed_nothing(stream)?;
    drop(echo.finish()?);
    system.finish()?;
    Ok(())
}

fn modest(system: &EndToEnd, packets_per_second: u32) -> Result<Stream> {
    let pace = Pace { packets_per_second, ..Pace::default() };
    Stream::start(system.client()?, system.echo_target(), pace)
}

/// But for what a busy machine loses between here and there.
fn must_have_noticed_nothing(stream: Stream) -> Result<()> {
    let report = stream.finish()?;
    let answers = &report.answers;
    ensure!(answers.received * 100 >= answers.expected * 99, "{report:?}");
    Ok(())
}

#[test]
fn one_flooder_gets_what_the_others_leave() -> Result<()> {
    privileged("one_flooder_gets_what_the_others_leave", || shared(Sources::One(ATTACKER), CAPACITY - MODEST))
}

#[test]
fn many_flooders_leave_a_modest_client_alone() -> Result<()> {
    privileged("many_flooders_leave_a_modest_client_alone", || {
        let system = build()?;
        let echo = system.start_echo()?;
        // Less than an equal part.
        let stream = modest(&system, 20)?;
        let flood = flood(&system, Sources::Spoofed(SPOOFED))?;
        wait_until("the capacity to be shared", PATIENCE, || Ok(share(&system)?.is_some()))?;
        std::thread::sleep(Duration::from_secs(2));
        let level = share(&system)?.context("not shared during the flood")?;
        let expected = (CAPACITY - 20.0) / f64::from(SPOOFED);
        println!("level {level:.1}, {expected:.1} expected");
        ensure!((level / expected - 1.0).abs() < 0.1, "the level is {level}, not {expected}");
        flood.finish()?;
        must_have_noticed_nothing(stream)?;
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_share_outlives_its_controller_and_the_next_one_takes_it_over() -> Result<()> {
    privileged("a_share_outlives_its_controller_and_the_next_one_takes_it_over", || {
        let mut system = build()?;
        let echo = system.start_echo()?;
        let flood = flood(&system, Sources::One(ATTACKER))?;
        wait_until("the capacity to be shared", PATIENCE, || Ok(share(&system)?.is_some()))?;
        system.ingress.stop()?;
        let left = share(&system)?.context("the share ended with its controller")?;
        system.ingress.start()?;
        std::thread::sleep(Duration::from_secs(1));
        let again = share(&system)?.context("the next controller gave the share up during the flood")?;
        println!("{left:.0} before, {again:.0} after");
        ensure!((again / CAPACITY - 1.0).abs() < 0.1, "the level is {again}");
        flood.finish()?;
        wait_until("peace", PATIENCE, || Ok(share(&system)?.is_none()))?;
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}
