//! Limits: a burst to the packet, a rate to the hundredth, at full speed on two CPUs.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use relay_abi::Reason;
use relay_tests::drive::packets::{BYTES, Packet};
use relay_tests::drive::relay::{TCP_SERVICE, UDP_SERVICE};
use relay_tests::drive::stage::apart;
use relay_tests::drive::{Order, Relay, Stage, TwoCpus};
use relay_tests::privileged;

#[test]
fn the_first_packet_over_a_burst_is_dropped() -> Result<()> {
    privileged("the_first_packet_over_a_burst_is_dropped", || apart(burst))
}

#[test]
fn two_cpus_at_five_times_the_limit_get_the_limit() -> Result<()> {
    privileged("two_cpus_at_five_times_the_limit_get_the_limit", || apart(overload))
}

#[test]
fn bursts_within_the_rate_lose_nothing() -> Result<()> {
    privileged("bursts_within_the_rate_lose_nothing", || apart(bursts))
}

/// A limit, and packets that all arrive within what is one moment to it.
struct Limit {
    policy: String,
    packet: Packet,
    order: Order,
    /// Packets that pass.
    burst: u64,
    reason: Reason,
}

/// Ten seconds' worth of five packets a second come at once: the next one would pass after 200 ms.
fn limits() -> Vec<Limit> {
    const BURST: u64 = 51;
    let limit = |key: &str, rate: u64, packet, order, reason| Limit {
        policy: format!("[limits]\nburst = \"10s\"\n{key} = {rate}\n"),
        packet,
        order,
        burst: BURST,
        reason,
    };
    let (one, many) = (Order::InTurn(1), Order::InTurn(1024));
    // Bytes have a least rate: as many packets of it take as many seconds.
    let bytes = |key, order, reason| Limit {
        policy: format!("[limits]\nburst = \"2s\"\n{key} = 1150\n"),
        ..limit(key, 0, Packet::Forward, order, reason)
    };
    vec![
        limit("client_packets", 5, Packet::Forward, one, Reason::LimitClientPackets),
        limit("prefix_packets", 5, Packet::Forward, one, Reason::LimitPrefixPackets),
        limit("total_packets", 5, Packet::Forward, many, Reason::LimitServicePackets),
        bytes("client_bytes", one, Reason::LimitClientBytes),
        bytes("prefix_bytes", one, Reason::LimitPrefixBytes),
        bytes("total_bytes", many, Reason::LimitServiceBytes),
        limit("client_connections", 5, Packet::ForwardSyn, one, Reason::LimitClientConnections),
        limit("prefix_connections", 5, Packet::ForwardSyn, one, Reason::LimitPrefixConnections),
        limit("total_connections", 5, Packet::ForwardSyn, many, Reason::LimitServiceConnections),
    ]
}

fn burst() -> Result<()> {
    const PACKETS: u32 = 10_000;
    let stage = Stage::build()?;
    let mut cpus = TwoCpus::load(&stage)?;
    for Limit { policy, packet, order, burst, reason } in limits() {
        let mut relay = Relay::ingress(&stage, &format!("{policy}[clients]\nentries = 4096\n"))?;
        let program = relay.program()?;
        cpus.one(&program, packet, order, PACKETS)?;
        let (forwarded, dropped) = (relay.ended(Reason::ForwardEncapsulated)?, relay.ended(reason)?);
        ensure!(
            (forwarded.packets, dropped.packets) == (burst, u64::from(PACKETS) - burst),
            "{}: of {PACKETS} packets at once {} were forwarded instead of {burst}, and {} dropped",
            reason.label(),
            forwarded.packets,
            dropped.packets
        );
        let service = if packet == Packet::ForwardSyn { TCP_SERVICE } else { UDP_SERVICE };
        let account = relay.account(service)?;
        ensure!(account.clients.packets + account.totals.gone.packets == burst, "{account:?}");
    }
    Ok(())
}

/// Both CPUs send as fast as they can, five times as much as one client may.
fn overload() -> Result<()> {
    let stage = Stage::build()?;
    let mut cpus = TwoCpus::load(&stage)?;
    // How fast that is while nearly all are dropped.
    let mut relay = Relay::ingress(&stage, "[limits]\nclient_packets = 1\n")?;
    let began = Instant::now();
    cpus.both(&relay.program()?, Packet::Forward, Order::InTurn(1), 1_000_000)?;
    let speed = 2_000_000.0 / began.elapsed().as_secs_f64();
    for (reason, key) in [
        (Reason::LimitClientPackets, "client_packets"),
        (Reason::LimitPrefixPackets, "prefix_packets"),
        (Reason::LimitServicePackets, "total_packets"),
    ] {
        let rate = (speed / 6.0) as u64;
        let mut relay = Relay::ingress(&stage, &format!("[limits]\n{key} = {rate}\n"))?;
        let measured = undisturbed(&mut cpus, &mut relay, reason, rate)?;
        let share = measured.admitted / rate as f64;
        println!(
            "{key} = {rate}: {:.0} packets a second came, {:.0} were admitted: {share:.4}",
            measured.offered, measured.admitted
        );
        ensure!((share - 1.0).abs() < 0.01, "{key} = {rate}: {:.0} were admitted", measured.admitted);
    }
    Ok(())
}

/// Packets a second.
struct Measured {
    offered: f64,
    admitted: f64,
}

/// Measures a flood that is one, and does not stand still for longer than a burst covers: then less than the limit would be admitted,
/// and rightly.
fn undisturbed(cpus: &mut TwoCpus, relay: &mut Relay, reason: Reason, rate: u64) -> Result<Measured> {
    let program = relay.program()?;
    let (relay, stop) = (&*relay, AtomicBool::new(false));
    thread::scope(|scope| {
        let flood = scope.spawn(|| cpus.until(&stop, &program, Packet::Forward, Order::InTurn(1)));
        thread::sleep(SETTLE);
        let mut measured = Ok(None);
        for _ in 0..ATTEMPTS {
            measured = measure(relay, reason);
            match &measured {
                Ok(Some(measured)) if measured.offered > 3.0 * rate as f64 => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        stop.store(true, Relaxed);
        flood.join().map_err(|_panic| anyhow!("the flood panicked"))??;
        measured?.context("the machine is too busy: the flood stood still again and again")
    })
}

/// Watches a flood; nothing if it stood still.
fn measure(relay: &Relay, reason: Reason) -> Result<Option<Measured>> {
    let Some(start) = Reading::while_dropping(relay, reason, Instant::now())? else { return Ok(None) };
    let mut last = start;
    while start.at.elapsed() < MEASURED {
        thread::sleep(Duration::from_millis(10));
        let Some(next) = Reading::while_dropping(relay, reason, last.at)? else { return Ok(None) };
        last = next;
    }
    let seconds = (last.at - start.at).as_secs_f64();
    let admitted = (last.admitted - start.admitted) as f64 / seconds;
    Ok(Some(Measured { offered: admitted + (last.dropped - start.dropped) as f64 / seconds, admitted }))
}

/// What had become of packets at a moment.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    admitted: u64,
    dropped: u64,
}

impl Reading {
    fn take(relay: &Relay, reason: Reason) -> Result<Self> {
        let dropped = relay.ended(reason)?.packets;
        let at = Instant::now();
        let admitted = relay.ended(Reason::ForwardEncapsulated)?.packets;
        Ok(Self { at: at + at.elapsed() / 2, admitted, dropped })
    }

    /// Reads at a moment at which packets are being dropped, so that all which the limit allows have come; nothing if there is none
    /// for long after another moment.
    fn while_dropping(relay: &Relay, reason: Reason, after: Instant) -> Result<Option<Self>> {
        let mut last = Self::take(relay, reason)?;
        loop {
            let next = Self::take(relay, reason)?;
            if next.at - after > STILL {
                return Ok(None);
            }
            // Unless something came between the two.
            if next.dropped > last.dropped && next.at - last.at < PROMPT {
                return Ok(Some(next));
            }
            last = next;
        }
    }
}

/// A client that sends at its rate, but all at once, with pauses in between that the default burst allows.
fn bursts() -> Result<()> {
    const RATE: u64 = 100_000;
    const PAUSE: Duration = Duration::from_millis(160);
    /// What the rate brings in 150 ms.
    const AT_ONCE: u32 = 15_000;
    let stage = Stage::build()?;
    let mut cpus = TwoCpus::load(&stage)?;
    let policy = format!("[limits]\nclient_packets = {RATE}\nclient_bytes = {}\n", RATE * BYTES);
    let mut relay = Relay::ingress(&stage, &policy)?;
    let program = relay.program()?;
    for _ in 0..15 {
        let next = Instant::now() + PAUSE;
        cpus.both(&program, Packet::Forward, Order::InTurn(1), AT_ONCE / 2)?;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let sent = 15 * u64::from(AT_ONCE);
    let forwarded = relay.ended(Reason::ForwardEncapsulated)?.packets;
    ensure!(forwarded == sent, "{} of {sent} packets within the rate were dropped", sent - forwarded);
    Ok(())
}

const ATTEMPTS: u32 = 10;
/// Most of what the burst covers.
const STILL: Duration = Duration::from_millis(150);
/// Between two readings of counters.
const PROMPT: Duration = Duration::from_millis(1);
/// Until the burst is used up.
const SETTLE: Duration = Duration::from_millis(700);
const MEASURED: Duration = Duration::from_secs(3);
