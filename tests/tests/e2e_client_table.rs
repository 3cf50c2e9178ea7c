//! A client table that ever new sources fill again and again: who has proved itself keeps its place and its traffic, and who comes
//! honestly gets in.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use relay_tests::accounts::Accounts;
use relay_tests::capture::Witness;
use relay_tests::end_to_end::ECHO;
use relay_tests::relay_config::Service;
use relay_tests::topology::Options;
use relay_tests::topology::addresses::VIP;
use relay_tests::topology::plan::SERVICE_DEVICE;
use relay_tests::traffic::flood::{Flood, Kind, Pour, Sources};
use relay_tests::traffic::ledger::Ledger;
use relay_tests::traffic::tcp::{Chat, Talk};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};

const CHAT: u16 = 7100;
const TCP: u8 = 6;
/// So many that hardly a set of the table gets more of them than it has places.
const ENTRIES: u32 = 4096;
const KNOWN: usize = 200;
/// Of these so many stay silent during the flood.
const SILENT: usize = 100;
const NEWCOMERS: usize = 20;
const FLOOD: u32 = 15_000;
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon an honest newcomer must get through.
const SOON: Duration = Duration::from_secs(2);
const ROUNDS: u32 = 12;

fn chat_name() -> String {
    format!("tcp {VIP}:{CHAT}")
}

fn build(asks: Vec<(Option<&'static str>, &'static str, String)>) -> Result<(EndToEnd, Chat)> {
    let setup = Setup {
        options: Options { attacker: true, ..Options::default() },
        more_services: vec![Service::new("chat", "tcp", CHAT, CHAT)],
        client_entries: ENTRIES,
        asks,
        ..Setup::default()
    };
    let system = EndToEnd::start(setup)?;
    let listen = SocketAddrV4::new(system.service_address(), CHAT);
    let chat = Chat::start(system.service()?, listen)?;
    Ok((system, chat))
}

fn flood(system: &EndToEnd, kind: Kind, port: u16) -> Result<Flood> {
    system.flood(Pour {
        kind,
        sources: Sources::FreshTwice,
        target: SocketAddrV4::new(VIP, port),
        packets_per_second: FLOOD,
        first: 0,
        packets: None,
    })
}

fn connect(system: &EndToEnd, from: Ipv4Addr) -> Result<Talk> {
    Talk::connect(system.client()?, from, SocketAddrV4::new(VIP, CHAT), PATIENCE)
}

/// Everything that is to hold while and after ever new sources flood: `kind` to `port`.
fn holds_out(system: EndToEnd, kind: Kind, port: u16) -> Result<()> {
    let clients = system.add_clients(u8::try_from(KNOWN + NEWCOMERS)?)?;
    let (known, newcomers) = clients.split_at(KNOWN);
    let mut talks = known.iter().map(|client| connect(&system, *client)).collect::<Result<Vec<_>>>()?;
    talks.iter_mut().try_for_each(Talk::exchange)?;
    wait_until("all clients to be verified", PATIENCE, || {
        let accounts = system.ingress.accounts()?;
        Ok(verified(&accounts, known) == KNOWN)
    })?;
    let before = system.ingress.accounts()?;

    let flood = flood(&system, kind, port)?;
    wait_until("the flood to fill the table", Duration::from_secs(30), || {
        let places = system.ingress.accounts()?.places;
        Ok(places.used_places * 1000 >= places.capacity_places * 995)
    })
    .with_context(|| {
        format!(
            "{:?} after {} packets",
            system.ingress.accounts().map(|accounts| accounts.places),
            flood.sent()
        )
    })?;
    for _ in 0..ROUNDS {
        talks[SILENT..].iter_mut().try_for_each(Talk::exchange)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut slowest = Duration::ZERO;
    for newcomer in newcomers {
        let start = Instant::now();
        connect(&system, *newcomer)?.exchange().with_context(|| format!("{newcomer} is new"))?;
        slowest = slowest.max(start.elapsed());
    }
    let poured = flood.finish()?;
    println!("{poured:?}; the slowest newcomer took {slowest:?}");
    ensure!(slowest <= SOON, "a newcomer took {slowest:?}");
    // Who stayed silent is still there too.
    talks.iter_mut().try_for_each(Talk::exchange)?;

    let after = system.ingress.accounts()?;
    ensure!(
        verified(&after, known) == KNOWN,
        "of {KNOWN} verified clients {} are left",
        verified(&after, known)
    );
    let ledger = system.client_capture().peek(|frames| Ledger::of(frames, VIP));
    let (mut sent, mut lost) = (0, 0);
    for client in known {
        let account =
            |accounts: &Accounts| accounts.of(*client, &chat_name()).cloned().context("verified above");
        let (then, now) = (account(&before)?, account(&after)?);
        ensure!(
            now.first_seen == then.first_seen && now.counts.continues(&then.counts),
            "{then:?} became {now:?}"
        );
        let wire = ledger.client(*client, TCP, CHAT);
        sent += wire.sent_packets;
        lost += wire.sent_packets.saturating_sub(now.counts.forward_packets);
    }
    println!("of {sent} packets {lost} were lost");
    ensure!(lost * 1000 <= sent, "of {sent} packets of verified clients {lost} were lost");
    ensure!(poured.packets > 4 * u64::from(ENTRIES), "{poured:?} is no flood");
    system.finish()?;
    Ok(())
}

fn verified(accounts: &Accounts, clients: &[Ipv4Addr]) -> usize {
    let is_verified =
        |client: &&Ipv4Addr| accounts.of(**client, &chat_name()).is_some_and(|client| client.verified);
    clients.iter().filter(is_verified).count()
}

#[test]
fn the_verified_keep_their_places_when_another_service_is_flooded() -> Result<()> {
    privileged("the_verified_keep_their_places_when_another_service_is_flooded", || {
        let asks = vec![
            (Some("echo"), "limits", "total_packets = 500".to_owned()),
            (Some("chat"), "limits", "client_packets = 200".to_owned()),
        ];
        let (system, _chat) = build(asks)?;
        holds_out(system, Kind::Udp(30), ECHO)
    })
}

/// Each of them looks like a packet of a connection, and none of them opens one.
#[test]
fn the_verified_keep_their_places_when_their_service_is_flooded() -> Result<()> {
    privileged("the_verified_keep_their_places_when_their_service_is_flooded", || {
        let (mut system, _chat) = build(vec![(Some("chat"), "limits", "client_packets = 200".to_owned())])?;
        // All of the flood goes to the service and is answered: more than the rings of this machine hold at times.
        system.may_lose = true;
        holds_out(system, Kind::Ack, CHAT)
    })
}

/// Nobody is known when the flood begins: everybody has to prove to receive what is sent to it.
#[test]
fn newcomers_prove_themselves_in_a_flood_of_syns() -> Result<()> {
    privileged("newcomers_prove_themselves_in_a_flood_of_syns", || {
        let (system, _chat) = build(vec![(Some("chat"), "proof", "syn = \"always\"".to_owned())])?;
        let newcomers = system.add_clients(u8::try_from(NEWCOMERS)?)?;
        let witness = Witness::start(system.service()?, SERVICE_DEVICE)?;
        let before = system.ingress.counters()?;
        let flood = flood(&system, Kind::Syn, CHAT)?;
        flood.wait_for(u64::from(FLOOD))?;
        let comes = |newcomer: &Ipv4Addr| {
            let start = Instant::now();
            connect(&system, *newcomer)?.exchange().with_context(|| format!("{newcomer} is new"))?;
            Ok::<_, anyhow::Error>(start.elapsed())
        };
        let times = std::thread::scope(|scope| {
            let threads: Vec<_> = newcomers.iter().map(|newcomer| scope.spawn(|| comes(newcomer))).collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_panic| anyhow!("a newcomer panicked"))?);
            joined.collect::<Result<Vec<Duration>>>()
        })?;
        let poured = flood.finish()?;
        println!("{poured:?}; newcomers took {times:?}");
        ensure!(times.iter().all(|time| *time <= SOON), "newcomers took {times:?}");
        let moved = system.ingress.counters()?.moved_since(&before);
        let answered = moved.get("syn_challenged").copied().unwrap_or(0);
        ensure!(answered == poured.packets + NEWCOMERS as u64, "{answered} challenges for {poured:?}");
        let forged = witness.finish()?.packets(TCP, CHAT, |source| Sources::FreshTwice.hold(source));
        ensure!(forged == 0, "{forged} forged SYNs arrived");
        ensure!(verified(&system.ingress.accounts()?, &newcomers) == NEWCOMERS);
        system.finish()?;
        Ok(())
    })
}
