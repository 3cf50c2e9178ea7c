//! What depends on the clock: limits that fill again, reports that are spaced, flows that grow old. On the host, whose clock
//! goes as a test says.
#![expect(clippy::unwrap_used, reason = "a test's steps, in functions of their own")]

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use relay_abi::{Reason, Tally};
use relay_tests::cases::host::MACHINE;
use relay_tests::cases::packet;
use relay_tests::cases::relay::With;
use relay_tests::cases::{MemFrame, MemTables, Relay, world};

const HZ: u64 = MACHINE.jiffies_per_second as u64;

fn reason(relay: &Relay, tables: &MemTables, ifindex: u32, text: &str) -> Reason {
    let mut frame = MemFrame::new(&packet::frame(text).unwrap(), ifindex);
    let outcome = match relay.program() {
        relay_abi::maps::PROGRAM_INGRESS => relay_core::ingress(&mut frame, tables),
        _ => relay_core::egress(&mut frame, tables),
    };
    outcome.reason().unwrap()
}

#[test]
fn rule_33_tokens_come_back_at_the_configured_rate() {
    let with = With { icmp_rate: Some(1_000_000), icmp_prefix_rate: Some(20), ..With::default() };
    let relay = Relay::new("ingress", &with, MACHINE).unwrap();
    let tables = MemTables::new(relay.image.clone(), MACHINE.edge, &[]);
    let text = "eth client_mac > edge_mac\nip client > vip ttl=1\nudp 1 > 53";
    let answered = |seconds: u64| {
        // A probe each jiffy.
        let ends = (0..seconds * HZ).map(|_| {
            tables.now.set(tables.now.get() + 1);
            reason(&relay, &tables, MACHINE.edge, text)
        });
        ends.filter(|end| *end == Reason::TimeExceededSent).count()
    };
    let first = answered(1);
    assert!((20..=25).contains(&first), "{first} in the first second, of 20 and a burst of 5");
    let later = answered(10);
    assert!((195..=200).contains(&later), "{later} in ten seconds at 20 a second");
    // A long silence fills the bucket, and no more than that.
    tables.now.set(tables.now.get() + 3600 * HZ);
    let burst =
        (0..20).filter(|_| reason(&relay, &tables, MACHINE.edge, text) == Reason::TimeExceededSent).count();
    assert_eq!(burst, 5);
}

#[test]
fn a_missing_next_hop_is_reported_again_only_after_a_while() {
    let relay = Relay::new("ingress", &With::default(), MACHINE).unwrap();
    let tables = MemTables::new(relay.image.clone(), MACHINE.edge, &[]);
    let text = "eth peer1_mac > tunnel_mac\nip egress1 > ingress1\nip web1 > silent_client\ntcp 8443 > 1";
    for jiffy in 0..80 {
        assert_eq!(reason(&relay, &tables, MACHINE.tunnel, text), Reason::NoNeighbour);
        tables.now.set(tables.now.get() + 1);
        let reports = tables.reports.borrow().len();
        assert_eq!(reports, jiffy / 8 + 1, "after {} jiffies", jiffy + 1);
    }
    assert_eq!(tables.tallies.borrow()[Tally::NeighbourReported as usize], 10);
}

/// A packet of one of a few flows, or time.
#[derive(Clone, Debug)]
enum Event {
    Forward { port: u16, through: usize },
    Back { port: u16 },
    Wait { seconds: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (1_u16..12, 0_usize..2).prop_map(|(port, through)| Event::Forward { port, through }),
        4 => (1_u16..12).prop_map(|port| Event::Back { port }),
        1 => (0_u64..400).prop_map(|seconds| Event::Wait { seconds }),
    ]
}

/// What is known of a flow: the peers that its client's packets came through, when it was seen, whether it was answered.
#[derive(Clone, Copy)]
struct Known {
    through: [bool; 2],
    seen: u64,
    answered: bool,
}

impl Known {
    /// Whether nothing may displace it: answered, and well within the idle time of 300 seconds.
    const fn live(&self, now: u64) -> bool {
        self.answered && now - self.seen < 290 * HZ
    }
}

/// However many flows crowd one set: each is delivered; a live flow that was answered keeps its place and its way; none is
/// answered by a way its client's packets did not take.
#[test]
fn live_answered_flows_keep_their_place_and_way() {
    let with = With { flow_entries: Some(4), ..With::default() };
    let relay = Relay::new("egress", &with, MACHINE).unwrap();
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&prop::collection::vec(event(), 1..120), |events| crowd(&relay, &events)).unwrap();
}

fn crowd(relay: &Relay, events: &[Event]) -> Result<(), TestCaseError> {
    const PEERS: [(&str, &str); 2] = [("ingress1", "peer1_mac"), ("ingress2", "peer2_mac")];
    let tables = MemTables::new(relay.image.clone(), MACHINE.edge, &[Default::default()]);
    let mut known: HashMap<u16, Known> = HashMap::new();
    for event in events {
        let now = tables.now.get();
        match event {
            Event::Wait { seconds } => tables.now.set(now + seconds * HZ),
            Event::Forward { port, through } => {
                let (peer, station) = PEERS[*through];
                let text = format!(
                    "eth {station} > tunnel_mac\nip {peer} > egress1\nip client > web1\ntcp {port} > 8443"
                );
                prop_assert_eq!(reason(relay, &tables, MACHINE.tunnel, &text), Reason::ForwardDelivered);
                // An idle flow may have lost its place, and begins anew.
                let answered = known.get(port).is_some_and(|flow| flow.live(now));
                let mut ways = known.get(port).map_or([false; 2], |flow| flow.through);
                ways[*through] = true;
                known.insert(*port, Known { through: ways, seen: now, answered });
            }
            Event::Back { port } => {
                let text = format!("eth web1_mac > edge_mac\nip web1 > client\ntcp 8443 > {port}");
                let mut frame = MemFrame::new(&packet::frame(&text).unwrap(), MACHINE.edge);
                let end = relay_core::egress(&mut frame, &tables).reason();
                let Some(flow) = known.get_mut(port) else {
                    prop_assert_eq!(end, Some(Reason::ReturnUnknownFlow));
                    continue;
                };
                let live = flow.live(now);
                if end == Some(Reason::ReturnEncapsulated) {
                    let to = Ipv4Addr::from_octets(frame.bytes()[30..34].try_into().unwrap());
                    let way = PEERS.iter().position(|(peer, _)| world::address(peer).unwrap() == to);
                    prop_assert!(
                        way.is_some_and(|way| flow.through[way]),
                        "port {} is answered through {}",
                        port,
                        to
                    );
                    (flow.answered, flow.seen) = (true, now);
                } else {
                    prop_assert_eq!(end, Some(Reason::ReturnUnknownFlow));
                    prop_assert!(!live, "a live flow of port {} that was answered is gone", port);
                    known.remove(port);
                }
            }
        }
    }
    Ok(())
}
