//! Challenges and the clock: on the host, whose clock goes as a test says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's steps, in functions of their own")]

use std::net::Ipv4Addr;

use proptest::prelude::*;
use relay_abi::Reason;
use relay_abi::limits::CHALLENGE_BUCKET;
use relay_tests::cases::host::MACHINE;
use relay_tests::cases::relay::{EPOCH_OFFSET, With};
use relay_tests::cases::{MemFrame, MemTables, Relay, packet};
use relay_tests::packet_view::{FrameView, Transport, wrong_checksum};

const HZ: u64 = MACHINE.jiffies_per_second as u64;
/// A tick at 250 jiffies a second.
const TICK: u64 = 256;

fn relay(with: With) -> (Relay, MemTables) {
    let relay = Relay::new("ingress", &with, MACHINE).unwrap();
    let tables = MemTables::new(relay.image.clone(), MACHINE.edge, &[]);
    (relay, tables)
}

fn always() -> With {
    With { proof: Some("always".to_owned()), ..With::default() }
}

/// What becomes of a frame from a client.
fn run(tables: &MemTables, frame: &[u8]) -> (Reason, Vec<u8>) {
    let mut memory = MemFrame::new(frame, MACHINE.edge);
    let reason = relay_core::ingress(&mut memory, tables).reason().unwrap();
    (reason, memory.bytes().to_vec())
}

fn words(text: &str) -> Vec<u8> {
    packet::frame(text).unwrap()
}

fn syn(client: Ipv4Addr, port: u16) -> Vec<u8> {
    words(&format!("eth client_mac > edge_mac\nip {client} > vip\ntcp {port} > 443 flags=S options=mss:1460"))
}

fn reset(client: Ipv4Addr, port: u16, number: u32) -> Vec<u8> {
    words(&format!("eth client_mac > edge_mac\nip {client} > vip\ntcp {port} > 443 flags=R seq={number}"))
}

/// The number that a challenge asks for.
fn asked(frame: &[u8]) -> u32 {
    match FrameView::of(frame).ipv4().unwrap().transport {
        Transport::Tcp { acknowledgement, .. } => acknowledgement,
        ref other => panic!("a challenge is no {other}"),
    }
}

fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + number)
}

#[test]
fn challenges_come_at_the_configured_rate() {
    let (_, tables) = relay(With { challenge_rate: Some(100), ..always() });
    let answered = |seconds: u64| {
        // 500 a second.
        let ends = (0..2 * seconds * HZ).map(|count| {
            tables.now.set(tables.now.get() + count % 2);
            run(&tables, &syn(client(count as u32), 1)).0
        });
        let ends: Vec<Reason> = ends.collect();
        let challenged = ends.iter().filter(|end| **end == Reason::SynChallenged).count();
        let dropped = ends.iter().filter(|end| **end == Reason::SynUnproven).count();
        assert_eq!(challenged + dropped, ends.len());
        challenged
    };
    let first = answered(1);
    assert!((100..=111).contains(&first), "{first} in the first second, of 100 and a burst of 10");
    let later = answered(10);
    assert!((990..=1001).contains(&later), "{later} in ten seconds at 100 a second");
    // Nothing else takes of these tokens.
    let before = tables.buckets.borrow()[CHALLENGE_BUCKET as usize];
    let (end, _) = run(&tables, &words("eth client_mac > edge_mac\nip client > vip ttl=1\nudp 1 > 53"));
    assert_eq!(end, Reason::TimeExceededSent);
    assert_eq!(tables.buckets.borrow()[CHALLENGE_BUCKET as usize], before);
}

#[test]
fn a_proof_is_good_until_the_end_of_the_next_epoch() {
    const EPOCH: u64 = 64 * HZ;
    let (_, tables) = relay(With { epoch_seconds: Some(64), ..always() });
    let start = (tables.now.get() + EPOCH_OFFSET).next_multiple_of(EPOCH) - EPOCH_OFFSET;
    let ends = [(0, true), (EPOCH - 1, true), (EPOCH, true), (2 * EPOCH - 1, true), (2 * EPOCH, false)];
    for (number, (later, good)) in ends.into_iter().enumerate() {
        let client = client(number as u32);
        tables.now.set(start);
        let (end, challenge) = run(&tables, &syn(client, 4000));
        assert_eq!(end, Reason::SynChallenged);
        tables.now.set(start + later);
        let (end, _) = run(&tables, &reset(client, 4000, asked(&challenge)));
        assert_eq!(end == Reason::SynProof, good, "{later} jiffies later: {end:?}");
        let (end, again) = run(&tables, &syn(client, 4000));
        assert_eq!(end == Reason::ForwardEncapsulated, good, "{later} jiffies later: {end:?}");
        if !good {
            // It is asked for another number, and gets through with that.
            assert_ne!(asked(&again), asked(&challenge));
            assert_eq!(run(&tables, &reset(client, 4000, asked(&again))).0, Reason::SynProof);
        }
    }
}

#[test]
fn challenges_begin_above_the_threshold_and_end_ten_ticks_after_the_last_excess() {
    // 102 in a tick of 1.024 s.
    const ABOVE: usize = 102;
    let (relay, tables) = relay(With { proof: Some("100".to_owned()), ..With::default() });
    let image = relay.image.unwrap();
    assert_eq!(1 << image.globals.tick_shift, TICK);
    let mut count = 0;
    let mut challenged = |syns: usize| {
        let ends = (0..syns).map(|_| {
            count += 1;
            run(&tables, &syn(client(count), 1)).0
        });
        ends.filter(|end| *end == Reason::SynChallenged).count()
    };
    let start = tables.now.get().next_multiple_of(TICK);
    let at = |tick: u64| tables.now.set(start + tick * TICK);
    at(0);
    assert_eq!(challenged(ABOVE), 0, "at the threshold");
    at(1);
    assert_eq!(challenged(ABOVE), 0, "ticks are counted one by one");
    assert_eq!(challenged(1000), 1000, "above it");
    for tick in 2..11 {
        at(tick);
        assert_eq!(challenged(1), 1, "it goes on in tick {tick}");
    }
    at(11);
    assert_eq!(challenged(ABOVE), 0, "ten ticks later");
    assert_eq!(challenged(1), 1);
    // Every tick above the threshold counts anew.
    at(20);
    assert_eq!(challenged(ABOVE + 1), ABOVE + 1);
    at(29);
    assert_eq!(challenged(1), 1);
    at(30);
    assert_eq!(challenged(1), 0);
}

/// A client that has proved itself is neither counted nor challenged; another service's SYNs do not count here.
#[test]
fn only_unproven_syns_of_the_service_count() {
    let (_, tables) = relay(With { proof: Some("1".to_owned()), ..With::default() });
    let start = tables.now.get().next_multiple_of(TICK);
    tables.now.set(start);
    let other = words("eth client_mac > edge_mac\nip client > vip\ntcp 9 > 8080 flags=S");
    assert_eq!(run(&tables, &other).0, Reason::ForwardEncapsulated);
    let ends: Vec<(Reason, Vec<u8>)> = (1..=3).map(|number| run(&tables, &syn(client(number), 7))).collect();
    let reasons: Vec<Reason> = ends.iter().map(|(end, _)| *end).collect();
    assert_eq!(reasons[1..], [Reason::SynChallenged; 2], "{reasons:?}");
    assert_eq!(reasons[0], Reason::ForwardEncapsulated);
    assert_eq!(run(&tables, &reset(client(3), 7, asked(&ends[2].1))).0, Reason::SynProof);
    tables.now.set(start + 50 * TICK);
    for port in 1..100 {
        assert_eq!(run(&tables, &syn(client(3), port)).0, Reason::ForwardEncapsulated);
    }
    assert_eq!(run(&tables, &syn(client(4), 7)).0, Reason::ForwardEncapsulated, "the first one in this tick");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any SYN, whatever it carries: the answer is no larger, right to the bit, and its number proves the client, and nobody else.
    #[test]
    fn any_syn_is_answered_with_less_than_it_is(
        from in 0_u32..1 << 24, port in 1_u16.., sequence: u32, options in "(nop,){0,8}", data in 0_usize..1400,
        more in "E?C?U?P?", tos in 0_u8.., padding in 0_usize..80, urgent: u16
    ) {
        let (_, tables) = relay(always());
        let client = client(from);
        let frame = words(&format!(
            "eth client_mac > edge_mac pad={padding}\nip {client} > vip tos={tos}\n\
             tcp {port} > 443 flags=S{more} seq={sequence} options={options} urgent={urgent}\ndata {data}"
        ));
        let (end, challenge) = run(&tables, &frame);
        prop_assert_eq!(end, Reason::SynChallenged);
        prop_assert_eq!(challenge.len(), 54);
        prop_assert!(challenge.len() <= frame.len());
        prop_assert_eq!(wrong_checksum(&challenge), None);
        prop_assert_eq!(&challenge[..12], &[&frame[6..12], &frame[..6]].concat()[..], "back to where it came from");
        let view = FrameView::of(&challenge);
        let packet = view.ipv4().unwrap();
        prop_assert_eq!((packet.destination, packet.ttl, packet.dont_fragment), (client, 64, true));
        let Transport::Tcp { source, destination, acknowledgement, ref flags, payload, .. } = packet.transport else {
            panic!("{packet}");
        };
        prop_assert_eq!((source, destination, flags.as_str(), payload), (443, port, ".", 0));
        // Deterministic: no state, so no other answer to the same.
        prop_assert_eq!(run(&tables, &frame).1, challenge);

        let forged = [reset(client, port, acknowledgement ^ 1), reset(client, port ^ 1, acknowledgement)];
        for frame in forged.iter().chain([&reset(self::client(from ^ 1), port, acknowledgement)]) {
            prop_assert_ne!(run(&tables, frame).0, Reason::SynProof);
        }
        prop_assert_eq!(run(&tables, &reset(client, port, acknowledgement)).0, Reason::SynProof);
        prop_assert_eq!(run(&tables, &frame).0, Reason::ForwardEncapsulated);
    }
}
