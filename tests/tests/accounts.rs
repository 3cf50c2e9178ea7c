//! Accounts are exact, whatever comes: over random packets of random clients, of whom more than the client table holds.
#![expect(clippy::unwrap_used, reason = "a test's steps, in functions of their own")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use proptest::prelude::*;
use relay_abi::Reason;
use relay_abi::client::DropClass;
use relay_tests::cases::accounts::{Counts, Seen, Words, wrong};
use relay_tests::cases::host::{self, MACHINE};
use relay_tests::cases::relay::With;
use relay_tests::cases::{MemFrame, MemTables, Relay, lists, packet};

/// Jiffies in a tick.
const TICK: u64 = 256;
/// Services of the relay: VIP, port, protocol, and endpoint of a backend.
const SERVICES: [(&str, &str, u16, &str, &str, u16); 4] = [
    ("web", "vip", 443, "tcp", "web1", 8443),
    ("dns", "vip", 53, "udp", "web1", 53),
    ("kept", "vip2", 443, "tcp", "vip2", 443),
    ("game", "vip2", 7777, "udp", "vip2", 7777),
];

/// What comes, of or about one client of a service.
#[derive(Clone, Debug)]
enum Comes {
    /// Its packet.
    Packet { from: u16, flags: &'static str, ttl: u8, df: bool, data: usize },
    /// An answer of the service.
    Answer { flags: &'static str, ttl: u8, data: usize },
    /// Its ICMP error about an answer.
    Error { ttl: u8, data: usize },
    /// Its packet, which is malformed.
    Malformed,
    /// So many ticks without a packet.
    Silence(u64),
}

fn comes() -> impl Strategy<Value = (u16, usize, Comes)> {
    let flags = || prop::sample::select(vec!["S", "S", "S", "A", "SA", "PA", "FA", "R", "RA", "SF", ""]);
    let ttl = || prop_oneof![5 => Just(64_u8), 1 => Just(1), 1 => Just(2)];
    let data = || prop_oneof![4 => 0_usize..200, 1 => 1400_usize..1500];
    let from = prop_oneof![6 => 1024_u16.., 1 => Just(0), 1 => Just(19)];
    let packet = (from, flags(), ttl(), any::<bool>(), data())
        .prop_map(|(from, flags, ttl, df, data)| Comes::Packet { from, flags, ttl, df, data });
    let answer =
        (flags(), ttl(), 0_usize..200).prop_map(|(flags, ttl, data)| Comes::Answer { flags, ttl, data });
    let error = (ttl(), 20_usize..100).prop_map(|(ttl, data)| Comes::Error { ttl, data });
    let what = prop_oneof![
        60 => packet,
        20 => answer,
        8 => error,
        2 => Just(Comes::Malformed),
        1 => (1_u64..8).prop_map(Comes::Silence),
    ];
    // Few clients come often.
    let client = prop_oneof![1 => 0_u16..8, 2 => 0_u16..127];
    (client, 0..SERVICES.len(), what)
}

fn frame(client: &str, service: usize, what: &Comes) -> Option<(Vec<u8>, bool)> {
    let (_, vip, port, protocol, host, host_port) = SERVICES[service];
    let tcp = |flags: &str| if protocol == "tcp" { format!(" flags={flags}") } else { String::new() };
    let text = match what {
        Comes::Packet { from, flags, ttl, df, data } => format!(
            "eth client_mac > edge_mac\nip {client} > {vip} ttl={ttl}{}\n{protocol} {from} > {port}{}\ndata {data}",
            if *df { " df" } else { "" },
            tcp(flags)
        ),
        Comes::Answer { flags, ttl, data } => format!(
            "eth peer1_mac > tunnel_mac\nip egress1 > ingress1\nip {host} > {client} ttl={ttl}\n\
             {protocol} {host_port} > 40000{}\ndata {data}",
            tcp(flags)
        ),
        Comes::Error { ttl, data } => format!(
            "eth client_mac > edge_mac\nip {client} > {vip} ttl={ttl}\nicmp unreachable code=3\n\
             ip {vip} > {client}\n{protocol} {port} > 40000\ndata {data}"
        ),
        Comes::Malformed => {
            format!("eth client_mac > edge_mac\nip {client} > {vip} sum=bad\n{protocol} 40000 > {port}")
        }
        Comes::Silence(_) => return None,
    };
    Some((packet::frame(&text).unwrap(), matches!(what, Comes::Answer { .. })))
}

/// What a service is to have counted.
#[derive(Debug, Default)]
struct Expected {
    counts: Counts,
    dropped_bytes: u64,
}

impl Expected {
    fn packet(&mut self, end: Reason, frame: &[u8], what: &Comes) {
        let [packets, bytes, return_packets, return_bytes, _] = &mut self.counts.forwarded;
        let length = (frame.len() - 14) as u64;
        match (what, end) {
            (Comes::Answer { .. }, Reason::ReturnDelivered) => {
                // Less the outer header.
                (*return_packets, *return_bytes) = (*return_packets + 1, *return_bytes + length - 20);
            }
            (Comes::Answer { .. } | Comes::Malformed, _) => {}
            (_, Reason::ForwardEncapsulated) => (*packets, *bytes) = (*packets + 1, *bytes + length),
            _ => {
                self.counts.drops[class(end) as usize] += 1;
                self.dropped_bytes += length;
            }
        }
    }
}

fn class(end: Reason) -> DropClass {
    match end {
        Reason::Blocked | Reason::Banned => DropClass::Blocked,
        Reason::LimitClientPackets => DropClass::LimitPackets,
        // The one share is of bytes.
        Reason::FairShare | Reason::LimitClientBytes => DropClass::LimitBytes,
        Reason::LimitClientConnections => DropClass::LimitConnections,
        Reason::LimitPrefixPackets | Reason::LimitPrefixBytes | Reason::LimitPrefixConnections => {
            DropClass::LimitPrefix
        }
        Reason::LimitServicePackets | Reason::LimitServiceBytes | Reason::LimitServiceConnections => {
            DropClass::LimitService
        }
        Reason::FilterReflectorPort | Reason::FilterTcpFlags | Reason::FilterSourcePort => {
            DropClass::Filtered
        }
        Reason::SynChallenged | Reason::SynUnproven | Reason::SynProof => DropClass::Unproven,
        _ => DropClass::Other,
    }
}

fn relay() -> Relay {
    let services = [
        (
            "web",
            "limits.client_packets = 10; limits.client_connections = 1; limits.prefix_packets = 60; \
             proof.syn = 'above'; proof.above = 1",
        ),
        ("dns", "limits.prefix_bytes = 10000; limits.fair = true; limits.capacity_bytes = 100000"),
        (
            "kept",
            "limits.total_packets = 50; limits.total_connections = 10; limits.client_packets = 1; \
             limits.over = 'mark_down'",
        ),
        (
            "game",
            "limits.client_bytes = 1000; limits.total_bytes = 20000; answers_verify = true; \
             filters.source_port_zero = 'shadow'",
        ),
    ];
    let services = services.map(|(name, keys)| (name.to_owned(), keys.to_owned())).into();
    Relay::new("ingress", &With { services, ..With::default() }, MACHINE).unwrap()
}

fn tables(relay: &Relay) -> MemTables {
    let mut tables = MemTables::new(relay.image.clone(), MACHINE.edge, &[]);
    let listed = ["block 203.0.113.4", "allow 203.0.113.5", "ban 203.0.113.16/28"].map(str::to_owned);
    tables.lists = lists::compiled(&listed, 0).unwrap().map(|list| host::lines(&list));
    let shares = BTreeMap::from([("dns".to_owned(), 1000)]);
    tables.fair_costs[..8].copy_from_slice(&relay.fair_costs(&shares).unwrap());
    tables
}

fn seen(tables: &MemTables, relay: &Relay) -> Seen {
    Words::load(tables).seen(relay, relay.clock(tables.now.get()))
}

/// All counts of a service, of whomever.
fn sum(seen: &Seen, service: &str) -> Counts {
    let gone = seen.services.iter().map(|service| &service.gone).filter(|gone| gone.service == service);
    let clients = seen.clients.iter().filter(|client| client.service == service);
    let mut sum = Counts::default();
    gone.map(|gone| &gone.counts)
        .chain(clients.map(|client| &client.counts))
        .for_each(|counts| sum.add(counts));
    sum
}

#[test]
fn whatever_comes_a_service_has_counted_what_its_clients_have() {
    let relay = relay();
    let (ends, evicted, unplaced) = (RefCell::new(BTreeMap::new()), Cell::new(0), Cell::new(0));
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let run = runner.run(&prop::collection::vec(comes(), 1..1500), |all| {
        let tables = tables(&relay);
        let mut expected: [Expected; SERVICES.len()] = Default::default();
        for (client, service, what) in &all {
            let address = if *client < 2 {
                format!("198.51.100.{}", 7 + client)
            } else {
                format!("203.0.113.{client}")
            };
            let Some((bytes, tunnel)) = frame(&address, *service, what) else {
                if let Comes::Silence(ticks) = what {
                    tables.now.set(tables.now.get() + ticks * TICK);
                }
                continue;
            };
            let ifindex = if tunnel { MACHINE.tunnel } else { MACHINE.edge };
            let end = relay_core::ingress(&mut MemFrame::new(&bytes, ifindex), &tables).reason().unwrap();
            expected[*service].packet(end, &bytes, what);
            *ends.borrow_mut().entry(end.label()).or_insert(0) += 1;
        }
        let seen = seen(&tables, &relay);
        prop_assert_eq!(wrong(&seen), Vec::<String>::new());
        for ((name, ..), expected) in SERVICES.iter().zip(&expected) {
            let kept = seen.services.iter().find(|service| service.gone.service == *name).unwrap();
            let mut sum = sum(&seen, name);
            // How many of the SYNs were let through the end does not tell.
            sum.forwarded[4] = 0;
            prop_assert_eq!(sum, expected.counts, "{}", name);
            prop_assert_eq!(kept.dropped_bytes, expected.dropped_bytes, "{}", name);
            evicted.set(evicted.get() + kept.evicted);
        }
        unplaced.set(unplaced.get() + tables.tallies.borrow()[relay_abi::Tally::ClientUnplaced as usize]);
        Ok(())
    });
    run.unwrap();
    let (ends, evicted, unplaced) = (ends.take(), evicted.get(), unplaced.get());
    // Otherwise it shows little.
    for end in [
        "forward_encapsulated",
        "return_delivered",
        "syn_challenged",
        "time_exceeded_sent",
        "too_big_to_fragment",
        "blocked",
        "banned",
        "filter_tcp_flags",
        "filter_reflector_port",
        "filter_source_port",
        "limit_client_packets",
        "limit_client_bytes",
        "limit_client_connections",
        "limit_prefix_packets",
        "limit_prefix_bytes",
        "limit_service_packets",
        "fair_share",
    ] {
        assert!(ends.contains_key(end), "nothing ended as {end}: {ends:?}");
    }
    assert!(evicted > 1000, "{evicted} clients lost their places");
    assert!(unplaced > 20, "{unplaced} packets found no place");
    println!("{evicted} evicted, {unplaced} unplaced, {ends:?}");
}
