//! Choosing among a million clients: which of them, and the largest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;

use clap::ValueEnum;
use ipnet::Ipv4Net;
use relay_abi::client::{self, Client, ClientDetails, DETAILED, VERIFIED};
use serde::Serialize;

use super::table::{Table, address, forwarded};

/// By what clients are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Packets forwarded
    Packets,
    /// Bytes forwarded
    Bytes,
    /// Packets dropped
    Drops,
    /// New connections
    Connections,
}

/// Which clients are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those in this prefix.
    pub prefix: Option<Ipv4Net>,
    /// Only those of the service with this index.
    pub service: Option<u8>,
}

impl Filter {
    /// Whether the client in a state word is meant.
    #[must_use]
    pub fn takes(&self, state: u64) -> bool {
        self.service.is_none_or(|service| service == client::service(state))
            && self.prefix.is_none_or(|prefix| prefix.contains(&address(state)))
    }
}

/// The largest clients, and how many there were to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// The largest first.
    pub addresses: Vec<Ipv4Addr>,
    /// Clients of services that were meant: a client of two services counts twice.
    pub matching: u64,
    /// Of these, verified ones.
    pub verified: u64,
}

impl Table<'_> {
    /// The `wanted` largest clients that `filter` takes.
    ///
    /// With `several` services a client may have a place for each, so that its values are summed first: that takes 16 bytes for
    /// each client meanwhile. Without, memory is that of the result.
    #[must_use]
    pub fn top(&self, filter: &Filter, sort: Sort, wanted: usize, several: bool) -> Top {
        let mut top = Top::default();
        let mut largest = Largest::new(wanted);
        let mut values = Vec::new();
        for (state, client, details) in self.used().filter(|(state, ..)| filter.takes(*state)) {
            top.matching += 1;
            top.verified += u64::from(state & VERIFIED != 0);
            let (address, value) = (client::address(state).value(), value(state, client, details, sort));
            if several && filter.service.is_none() {
                values.push((address, value));
            } else {
                largest.offer(value, address);
            }
        }
        values.sort_unstable_by_key(|(address, _)| *address);
        for same in values.chunk_by(|a, b| a.0 == b.0) {
            let sum = same.iter().fold(0_u64, |sum, (_, value)| sum.wrapping_add(*value));
            largest.offer(sum, same[0].0);
        }
        top.addresses = largest.into_addresses();
        // A client of a service that is no longer configured may be there twice.
        let mut seen = HashSet::new();
        top.addresses.retain(|address| seen.insert(*address));
        top
    }
}

/// What a client is sorted by.
fn value(state: u64, client: &Client, details: &ClientDetails, sort: Sort) -> u64 {
    // The details are in another part of memory: they are not looked at without need.
    let detailed = state & DETAILED != 0;
    match sort {
        Sort::Packets if detailed => forwarded(client, details).0,
        Sort::Packets => client::packets(client.counts.load(Relaxed)),
        Sort::Bytes if detailed => forwarded(client, details).1,
        Sort::Bytes => client::bytes(client.counts.load(Relaxed)),
        Sort::Drops if detailed => details.drops.iter().map(|drops| drops.load(Relaxed)).sum(),
        Sort::Connections if detailed => details.connections.load(Relaxed),
        Sort::Drops | Sort::Connections => 0,
    }
}

/// Keeps the largest of what it is offered; of equal ones those with the lower address.
struct Largest {
    wanted: usize,
    heap: BinaryHeap<Reverse<(u64, Reverse<u32>)>>,
}

impl Largest {
    fn new(wanted: usize) -> Self {
        Self { wanted, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, value: u64, address: u32) {
        let offered = Reverse((value, Reverse(address)));
        if self.heap.len() < self.wanted {
            self.heap.push(offered);
        } else if let Some(mut least) = self.heap.peek_mut()
            && offered < *least
        {
            *least = offered;
        }
    }

    fn into_addresses(self) -> Vec<Ipv4Addr> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse((_, Reverse(address)))| Ipv4Addr::from_bits(address)).collect()
    }
}
