//! Every client's account is right to the packet, judged by what was on its cable; nobody is verified by what it alone sends; and
//! the accounts outlive the controller.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use relay_tests::accounts::{Accounts, Client};
use relay_tests::capture::{Capture, Witness};
use relay_tests::end_to_end::{ECHO, WEB};
use relay_tests::packet_view::Transport;
use relay_tests::relay_config::Service;
use relay_tests::topology::addresses::{CLIENT, VIP};
use relay_tests::topology::plan::{ATTACKER_DEVICE, SERVICE_DEVICE};
use relay_tests::topology::{Namespace, Options, Place};
use relay_tests::traffic::flood::{Kind, Pour, Sources};
use relay_tests::traffic::ledger::Ledger;
use relay_tests::traffic::packets::{tcp, udp};
use relay_tests::traffic::tcp::{Chat, Talk};
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};

const UDP: u8 = 17;
const TCP: u8 = 6;
const CHAT: u16 = 7100;
const PATIENCE: Duration = Duration::from_secs(3);
const LIMIT: u64 = 100;
const TICK: Duration = Duration::from_millis(1200);

fn name(protocol: u8, port: u16) -> String {
    format!("{} {VIP}:{port}", if protocol == TCP { "tcp" } else { "udp" })
}

fn setup() -> Setup {
    Setup {
        options: Options { attacker: true, ..Options::default() },
        web: true,
        asks: vec![(Some("echo"), "limits", format!("client_packets = {LIMIT}"))],
        more_services: vec![Service::new("chat", "tcp", CHAT, CHAT)],
        ..Setup::default()
    }
}

fn chat(system: &EndToEnd) -> Result<Chat> {
    Chat::start(system.service()?, SocketAddrV4::new(system.service_address(), CHAT))
}

/// Sends so many datagrams at once from an address of the client, and takes what answers come within half a second.
fn ask_at_once(client: &Namespace, from: Ipv4Addr, count: u64) -> Result<u64> {
    client.enter(|| {
        let socket =
            UdpSocket::bind(SocketAddrV4::new(from, 0)).with_context(|| format!("bind to {from}"))?;
        socket.connect(SocketAddrV4::new(VIP, ECHO)).context("connect a UDP socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(500))).context("set a time limit")?;
        let mut answers = 0;
        for number in 0..count {
            socket.send(&number.to_be_bytes()).context("send a datagram")?;
        }
        let mut room = [0; 64];
        while answers < count && socket.recv(&mut room).is_ok() {
            answers += 1;
        }
        Ok(answers)
    })
}

fn client(accounts: &Accounts, address: Ipv4Addr, service: &str) -> Result<Client> {
    accounts.of(address, service).cloned().with_context(|| format!("{address} of {service} has an account"))
}

#[test]
fn every_client_is_accounted_to_the_packet() -> Result<()> {
    privileged("every_client_is_accounted_to_the_packet", || {
        let start = SystemTime::now();
        let mut setup = setup();
        setup.ingress_extra = "[[block]]\nprefix = \"203.0.113.7\"\n".to_owned();
        let mut system = EndToEnd::start(setup)?;
        system.client_forges = true;
        let attacks = Capture::start("attacker", system.topology().at(Place::Attacker)?, ATTACKER_DEVICE)?;
        let clients = system.add_clients(8)?;
        let (echo, _chat) = (system.start_echo()?, chat(&system)?);
        let host = system.client()?;
        let [polite, greedy, filtered, malformed, short, talker, blocked, silent] = clients[..] else {
            anyhow::bail!("there are eight clients more");
        };

        let answers = ask_at_once(host, polite, 10)?;
        ensure!(answers == 10, "{answers} of 10 answers came");
        let answers = ask_at_once(host, greedy, 300)?;
        ensure!(
            (20..200).contains(&answers),
            "of 300 packets at a limit of {LIMIT} a second {answers} passed"
        );
        ensure!(ask_at_once(host, blocked, 30)? == 0, "a blocked client got answers");

        let wire = system.client_wire()?;
        let target = SocketAddrV4::new(VIP, ECHO);
        for port in [40_000, 19, 19, 19, 0, 0] {
            wire.send(&udp(SocketAddrV4::new(filtered, port), target, 64, b"x")?)?;
        }
        for flags in ["", "SF", "SR", "FPU"] {
            wire.send(&tcp(SocketAddrV4::new(filtered, 4000), SocketAddrV4::new(VIP, WEB), flags, 1, &[])?)?;
        }
        for _ in 0..6 {
            // A UDP length beyond the packet: nobody's packet, for its ports may mean nothing.
            let mut packet = udp(SocketAddrV4::new(malformed, 40_000), target, 64, b"x")?;
            packet[24..26].copy_from_slice(&[1, 0]);
            wire.send(&packet)?;
        }
        for _ in 0..3 {
            wire.send(&udp(SocketAddrV4::new(short, 40_000), target, 1, b"x")?)?;
        }
        let to_chat = SocketAddrV4::new(VIP, CHAT);
        for _ in 0..3 {
            let mut talk = Talk::connect(host, talker, to_chat, PATIENCE)?;
            (0..20).try_for_each(|_| talk.exchange())?;
        }
        let copy = system.topology().directory().join("copy");
        system.browse(|browser, _| browser.fetch("1000000", &copy))?;
        let floods = [(Kind::Udp(30), ECHO), (Kind::Syn, CHAT)];
        for (kind, port) in floods {
            let target = SocketAddrV4::new(VIP, port);
            let sources = Sources::Spoofed(50);
            let pour = Pour { kind, sources, target, packets_per_second: 2000, first: 0, packets: Some(500) };
            system.flood(pour)?.run_out()?;
        }
        // What answers the last of all that.
        std::thread::sleep(Duration::from_millis(500));

        let mut accounts = system.ingress.accounts()?;
        wait_until("the accounts to settle", PATIENCE, || {
            accounts = system.ingress.accounts()?;
            Ok(accounts.faults(&system.ingress.counters()?).is_empty())
        })
        .with_context(|| format!("{accounts:#?}"))?;

        let attacks = attacks.finish()?;
        attacks.must_be_complete()?;
        let frames = system.client_capture().peek(<[_]>::to_vec).into_iter().chain(attacks.frames);
        let ledger = Ledger::of(&frames.collect::<Vec<_>>(), VIP);
        let mut nobody = BTreeMap::<String, u64>::new();
        for (address, protocol, port, wire) in ledger.iter().filter(|(address, ..)| *address != malformed) {
            let service = name(protocol, port);
            let Some(account) = accounts.of(address, &service) else {
                // Nothing of it was forwarded: it never got a place.
                *nobody.entry(service).or_default() += wire.sent_packets;
                continue;
            };
            let counts = &account.counts;
            let all = format!("{address} of {service}: {wire:?} on the cable, {counts:?}");
            ensure!(counts.received() == wire.sent_packets, "{all}");
            ensure!(
                counts.drops.iter().map(|drops| drops.packets).sum::<u64>() == counts.drop_packets,
                "{all}"
            );
            if counts.drop_packets == 0 {
                ensure!(counts.forward_bytes == wire.sent_bytes, "{all}");
                ensure!(counts.connections == wire.connections, "{all}");
            }
            ensure!(
                (counts.return_packets, counts.return_bytes) == (wire.got_packets, wire.got_bytes),
                "{all}"
            );
            // To the tick, which is about a second.
            let (first, last) = (account.first_seen + TICK, account.last_seen + TICK);
            ensure!(start <= first && first <= last && last <= SystemTime::now() + 2 * TICK, "{account:?}");
        }
        for service in &accounts.services {
            let sent = nobody.remove(&service.service).unwrap_or(0);
            ensure!(
                service.gone.received() == sent,
                "{sent} packets of clients without a place, {service:?}"
            );
        }
        let of = |address, protocol, port| client(&accounts, address, &name(protocol, port));
        let greedy = of(greedy, UDP, ECHO)?;
        ensure!(
            greedy.counts.forward_packets == answers
                && greedy.counts.dropped_as("limit_packets") == 300 - answers,
            "{greedy:?}"
        );
        let gone = |protocol, port| Ok::<_, anyhow::Error>(&accounts.service(&name(protocol, port))?.gone);
        ensure!(
            accounts.of(blocked, &name(UDP, ECHO)).is_none() && gone(UDP, ECHO)?.dropped_as("blocked") == 30
        );
        ensure!(of(filtered, UDP, ECHO)?.counts.dropped_as("filtered") == 5);
        ensure!(gone(TCP, WEB)?.dropped_as("filtered") == 4);
        ensure!(of(short, UDP, ECHO)?.counts.dropped_as("other") == 3);
        ensure!(accounts.of(malformed, &name(UDP, ECHO)).is_none(), "a malformed packet is nobody's");
        ensure!(
            accounts.clients.iter().all(|client| client.address != silent),
            "a client that sent nothing has an account"
        );
        ensure!(of(talker, TCP, CHAT)?.counts.connections == 3);
        let mut verified: Vec<_> = accounts
            .clients
            .iter()
            .filter(|client| client.verified)
            .map(|client| (client.address, client.service.clone()))
            .collect();
        verified.sort();
        ensure!(verified == [(CLIENT, name(TCP, WEB)), (talker, name(TCP, CHAT))], "{verified:?}");
        drop(echo);
        system.finish()?;
        Ok(())
    })
}

/// A host that does not receive at its address has the service answer: with a SYN-ACK, and with an ACK for a segment outside the
/// window (RFC 9293 section 3.10.7.4), which even a connection that is not open yet gets.
#[test]
fn whoever_only_sends_is_never_verified() -> Result<()> {
    privileged("whoever_only_sends_is_never_verified", || {
        let mut system = EndToEnd::start(setup())?;
        system.client_forges = true;
        let (_echo, _chat) = (system.start_echo()?, chat(&system)?);
        let attacks = Capture::start("attacker", system.topology().at(Place::Attacker)?, ATTACKER_DEVICE)?;
        let wire = system.attacker_wire()?;
        let forged = Ipv4Addr::new(198, 18, 1, 1);
        let (from, to) = (SocketAddrV4::new(forged, 40_000), SocketAddrV4::new(VIP, CHAT));
        wire.send(&tcp(from, to, "S", 1000, &[])?)?;
        let answered = |wanted: &str| {
            attacks.wait_for_frame(wanted, PATIENCE, |frame| {
                let view = frame.view();
                view.ipv4().filter(|packet| packet.destination == forged).is_some_and(
                    |packet| matches!(&packet.transport, Transport::Tcp { flags, .. } if flags == wanted),
                )
            })
        };
        answered("S.")?;
        for sequence in [2_000_000, 500] {
            for flags in ["A", "PA", "FA", "S"] {
                wire.send(&tcp(from, to, flags, sequence, b"abc")?)?;
            }
        }
        wire.send(&tcp(SocketAddrV4::new(forged, 40_001), to, "A", 1, b"abc")?)?;
        wire.send(&udp(SocketAddrV4::new(forged, 40_002), SocketAddrV4::new(VIP, ECHO), 64, b"abc")?)?;
        // The bare ACK, which went to the forged address through the relay.
        answered(".")?;
        std::thread::sleep(Duration::from_millis(500));
        let accounts = system.ingress.accounts()?;
        let verified: Vec<_> = accounts.clients.iter().filter(|client| client.verified).collect();
        ensure!(verified.is_empty(), "{verified:?}");
        // One that does receive is.
        let mut talk = Talk::connect(system.client()?, CLIENT, to, PATIENCE)?;
        talk.exchange()?;
        wait_until("a real client to be verified", PATIENCE, || {
            Ok(client(&system.ingress.accounts()?, CLIENT, &name(TCP, CHAT))?.verified)
        })?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn accounts_and_limits_outlive_the_controller() -> Result<()> {
    privileged("accounts_and_limits_outlive_the_controller", || {
        let mut system = EndToEnd::start(setup())?;
        let clients = system.add_clients(2)?;
        let echo = system.start_echo()?;
        let stream = Stream::start(
            system.client()?,
            system.echo_target(),
            Pace { packets_per_second: 50, ..Pace::default() },
        )?;
        let mut before = system.ingress.accounts()?;
        let mut must_go_on = |system: &EndToEnd| {
            let now = system.ingress.accounts()?;
            for then in &before.clients {
                let client = client(&now, then.address, &then.service)?;
                ensure!(client.counts.continues(&then.counts), "{then:?} became {client:?}");
                ensure!(client.first_seen == then.first_seen, "{then:?} became {client:?}");
            }
            for then in &before.services {
                let service = now.service(&then.service)?;
                ensure!(service.forward_packets >= then.forward_packets, "{then:?} became {service:?}");
            }
            before = now;
            Ok(())
        };
        stream.wait_for_more(20)?;
        must_go_on(&system)?;
        system.ingress.stop()?;
        must_go_on(&system)?;
        system.ingress.start()?;
        stream.wait_for_more(20)?;
        must_go_on(&system)?;
        system.ingress.kill()?;
        stream.wait_for_more(20)?;
        let witness = Witness::start(system.service()?, SERVICE_DEVICE)?;
        let answers = ask_at_once(system.client()?, clients[0], 300)?;
        let arrived = witness.finish()?.packets(UDP, ECHO, |source| source == clients[0]);
        ensure!(
            answers == arrived && (20..200).contains(&arrived),
            "{arrived} of 300 packets passed a limit of {LIMIT}"
        );
        must_go_on(&system)?;
        system.ingress.start()?;
        stream.wait_for_more(20)?;
        must_go_on(&system)?;
        stream.finish()?.must_be_lossless()?;
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}
