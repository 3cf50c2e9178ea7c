//! Accounts are exact: what a service has counted is the sum over its clients and those that are gone.

use super::{Client, Counts, Seen};

/// What does not add up.
#[must_use]
pub fn wrong(seen: &Seen) -> Vec<String> {
    let mut problems = Vec::new();
    for service in &seen.services {
        let name = &service.gone.service;
        let mut sum = service.gone.counts;
        for client in seen.clients.iter().filter(|client| client.service == *name) {
            sum.add(&client.counts);
        }
        let drops = sum.dropped();
        if (sum.forwarded, drops) != (service.forwarded, service.dropped_packets) {
            let own = Counts { forwarded: service.forwarded, ..Counts::default() };
            problems.push(format!(
                "the service {name} has{own} and {} dropped, its clients together{sum}",
                service.dropped_packets
            ));
        }
    }
    problems
}

/// What differs between two relays that saw the same packets; the host's comes first.
#[must_use]
pub fn difference(host: &Seen, kernel: &Seen) -> Vec<String> {
    let alone = |of: &[Client], from: &[Client]| -> Vec<String> {
        let missing = of.iter().filter(|client| !from.iter().any(|other| client.same(other)));
        missing.map(|client| format!("{client} ({:?})", client.more)).collect()
    };
    let mut problems = Vec::new();
    let (lacks, more) = (alone(&host.clients, &kernel.clients), alone(&kernel.clients, &host.clients));
    if host.clients.len() != kernel.clients.len() || !lacks.is_empty() || !more.is_empty() {
        problems.push(format!("clients: the host alone keeps {lacks:?}, the kernel {more:?}"));
    }
    if host.prefixes != kernel.prefixes {
        problems
            .push(format!("prefixes: the host has {:?}, the kernel {:?}", host.prefixes, kernel.prefixes));
    }
    for (host, kernel) in host.services.iter().zip(&kernel.services).filter(|(host, kernel)| host != kernel) {
        problems.push(format!("services: the host has {host:?}, the kernel {kernel:?}"));
    }
    problems
}
