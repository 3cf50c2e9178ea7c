//! The client table itself: reading one place, finding a client, walking over all.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, fence};

use relay_abi::Ipv4;
use relay_abi::client::{
    self, BUSY, Client, ClientDetails, ClientSet, DETAILED, DropClass, KEY_BITS, VERIFIED,
};
use relay_abi::limits::CLIENT_WAYS;

use super::counts::Counts;

/// Attempts to read a place that changes while it is read.
const ATTEMPTS: u32 = 4;

/// The two arrays of a client table.
#[derive(Clone, Copy, Debug)]
pub struct Table<'map> {
    sets: &'map [ClientSet],
    details: &'map [ClientDetails],
    seed: u64,
}

/// A client of a service, as its place held it at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Number of the place.
    pub place: u32,
    /// The state word.
    pub state: u64,
    /// What it sent and received.
    pub counts: Counts,
    /// Due times of packets, bytes and connections (see [`relay_abi::limit`]).
    pub due: [u64; 3],
    /// Tick of the first packet, modulo 2^32; `None`: nobody has noted it yet, for that was in the tick it was last seen in.
    pub first_seen: Option<u32>,
    /// Tick of the last dropped packet, modulo 2^32; 0: none was dropped.
    pub last_dropped: u32,
}

impl Entry {
    /// The client.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        address(self.state)
    }

    /// Index of the service.
    #[must_use]
    pub const fn service(&self) -> u8 {
        client::service(self.state)
    }

    /// Whether the client has proved that it receives at its address.
    #[must_use]
    pub const fn verified(&self) -> bool {
        self.state & VERIFIED != 0
    }
}

/// The client in a state word.
pub(super) fn address(state: u64) -> Ipv4Addr {
    client::address(state).0.into()
}

impl<'map> Table<'map> {
    /// Takes the values of `CLIENTS` and `CLIENT_DETAILS`, and the seed they were placed with.
    #[must_use]
    pub const fn new(sets: &'map [ClientSet], details: &'map [ClientDetails], seed: u64) -> Self {
        Self { sets, details, seed }
    }

    /// Places, used or not.
    #[must_use]
    pub const fn places(&self) -> usize {
        self.sets.len() * CLIENT_WAYS
    }

    /// The client in a place.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<Entry> {
        let number = place as usize;
        let client = self.sets.get(number / CLIENT_WAYS)?.0.get(number % CLIENT_WAYS)?;
        read(place, client, self.details.get(number)?)
    }

    /// A client of a service, if it has a place.
    #[must_use]
    pub fn find(&self, address: Ipv4Addr, service: u8) -> Option<Entry> {
        let mask = u32::try_from(self.sets.len().checked_sub(1)?).ok()?;
        let key = client::key(Ipv4(address.octets()), service.into());
        let set = client::set(key, self.seed, mask);
        (0..CLIENT_WAYS as u32)
            .filter_map(|way| self.at(client::place(set, way)))
            .find(|entry| (entry.state ^ key) & KEY_BITS == 0)
    }

    /// Every client of every service.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<'map> {
        let places = self.sets.iter().flat_map(|set| &set.0).zip(self.details);
        (0..).zip(places).filter_map(|(place, (client, details))| read(place, client, details))
    }

    /// Places in use, and those of them whose client has proved itself.
    #[must_use]
    pub fn count(&self) -> (u64, u64) {
        self.used().fold((0, 0), |(used, verified), (state, ..)| {
            (used + 1, verified + u64::from(state & VERIFIED != 0))
        })
    }

    /// The clients of which something was dropped in this tick (modulo 2^32) or later.
    pub fn dropped_since(&self, tick: u32) -> impl Iterator<Item = Entry> + use<'map> {
        let places = self.sets.iter().flat_map(|set| &set.0).zip(self.details);
        (0..).zip(places).filter_map(move |(place, (client, details))| {
            let state = client.state.load(Relaxed);
            if !holds_client(state) || state & DETAILED == 0 {
                return None;
            }
            let dropped = (details.seen.load(Relaxed) >> 32) as u32;
            let recent = dropped != 0 && dropped.wrapping_sub(tick).cast_signed() >= 0;
            recent.then(|| read(place, client, details)).flatten()
        })
    }

    /// The places that are in use, with their state words: for walks that look at little of each.
    pub(super) fn used(&self) -> impl Iterator<Item = (u64, &'map Client, &'map ClientDetails)> + use<'map> {
        let places = self.sets.iter().flat_map(|set| &set.0).zip(self.details);
        places.filter_map(|(client, details)| {
            let state = client.state.load(Relaxed);
            holds_client(state).then_some((state, client, details))
        })
    }

    /// Every place with its state word, zero where there is no client.
    pub(super) fn places_and_states(
        &self,
    ) -> impl Iterator<Item = (u64, &'map Client, &'map ClientDetails)> + use<'map> {
        let places = self.sets.iter().flat_map(|set| &set.0).zip(self.details);
        places.map(|(client, details)| {
            let state = client.state.load(Relaxed);
            (if holds_client(state) { state } else { 0 }, client, details)
        })
    }

    /// Every place, whatever it holds: counts are exact only over all of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Counts)> + use<'map> {
        let places = self.sets.iter().flat_map(|set| &set.0).zip(self.details);
        places.map(|(client, details)| (client.state.load(Relaxed), counts(client, details)))
    }
}

const fn holds_client(state: u64) -> bool {
    state != 0 && state != BUSY
}

/// Reads a place. The state is read before and after: a place that changes hands is read again.
fn read(place: u32, client: &Client, details: &ClientDetails) -> Option<Entry> {
    for _ in 0..ATTEMPTS {
        let before = client.state.load(Acquire);
        if !holds_client(before) {
            return None;
        }
        let seen = details.seen.load(Relaxed);
        let entry = Entry {
            place,
            state: before,
            counts: counts(client, details),
            due: [&client.dues[0], &client.dues[1], &details.connections_due].map(|due| due.load(Relaxed)),
            first_seen: (before & DETAILED != 0 && seen as u32 != 0).then_some(seen as u32),
            last_dropped: if before & DETAILED == 0 { 0 } else { (seen >> 32) as u32 },
        };
        fence(Acquire);
        let after = client.state.load(Relaxed);
        if (before ^ after) & KEY_BITS == 0 {
            return Some(Entry { state: after, ..entry });
        }
    }
    None
}

fn counts(client: &Client, details: &ClientDetails) -> Counts {
    let (packets, bytes) = forwarded(client, details);
    let mut drops = [0; DropClass::COUNT];
    for (to, from) in drops.iter_mut().zip(&details.drops) {
        *to = from.load(Relaxed);
    }
    Counts {
        packets,
        bytes,
        return_packets: details.return_packets.load(Relaxed),
        return_bytes: details.return_bytes.load(Relaxed),
        connections: details.connections.load(Relaxed),
        drops,
    }
}

/// Packets and bytes forwarded: those in the place and those carried to the details. Read again when they were just being carried.
pub(super) fn forwarded(client: &Client, details: &ClientDetails) -> (u64, u64) {
    let mut latest = (0, 0);
    for _ in 0..ATTEMPTS {
        let before = client.counts.load(Acquire);
        let load = |word: &AtomicU64| word.load(Acquire);
        let carried = (load(&details.packets), load(&details.bytes));
        latest =
            (carried.0.wrapping_add(client::packets(before)), carried.1.wrapping_add(client::bytes(before)));
        if client.counts.load(Relaxed) >= before {
            break;
        }
    }
    latest
}
