//! Floods, and what everybody else notices of them: nothing.
//!
//! The tunnel is made a narrow link, which a flood that got through would fill: so that what is measured is what the relay lets
//! through, and not how busy this machine is.

use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::capture::{Frame, Witness};
use relay_tests::end_to_end::{ECHO, WEB};
use relay_tests::topology::addresses::{ATTACKER, VIP};
use relay_tests::topology::plan::SERVICE_DEVICE;
use relay_tests::topology::{Options, Place};
use relay_tests::traffic::flood::{Flood, Kind, Pour, Poured, Sources};
use relay_tests::traffic::visitors::{Goodput, Visitors, Visits};
use relay_tests::{EndToEnd, Setup, privileged};

const UDP: u8 = 17;
const TCP: u8 = 6;

/// What the tunnel carries towards the service: some ten times what the visitors send, and a third of a flood.
const FORWARD_BITS_PER_SECOND: u64 = 6_000_000;
/// What it carries back: the download takes what there is.
const RETURN_BITS_PER_SECOND: u64 = 8_000_000;
const FLOOD: u32 = 15_000;
/// Spoofed sources, in 40 prefixes.
const SPOOFED_SOURCES: u32 = 10_000;
const SPOOFED_PREFIXES: f64 = 40.0;

const ROUNDS: usize = 3;
const SETTLE: Duration = Duration::from_millis(300);
/// Whole seconds: each visitor asks once a second.
const WINDOW: Duration = Duration::from_secs(2);
/// What must be left of the undisturbed run.
const LEFT: f64 = 0.95;

/// The default, in seconds.
const BURST: f64 = 0.2;
const CLIENT_PACKETS: f64 = 200.0;
const PREFIX_PACKETS: f64 = 60.0;
const TOTAL_PACKETS: f64 = 3_000.0;
const CLIENT_CONNECTIONS: f64 = 100.0;

const ALL: [Sources; 3] = [Sources::One(ATTACKER), Sources::Spoofed(SPOOFED_SOURCES), Sources::Fresh];

/// A system with visitors and floods that take turns.
struct Scene {
    system: EndToEnd,
    kind: Kind,
    port: u16,
    /// Number of the next flood's first packet.
    next: u64,
    _silent: UdpSocket,
}

/// What a flood was, and what of it arrived at the service.
struct Flooded {
    poured: Poured,
    arrived: u64,
}

impl Scene {
    /// With limits and proofs, or without.
    fn build(kind: Kind, port: u16, guarded: bool) -> Result<Self> {
        let options = Options { attacker: true, watched_tunnel: true, ..Options::default() };
        let udp = format!(
            "client_packets = {CLIENT_PACKETS}\nprefix_packets = {PREFIX_PACKETS}\n\
             total_packets = {TOTAL_PACKETS}"
        );
        let asks = vec![
            (Some("echo"), "limits", udp),
            (Some("web"), "limits", format!("client_connections = {CLIENT_CONNECTIONS}")),
            (Some("web"), "proof", "syn = \"always\"".to_owned()),
        ];
        let asks = if guarded { asks } else { Vec::new() };
        let mut system = EndToEnd::start(Setup { options, web: true, asks, ..Setup::default() })?;
        system.may_lose = true;
        // So much as the queue holds is on its way at most: the download loses nothing to itself.
        system.client()?.sysctl("net/ipv4/tcp_rmem", "4096 65536 98304")?;
        system.topology().narrow_tunnel(Place::Egress, FORWARD_BITS_PER_SECOND)?;
        system.topology().narrow_tunnel(Place::Ingress, RETURN_BITS_PER_SECOND)?;
        // A service that says nothing to what is no request.
        let listen = SocketAddrV4::new(system.service_address(), ECHO);
        let silent = system.service()?.enter(|| UdpSocket::bind(listen).context("open a UDP socket"))?;
        Ok(Self { system, kind, port, next: 0, _silent: silent })
    }

    fn visitors(&self) -> Result<Visitors> {
        let directory = self.system.topology().directory();
        self.system.browse(|browser, _| Visitors::start(browser, directory, Visits::default()))
    }

    fn flood(&mut self, sources: Sources) -> Result<Flood> {
        self.system.flood(Pour {
            kind: self.kind,
            sources,
            target: SocketAddrV4::new(VIP, self.port),
            packets_per_second: FLOOD,
            first: self.next,
            packets: None,
        })
    }

    /// Floods while `work` is done.
    fn during<T>(&mut self, sources: Sources, work: impl FnOnce(&Self) -> Result<T>) -> Result<(T, Flooded)> {
        let witness = Witness::start(self.system.service()?, SERVICE_DEVICE)?;
        let flood = self.flood(sources)?;
        std::thread::sleep(SETTLE);
        let done = work(self)?;
        let poured = flood.finish()?;
        self.next += poured.packets;
        // What is on its way yet.
        std::thread::sleep(Duration::from_millis(100));
        let protocol = if self.port == WEB { TCP } else { UDP };
        let arrived = witness.finish()?.packets(protocol, self.port, |source| sources.hold(source));
        Ok((done, Flooded { poured, arrived }))
    }
}

/// What the visitors get in one window.
fn window(visitors: &Visitors) -> Result<Goodput> {
    let before = visitors.got()?;
    std::thread::sleep(WINDOW);
    Ok(visitors.got()?.since(&before))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Floods from all kinds of sources in turn; the visitors must not notice, and no more than `allowed` may arrive of a flood of so
/// many seconds.
fn unnoticed(kind: Kind, port: u16, allowed: impl Fn(Sources, f64) -> f64) -> Result<()> {
    let mut scene = Scene::build(kind, port, true)?;
    let mut visitors = scene.visitors()?;
    let mut quiet = Vec::new();
    let mut loud = vec![Vec::new(); ALL.len()];
    let mut usual = 0.0_f64;
    for _ in 0..ROUNDS {
        visitors.must_be_unbroken()?;
        std::thread::sleep(SETTLE);
        let before = scene.system.ingress.counters()?;
        quiet.push(window(&visitors)?);
        let moved = scene.system.ingress.counters()?.packets() - before.packets();
        usual = usual.max(moved as f64 / WINDOW.as_secs_f64());
        for (windows, sources) in loud.iter_mut().zip(ALL) {
            let (goodput, flooded) = scene.during(sources, |_| window(&visitors))?;
            windows.push(goodput);
            let Flooded { poured, arrived } = flooded;
            let most = allowed(sources, poured.seconds);
            println!("{sources:?}: {poured:?}, {arrived} of {most:.0} arrived, {goodput:?}");
            ensure!(
                arrived as f64 <= most * 1.03 + 2.0,
                "{arrived} packets of {sources:?} arrived, {most} may"
            );
            ensure!(
                poured.packets_per_second() >= 10.0 * usual,
                "{} packets a second are no flood where {usual} are usual",
                poured.packets_per_second()
            );
        }
    }
    let [bytes, pages]: [fn(&Goodput) -> f64; 2] = [|goodput| goodput.bytes, |goodput| goodput.pages];
    for (what, of) in [("bytes", bytes), ("pages", pages)] {
        let undisturbed = median(quiet.iter().map(of).collect());
        println!("undisturbed: {undisturbed:.1} {what} a second; usual: {usual:.0} packets a second");
        for (windows, sources) in loud.iter().zip(ALL) {
            let left = median(windows.iter().map(of).collect()) / undisturbed;
            println!("{sources:?}: {left:.3} of the {what}");
            ensure!(
                left >= LEFT,
                "of {undisturbed} {what} a second, {left} were left in a flood from {sources:?}"
            );
        }
    }
    visitors.must_be_unbroken()?;
    let resets = scene.system.client()?.kernel_counter("Tcp", "EstabResets")?;
    drop(visitors);
    let verdict = scene.system.finish()?;
    let refused = verdict.client_capture.frames.iter().filter(|frame| is_reset(frame)).count();
    ensure!(
        (resets, refused) == (0, 0),
        "{resets} connections were reset, {refused} resets came to the client"
    );
    Ok(())
}

/// Whether the client got a TCP RST.
fn is_reset(frame: &Frame) -> bool {
    const PROTOCOL: usize = 14 + 9;
    const FLAGS: usize = 14 + 20 + 13;
    const RST: u8 = 4;
    !frame.outgoing
        && frame.bytes.get(12..15) == Some(&[8, 0, 0x45])
        && frame.bytes.get(PROTOCOL) == Some(&TCP)
        && frame.bytes.get(FLAGS).is_some_and(|flags| flags & RST != 0)
}

#[test]
fn nobody_notices_a_udp_flood() -> Result<()> {
    privileged("nobody_notices_a_udp_flood", || {
        unnoticed(Kind::Udp(100), ECHO, |sources, seconds| match sources {
            Sources::One(_) => CLIENT_PACKETS.min(PREFIX_PACKETS) * (seconds + BURST),
            Sources::Spoofed(_) => SPOOFED_PREFIXES * PREFIX_PACKETS * (seconds + BURST),
            Sources::Fresh | Sources::FreshTwice => TOTAL_PACKETS * (seconds + BURST),
        })
    })
}

#[test]
fn nobody_notices_a_syn_flood() -> Result<()> {
    privileged("nobody_notices_a_syn_flood", || {
        unnoticed(Kind::Syn, WEB, |sources, seconds| match sources {
            // The attacker proves itself, for its kernel refuses what it did not ask for; and does so again when it is answered.
            Sources::One(_) => 2.0 * CLIENT_CONNECTIONS * (seconds + BURST),
            Sources::Spoofed(_) | Sources::Fresh | Sources::FreshTwice => 0.0,
        })
    })
}

/// Without limits the same flood takes the link from everybody else: so the tests above can fail.
#[test]
fn a_flood_that_nothing_limits_is_noticed() -> Result<()> {
    privileged("a_flood_that_nothing_limits_is_noticed", || {
        for (kind, port) in [(Kind::Udp(100), ECHO), (Kind::Syn, WEB)] {
            let mut scene = Scene::build(kind, port, false)?;
            let visitors = scene.visitors()?;
            let quiet = window(&visitors)?;
            let (goodput, flooded) = scene.during(Sources::Fresh, |_| window(&visitors))?;
            println!("{quiet:?} became {goodput:?} under {:?}", flooded.poured);
            let left = (goodput.pages / quiet.pages).min(goodput.bytes / quiet.bytes);
            ensure!(left < 0.8, "{left} was left");
            drop(visitors);
            scene.system.finish()?;
        }
        Ok(())
    })
}

#[test]
fn every_packet_of_a_flood_reaches_the_relay() -> Result<()> {
    privileged("every_packet_of_a_flood_reaches_the_relay", || {
        const PACKETS: u64 = 10_000;
        let options = Options { attacker: true, ..Options::default() };
        let mut system = EndToEnd::start(Setup { options, ..Setup::default() })?;
        // They are not limited: the link behind the relay may not hold them all.
        system.may_lose = true;
        for sources in ALL.into_iter().chain([Sources::FreshTwice]) {
            for (kind, port) in [(Kind::Udp(20), ECHO), (Kind::Syn, WEB), (Kind::Ack, WEB)] {
                let before = system.ingress.counters()?;
                let target = SocketAddrV4::new(VIP, port);
                let pour = Pour {
                    kind,
                    sources,
                    target,
                    packets_per_second: 100_000,
                    first: 0,
                    packets: Some(PACKETS),
                };
                let poured = system.flood(pour)?.run_out()?;
                system.ingress.wait_for_reason(&before, "forward_encapsulated", PACKETS)?;
                let came = system.ingress.counters()?.moved_since(&before)["forward_encapsulated"];
                println!("{sources:?} {kind:?}: {:.0} packets a second", poured.packets_per_second());
                ensure!((poured.packets, came) == (PACKETS, PACKETS), "{came} of {} came", poured.packets);
            }
        }
        system.finish()?;
        Ok(())
    })
}
