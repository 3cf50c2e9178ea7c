//! What an ingress relay says of its clients and services, and whether it adds up: over the clients of a service, and over
//! the services to the counters of verdict and reason.

use std::net::Ipv4Addr;
use std::ops::AddAssign;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};

use crate::conservation::RelayCounters;

/// Reasons that end a client's packet which was to a service, and was found to be its client's.
const REFUSED: [&str; 27] = [
    "blocked",
    "banned",
    "filter_reflector_port",
    "filter_tcp_flags",
    "filter_source_port",
    "syn_challenged",
    "syn_unproven",
    "syn_proof",
    "limit_client_packets",
    "limit_client_bytes",
    "limit_client_connections",
    "limit_prefix_packets",
    "limit_prefix_bytes",
    "limit_prefix_connections",
    "limit_service_packets",
    "limit_service_bytes",
    "limit_service_connections",
    "fair_share",
    // Admitted, but not to be sent on.
    "fragmentation_needed_sent",
    "time_exceeded_sent",
    "ttl_expired",
    "too_big",
    "too_big_to_fragment",
    "no_backend",
    "no_peer",
    "peer_unresolved",
    "head_room",
];

/// What is counted of a client, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    pub forward_packets: u64,
    pub forward_bytes: u64,
    pub return_packets: u64,
    pub return_bytes: u64,
    pub connections: u64,
    pub drop_packets: u64,
    /// Of those, by class.
    #[serde(default)]
    pub drops: Vec<ClassDrops>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ClassDrops {
    pub class: String,
    pub packets: u64,
}

impl Counts {
    /// Every packet that came from the client.
    pub fn received(&self) -> u64 {
        self.forward_packets + self.drop_packets
    }

    /// Packets that were dropped in one class.
    pub fn dropped_as(&self, class: &str) -> u64 {
        self.drops.iter().filter(|drops| drops.class == class).map(|drops| drops.packets).sum()
    }

    /// The counts without the classes, in a row with their names.
    fn row(&self) -> [(&'static str, u64); 6] {
        [
            ("forward packets", self.forward_packets),
            ("forward bytes", self.forward_bytes),
            ("return packets", self.return_packets),
            ("return bytes", self.return_bytes),
            ("connections", self.connections),
            ("dropped packets", self.drop_packets),
        ]
    }

    /// Whether nothing of it is less than in `before`.
    pub fn continues(&self, before: &Self) -> bool {
        let same = self.row().into_iter().zip(before.row()).all(|((_, now), (_, then))| now >= then);
        same && before.drops.iter().all(|drops| self.dropped_as(&drops.class) >= drops.packets)
    }
}

/// Sums wrap: what is counted in two places may be below zero in one of them.
impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        let add = |to: &mut u64, from: u64| *to = to.wrapping_add(from);
        add(&mut self.forward_packets, other.forward_packets);
        add(&mut self.forward_bytes, other.forward_bytes);
        add(&mut self.return_packets, other.return_packets);
        add(&mut self.return_bytes, other.return_bytes);
        add(&mut self.connections, other.connections);
        add(&mut self.drop_packets, other.drop_packets);
        for drops in &other.drops {
            match self.drops.iter_mut().find(|own| own.class == drops.class) {
                Some(own) => own.packets = own.packets.wrapping_add(drops.packets),
                None => self.drops.push(drops.clone()),
            }
        }
    }
}

/// A line of `xdp-relay clients --json-lines`: a client of one service.
#[derive(Clone, Debug, Deserialize)]
pub struct Client {
    pub address: Ipv4Addr,
    pub service: String,
    pub verified: bool,
    #[serde(deserialize_with = "time")]
    pub first_seen: SystemTime,
    #[serde(deserialize_with = "time")]
    pub last_seen: SystemTime,
    #[serde(flatten)]
    pub counts: Counts,
}

/// A service in `xdp-relay status --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub service: String,
    pub forward_packets: u64,
    pub forward_bytes: u64,
    pub return_packets: u64,
    pub return_bytes: u64,
    pub connections: u64,
    pub drop_packets: u64,
    pub evicted_clients: u64,
    /// What clients without a place account for.
    pub gone: Counts,
}

impl Service {
    fn row(&self) -> [u64; 6] {
        [
            self.forward_packets,
            self.forward_bytes,
            self.return_packets,
            self.return_bytes,
            self.connections,
            self.drop_packets,
        ]
    }
}

fn time<'text, D: Deserializer<'text>>(text: D) -> std::result::Result<SystemTime, D::Error> {
    let text = String::deserialize(text)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}

/// The accounts of an ingress relay at one time.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub clients: Vec<Client>,
    pub places: Places,
    pub services: Vec<Service>,
}

#[derive(Deserialize)]
struct Status {
    clients: Tables,
}

#[derive(Deserialize)]
struct Tables {
    #[serde(flatten)]
    places: Places,
    services: Vec<Service>,
}

/// How full the client table is.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Places {
    pub used_places: u64,
    pub verified_places: u64,
    pub capacity_places: u64,
}

impl Accounts {
    pub fn parse(json_lines: &str, status: &str) -> Result<Self> {
        let clients = json_lines
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("read a client: {line}")))
            .collect::<Result<_>>()?;
        let status: Status =
            serde_json::from_str(status).with_context(|| format!("read the relay's status: {status}"))?;
        Ok(Self { clients, places: status.clients.places, services: status.clients.services })
    }

    /// What is counted of a client of a service, such as `udp 192.168.100.10:7000`; nothing, if it has no place.
    pub fn of(&self, address: Ipv4Addr, service: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.address == address && client.service == service)
    }

    /// The totals of a service.
    pub fn service(&self, name: &str) -> Result<&Service> {
        let found = self.services.iter().find(|service| service.service == name);
        found.with_context(|| format!("the relay knows no service {name}"))
    }

    /// What does not add up, one line each; empty if all does.
    pub fn faults(&self, relay: &RelayCounters) -> Vec<String> {
        let mut faults = Vec::new();
        for service in &self.services {
            let mut sum = service.gone.clone();
            for client in self.clients.iter().filter(|client| client.service == service.service) {
                sum += &client.counts;
            }
            for ((what, sum), total) in sum.row().into_iter().zip(service.row()) {
                if sum != total {
                    faults.push(format!(
                        "{what} of {}: {total}, of its clients together: {sum}",
                        service.service
                    ));
                }
            }
        }
        // Those of a service that is no longer configured are nobody's.
        let known = |name: &str| self.services.iter().any(|service| service.service == name);
        if self.clients.iter().any(|client| !known(&client.service)) {
            return faults;
        }
        let total = |of: fn(&Service) -> u64| self.services.iter().map(of).sum::<u64>();
        let refused = REFUSED.iter().map(|reason| relay.with_reason(reason)).sum();
        // ICMP errors about clients' packets are delivered to them, and are no answers of the service.
        let (returned, delivered) =
            (total(|service| service.return_packets), relay.with_reason("return_delivered"));
        if returned > delivered || returned + relay.tally("icmp_relayed") < delivered {
            faults
                .push(format!("packets returned of all services: {returned}, in the counters: {delivered}"));
        }
        let lines = [
            (
                "forwarded",
                total(|service| service.forward_packets),
                relay.with_reason("forward_encapsulated"),
            ),
            ("refused", total(|service| service.drop_packets), refused),
        ];
        let wrong = lines.into_iter().filter(|(_, services, counters)| services != counters);
        faults.extend(wrong.map(|(what, services, counters)| {
            format!("packets {what} of all services: {services}, in the counters: {counters}")
        }));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conservation::TallyValue;

    const LINE: &str = r#"{"address":"192.0.2.1","service":"udp 192.0.2.9:1","verified":false,
        "first_seen":"2026-01-01T00:00:00Z","last_seen":"2026-01-01T00:00:00Z","last_dropped":null,
        "forward_packets":3,"forward_bytes":300,"return_packets":2,"return_bytes":200,"connections":0,"drop_packets":5,
        "drops":[{"class":"blocked","packets":1},{"class":"other","packets":4}]}"#;

    fn accounts() -> Accounts {
        let status = r#"{"clients":{"used_places":1,"verified_places":0,
            "capacity_places":8,"services":[{"service":"udp 192.0.2.9:1","forward_packets":10,
            "forward_bytes":1000,"return_packets":2,"return_bytes":200,"connections":0,"drop_packets":6,"drop_bytes":9,
            "evicted_clients":1,"gone":{"forward_packets":7,"forward_bytes":700,"return_packets":0,"return_bytes":0,
            "connections":0,"drop_packets":1,"drops":[{"class":"other","packets":1}]}}]}}"#;
        Accounts::parse(&LINE.replace('\n', ""), status).unwrap()
    }

    fn relay(forwarded: u64) -> RelayCounters {
        RelayCounters::parse(&format!(
            r#"{{"node":"n","role":"ingress","counters":[
            {{"verdict":"redirect","reason":"forward_encapsulated","packets":{forwarded},"bytes":1}},
            {{"verdict":"transmit","reason":"return_delivered","packets":2,"bytes":1}},
            {{"verdict":"drop","reason":"blocked","packets":1,"bytes":1}},
            {{"verdict":"drop","reason":"land","packets":9,"bytes":1}},
            {{"verdict":"transmit","reason":"time_exceeded_sent","packets":5,"bytes":1}}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn sums_over_clients_and_over_services_are_checked() {
        assert_eq!(accounts().faults(&relay(10)), Vec::<String>::new());
        assert_eq!(
            accounts().faults(&relay(11)),
            ["packets forwarded of all services: 10, in the counters: 11"]
        );
        let mut wrong = accounts();
        wrong.clients[0].counts.return_bytes += 1;
        assert_eq!(
            wrong.faults(&relay(10)),
            ["return bytes of udp 192.0.2.9:1: 200, of its clients together: 201"]
        );
    }

    #[test]
    fn icmp_errors_on_the_way_back_are_no_answers() {
        let mut relay = relay(10);
        relay.counters[1].packets += 3;
        assert_eq!(accounts().faults(&relay), ["packets returned of all services: 2, in the counters: 5"]);
        relay.tallies.push(TallyValue { name: "icmp_relayed".to_owned(), value: 3 });
        assert_eq!(accounts().faults(&relay), Vec::<String>::new());
    }

    #[test]
    fn a_count_that_falls_is_noticed() {
        let before = accounts().clients.remove(0).counts;
        let mut now = before.clone();
        assert_eq!((now.received(), now.dropped_as("other")), (8, 4));
        assert!(now.continues(&before));
        now.drops[1].packets -= 1;
        assert!(!now.continues(&before));
    }
}
