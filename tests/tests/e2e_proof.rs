//! Clients that have to prove that they are where they say: real TCP stacks, firewalls and floods around the challenge.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use relay_tests::capture::{Capture, Frame, Seen, Witness};
use relay_tests::end_to_end::WEB;
use relay_tests::packet_view::Transport;
use relay_tests::process::output_of;
use relay_tests::topology::addresses::VIP;
use relay_tests::topology::plan::SERVICE_DEVICE;
use relay_tests::topology::{Namespace, Options};
use relay_tests::traffic::fetch::{Browser, Fetched};
use relay_tests::traffic::flood::{Kind, Pour, Sources};
use relay_tests::traffic::packets::{tcp_reset, tcp_syn};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Place, Setup, privileged};

const TARGET: SocketAddrV4 = SocketAddrV4::new(VIP, WEB);
const PATIENCE: Duration = Duration::from_secs(3);
/// An address on the client's link that nobody has: nobody answers for it.
const NOBODY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

fn start(syn: &str, options: Options) -> Result<EndToEnd> {
    EndToEnd::start(Setup { web: true, ..setup(syn, options) })
}

fn setup(syn: &str, options: Options) -> Setup {
    Setup { options, asks: vec![(Some("web"), "proof", syn.to_owned())], ..Setup::default() }
}

const ALWAYS: &str = "syn = \"always\"";

/// A TCP segment as far as these tests ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    source: SocketAddrV4,
    destination: SocketAddrV4,
    flags: String,
    sequence: u32,
    acknowledgement: u32,
    nanoseconds: u64,
    length: usize,
}

impl Segment {
    fn of(frame: &Frame) -> Option<Self> {
        let view = frame.view();
        let packet = view.ipv4()?;
        let Transport::Tcp { source, destination, sequence, acknowledgement, ref flags, .. } =
            packet.transport
        else {
            return None;
        };
        Some(Self {
            source: SocketAddrV4::new(packet.source, source),
            destination: SocketAddrV4::new(packet.destination, destination),
            flags: flags.clone(),
            sequence,
            acknowledgement,
            nanoseconds: frame.nanoseconds,
            length: frame.bytes.len(),
        })
    }
}

/// The handshake that a challenge makes of the first packets of a connection, in order.
#[derive(Debug)]
struct Handshake {
    syn: Segment,
    challenge: Segment,
    reset: Segment,
    /// The SYN that passed.
    again: Segment,
}

/// The first handshake with a challenge among the frames of a client.
fn handshake(capture: &Capture) -> Result<Handshake> {
    let segments: Vec<Segment> = capture.peek(|frames| frames.iter().filter_map(Segment::of).collect());
    let mut rest = segments.iter();
    let mut next = |what: &str, wanted: &dyn Fn(&Segment) -> bool| {
        rest.find(|segment| wanted(segment)).cloned().with_context(|| format!("no {what} in {segments:?}"))
    };
    let syn = next("SYN", &|segment| segment.flags == "S" && segment.destination == TARGET)?;
    let challenge = next("challenge", &|segment| segment.flags == "." && segment.destination == syn.source)?;
    let reset = next("RST", &|segment| segment.flags == "R" && segment.source == syn.source)?;
    let again = next("second SYN", &|segment| segment.flags == "S" && segment.source == syn.source)?;
    Ok(Handshake { syn, challenge, reset, again })
}

fn milliseconds(earlier: &Segment, later: &Segment) -> f64 {
    later.nanoseconds.saturating_sub(earlier.nanoseconds) as f64 / 1e6
}

fn fetch(system: &EndToEnd) -> Result<Fetched> {
    fetch_with(system, |browser| browser)
}

/// A fetch that is given up soon.
fn fetch_briefly(system: &EndToEnd) -> Result<Fetched> {
    fetch_with(system, |browser| Browser { limit: PATIENCE, ..browser })
}

/// A fetch from one of the client's addresses.
fn fetch_from(system: &EndToEnd, client: Ipv4Addr) -> Result<Fetched> {
    fetch_with(system, |browser| Browser { from: Some(client), ..browser })
}

fn fetch_with(system: &EndToEnd, change: impl FnOnce(Browser<'_>) -> Browser<'_>) -> Result<Fetched> {
    let copy = system.topology().directory().join("copy");
    system.browse(|browser, _| change(browser.clone()).fetch("1000", &copy))
}

/// Loads rules for nftables on a host.
fn firewall(host: &Namespace, rules: &str) -> Result<()> {
    output_of(host.command("nft").arg(rules)).context("set up a firewall")?;
    Ok(())
}

#[test]
fn curl_connects_through_a_challenge_and_the_service_sees_one_syn_as_it_was_sent() -> Result<()> {
    privileged("curl_connects_through_a_challenge_and_the_service_sees_one_syn_as_it_was_sent", || {
        let system = start(ALWAYS, Options::default())?;
        let service = system.capture_service()?;
        let before = system.ingress.counters()?;
        let first = fetch(&system)?;
        system.ingress.wait_for_reason(&before, "syn_proof", 1)?;
        let met = handshake(system.client_capture())?;
        println!(
            "connected after {:.1} ms: challenged after {:.3} ms, RST after {:.3} ms, second SYN after {:.1} ms",
            1e3 * first.time_connect,
            milliseconds(&met.syn, &met.challenge),
            milliseconds(&met.syn, &met.reset),
            milliseconds(&met.syn, &met.again)
        );
        ensure!(met.reset.sequence == met.challenge.acknowledgement, "the RST carries the number: {met:?}");
        ensure!(met.challenge.acknowledgement != met.syn.sequence.wrapping_add(1), "a wrong number: {met:?}");
        ensure!(met.challenge.length <= met.syn.length, "a challenge larger than its SYN: {met:?}");
        ensure!(met.again.sequence == met.syn.sequence, "the SYN is sent again, not another: {met:?}");
        // Far less than the second after which a SYN without an answer is sent again.
        ensure!(milliseconds(&met.syn, &met.again) < 500.0, "the SYN came late: {met:?}");
        let moved = system.ingress.counters()?.moved_since(&before);
        ensure!((moved["syn_challenged"], moved["syn_proof"]) == (1, 1), "{moved:?}");

        // Known now: no more challenges, also for other ports.
        let second = fetch(&system)?;
        println!("connected again after {:.1} ms", 1e3 * second.time_connect);
        ensure!(system.ingress.counters()?.moved_since(&before)["syn_challenged"] == 1, "a second challenge");

        let at_service: Vec<Segment> = service.finish()?.frames.iter().filter_map(Segment::of).collect();
        let opened: Vec<&Segment> =
            at_service.iter().filter(|segment| segment.source == met.syn.source).collect();
        let syns = opened.iter().filter(|segment| segment.flags == "S").count();
        ensure!(syns == 1 && opened[0].sequence == met.syn.sequence, "the service saw {opened:?}");
        ensure!(at_service.iter().all(|segment| !segment.flags.contains('R')), "the service saw the RST");
        ensure!(opened[0].length == met.again.length, "the SYN was changed");
        system.finish()?;
        Ok(())
    })
}

/// The number that a relay asks for when it gets a SYN.
fn challenge_to(system: &EndToEnd, from: SocketAddrV4) -> Result<u32> {
    system.client_wire()?.send(&tcp_syn(from, TARGET, 1460)?)?;
    let is_challenge = |frame: &Frame| {
        Segment::of(frame).is_some_and(|segment| segment.destination == from && segment.flags == ".")
    };
    let frame = system.client_capture().wait_for_frame("a challenge", PATIENCE, is_challenge)?;
    Ok(Segment::of(&frame).context("the frame just found is a segment")?.acknowledgement)
}

#[test]
fn a_relay_takes_the_proof_that_another_one_asked_for() -> Result<()> {
    privileged("a_relay_takes_the_proof_that_another_one_asked_for", || {
        let bare = || EndToEnd::start(setup(ALWAYS, Options::default()));
        let (one, other) = (bare()?, bare()?);
        let from = SocketAddrV4::new(NOBODY, 40_000);
        let number = challenge_to(&one, from)?;
        let before = other.ingress.counters()?;
        let service = other.capture_service()?;
        // The client's way changes between SYN and RST. A number that nobody asked for proves nothing.
        let wire = other.client_wire()?;
        wire.send(&tcp_reset(from, TARGET, number ^ 1)?)?;
        wire.send(&tcp_reset(SocketAddrV4::new(NOBODY, 40_001), TARGET, number)?)?;
        other.ingress.wait_for_reason(&before, "forward_encapsulated", 2)?;
        ensure!(!other.ingress.counters()?.moved_since(&before).contains_key("syn_proof"));
        wire.send(&tcp_reset(from, TARGET, number)?)?;
        other.ingress.wait_for_reason(&before, "syn_proof", 1)?;
        wire.send(&tcp_syn(from, TARGET, 1400)?)?;
        let passed = |frame: &Frame| Segment::of(frame).is_some_and(|segment| segment.flags == "S");
        let frame = service.wait_for_frame("the SYN", PATIENCE, passed)?;
        ensure!(Segment::of(&frame).is_some_and(|segment| segment.source == from), "{}", frame.view());
        // The first relay knows nothing of that, and asks for the same number again: it keeps no state.
        ensure!(challenge_to(&one, from)? == number);
        ensure!(challenge_to(&one, SocketAddrV4::new(NOBODY, 40_002))? != number);
        drop(service.finish()?);
        one.finish()?;
        other.finish()?;
        Ok(())
    })
}

fn syns(first: u64, packets: Option<u64>) -> Pour {
    Pour {
        kind: Kind::Syn,
        sources: Sources::Fresh,
        target: TARGET,
        packets_per_second: 20_000,
        first,
        packets,
    }
}

/// SYNs of the flood that arrived at a host.
fn spoofed(seen: &Seen) -> u64 {
    const TCP: u8 = 6;
    seen.packets(TCP, WEB, |source| Sources::Fresh.hold(source))
}

#[test]
fn no_spoofed_syn_reaches_the_service_and_curls_connect_meanwhile() -> Result<()> {
    privileged("no_spoofed_syn_reaches_the_service_and_curls_connect_meanwhile", || {
        const CURLS: u8 = 20;
        let system = start(ALWAYS, Options { attacker: true, ..Options::default() })?;
        let clients = system.add_clients(CURLS)?;
        let service = Witness::start(system.service()?, SERVICE_DEVICE)?;
        let before = system.ingress.counters()?;
        let flood = system.flood(syns(0, None))?;
        system.ingress.wait_for_reason(&before, "syn_challenged", 5_000)?;
        let started = Instant::now();
        let mut slowest = 0.0_f64;
        for client in clients {
            slowest = slowest.max(fetch_from(&system, client)?.time_connect);
        }
        let took = started.elapsed();
        let sent = flood.finish()?.packets;
        system.ingress.wait_for_reason(&before, "syn_challenged", sent)?;
        let moved = system.ingress.counters()?.moved_since(&before);
        let reached = spoofed(&service.finish()?);
        println!(
            "{sent} spoofed SYNs: {} challenges, {reached} reached the service; meanwhile {CURLS} new clients connected in \
             {took:.1?}, the slowest after {:.0} ms",
            moved["syn_challenged"],
            1e3 * slowest
        );
        ensure!(reached == 0, "{reached} spoofed SYNs reached the service");
        ensure!(moved["syn_proof"] == u64::from(CURLS), "{moved:?}");
        // A lost challenge, on a busy machine, costs a client a second.
        ensure!(slowest < 5.0, "a client waited {slowest} s for its connection");
        system.finish()?;
        Ok(())
    })
}

#[test]
fn challenges_begin_above_the_threshold_and_end_after_the_flood() -> Result<()> {
    privileged("challenges_begin_above_the_threshold_and_end_after_the_flood", || {
        const ABOVE: u64 = 100;
        const FLOOD: u64 = 20_000;
        let options = Options { attacker: true, ..Options::default() };
        let system = start(&format!("syn = \"above\"\nabove = {ABOVE}"), options)?;
        let [first, second, third] = <[Ipv4Addr; 3]>::try_from(system.add_clients(3)?)
            .map_err(|clients| anyhow!("{clients:?} are not three clients"))?;
        let peace = system.ingress.counters()?;
        fetch_from(&system, first)?;
        ensure!(!system.ingress.counters()?.moved_since(&peace).contains_key("syn_challenged"), "in peace");

        let service = Witness::start(system.service()?, SERVICE_DEVICE)?;
        let sent = system.flood(syns(0, Some(FLOOD)))?.run_out()?.packets;
        system.ingress.wait_for_reason(&peace, "syn_challenged", FLOOD * 9 / 10)?;
        let flooded = system.ingress.counters()?.moved_since(&peace);
        let passed = spoofed(&service.finish()?);
        println!("of {sent} SYNs, {passed} reached the service");
        // As many as the threshold in a tick of 1.024 s, and the flood may begin at the end of one.
        let allowed = 2 * (ABOVE * 1024 / 1000 + 2);
        ensure!(
            (ABOVE..=allowed).contains(&passed),
            "{passed} spoofed SYNs passed, of {allowed}: {flooded:?}"
        );
        ensure!(flooded["syn_challenged"] == FLOOD - passed, "{flooded:?}");
        fetch_from(&system, second)?;
        let under = system.ingress.counters()?.moved_since(&peace);
        ensure!(under["syn_proof"] == 1, "a new client under the flood proves itself: {under:?}");

        // Ten ticks after the last tick above the threshold.
        let since = Instant::now();
        let mut port = 50_000;
        wait_until("the end of the challenges", Duration::from_secs(30), || {
            port += 1;
            let now = system.ingress.counters()?;
            system.client_wire()?.send(&tcp_syn(SocketAddrV4::new(NOBODY, port), TARGET, 1460)?)?;
            system.ingress.wait_for_reason(&now, "forward_encapsulated", 1).map(|()| true).or(Ok(false))
        })?;
        println!("challenges ended {:.1} s after the flood", since.elapsed().as_secs_f64());
        let after = system.ingress.counters()?;
        fetch_from(&system, third)?;
        ensure!(
            !system.ingress.counters()?.moved_since(&after).contains_key("syn_challenged"),
            "in peace again"
        );
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_client_whose_reset_is_lost_stays_unproven() -> Result<()> {
    privileged("a_client_whose_reset_is_lost_stays_unproven", || {
        let system = start(ALWAYS, Options::default())?;
        let service = system.capture_service()?;
        let before = system.ingress.counters()?;
        firewall(
            system.client()?,
            "add table ip lossy; add chain ip lossy out { type filter hook output priority 0; }; \
             add rule ip lossy out tcp flags & rst == rst drop",
        )?;
        ensure!(fetch_briefly(&system).is_err(), "a client that proved nothing got a page");
        let moved = system.ingress.counters()?.moved_since(&before);
        ensure!(moved["syn_challenged"] >= 2 && !moved.contains_key("syn_proof"), "{moved:?}");
        ensure!(service.count(|frame| Segment::of(frame).is_some()) == 0, "the service saw a segment");
        firewall(system.client()?, "delete table ip lossy")?;
        fetch(&system)?;
        drop(service.finish()?);
        system.finish()?;
        Ok(())
    })
}

/// nftables' rules for a host that forwards nothing to `device` and takes nothing from it but what belongs to a connection.
fn strict(device: &str) -> String {
    format!(
        "add table ip strict; \
         add chain ip strict in {{ type filter hook input priority 0; }}; \
         add chain ip strict on {{ type filter hook forward priority 0; }}; \
         add chain ip strict out {{ type filter hook output priority 0; }}; \
         add rule ip strict in iifname {device} ct state != {{ established, related }} drop; \
         add rule ip strict on ct state invalid drop; \
         add rule ip strict on iifname {device} ct state != {{ established, related }} drop; \
         add rule ip strict out ct state invalid drop"
    )
}

/// Connects through challenges, several, for a firewall judges by their numbers; and says how long that took.
fn connects_behind(rules: &str, options: Options, place: Place) -> Result<()> {
    const TIMES: u8 = 8;
    let mut system = start(ALWAYS, options)?;
    firewall(system.topology().at(place)?, rules)?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let before = system.ingress.counters()?;
        times.push(1e3 * fetch(&system)?.time_connect);
        let moved = system.ingress.counters()?.moved_since(&before);
        ensure!((moved.get("syn_challenged"), moved.get("syn_proof")) == (Some(&1), Some(&1)), "{moved:?}");
        // It forgets its clients.
        system.ingress.unload()?;
        system.ingress.start()?;
    }
    println!("connected after {times:.0?} ms");
    // Far less than the second after which a SYN without an answer is sent again.
    ensure!(times.iter().all(|time| *time < 500.0), "{times:?}");
    system.finish()?;
    Ok(())
}

#[test]
fn a_client_behind_a_strict_firewall_connects() -> Result<()> {
    privileged("a_client_behind_a_strict_firewall_connects", || {
        connects_behind(&strict("uplink"), Options::default(), Place::Client)
    })
}

#[test]
fn a_client_behind_a_router_that_masquerades_connects() -> Result<()> {
    privileged("a_client_behind_a_router_that_masquerades_connects", || {
        let masquerade = "add table ip home; add chain ip home out { type nat hook postrouting priority 100; }; \
                          add rule ip home out oifname relays masquerade";
        let options = Options { client_router: true, ..Options::default() };
        connects_behind(masquerade, options.clone(), Place::ClientRouter)?;
        connects_behind(&format!("{masquerade}; {}", strict("relays")), options, Place::ClientRouter)
    })
}
