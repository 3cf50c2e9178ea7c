//! The client table: finding a client of a service, giving it a place, counting for it.

use relay_abi::client::{
    CARRY, Client, ClientDetails, ClientSet, DETAILED, DropClass, KEY_BITS, VERIFIED, age, bytes, count,
    packets, place, seen, set, state,
};
use relay_abi::image::Globals;
use relay_abi::limits::CLIENT_WAYS;
use relay_abi::{Tally, client};

use super::enter::enter;
use super::limit::Demand;
use super::parse::{Packet, parse};
use crate::{Apart, Frame, Tables};

/// A client's place, and its state as it was found.
#[derive(Clone, Copy)]
pub(super) struct Place<'table> {
    pub(super) client: &'table Client,
    pub(super) number: u32,
    pub(super) word: u64,
}

impl Place<'_> {
    #[inline(always)]
    pub(super) const fn verified(&self) -> bool {
        self.word & VERIFIED != 0
    }
}

/// The service in a key.
#[inline(always)]
pub(super) const fn service_of(key: u64) -> u16 {
    (key >> 32) as u16 & 0xff
}

/// Finds a client or gives it a place; the number of its place plus 1, or 0.
#[inline(never)]
pub(super) fn find_or_enter<T: Tables>(tables: &T, globals: &Globals, key: u64) -> u32 {
    if let Some(place) = find(tables, globals, key) {
        return place.number + 1;
    }
    if !enter(tables, globals, key, 0) {
        return 0;
    }
    find(tables, globals, key).map_or(0, |place| place.number + 1)
}

/// The client at a place that [`find_or_enter`] gave.
#[inline(always)]
pub(super) fn placed<T: Tables>(tables: &T, place: u32) -> Option<&Client> {
    let place = (tables.forgotten(place as u64) as u32).wrapping_sub(1);
    let set = tables.client_set(place / CLIENT_WAYS as u32)?;
    set.0.get(place as usize & (CLIENT_WAYS - 1))
}

/// Finds a client.
#[inline(always)]
pub(super) fn find<'table, T: Tables>(
    tables: &'table T,
    globals: &Globals,
    key: u64,
) -> Option<Place<'table>> {
    let number = set(key, globals.table_seed, globals.client_mask);
    let places = tables.client_set(number)?;
    let mut found = 0;
    for (way, client) in (1..).zip(&places.0) {
        found |= tables.equal(tables.load(&client.state) & KEY_BITS, key) as usize * way;
    }
    if found == 0 {
        return None;
    }
    at(tables, places, number, found - 1)
}

#[inline(always)]
pub(super) fn at<'table, T: Tables>(
    tables: &T,
    places: &'table ClientSet,
    number: u32,
    way: usize,
) -> Option<Place<'table>> {
    let client = places.0.get(way & (CLIENT_WAYS - 1))?;
    Some(Place { client, number: place(number, way as u32), word: tables.load(&client.state) })
}

/// Counts a packet of the client at a place that is forwarded.
#[inline(always)]
pub(super) fn forwarded<T: Tables>(tables: &T, globals: &Globals, client: &Client, key: u64, demand: Demand) {
    let counts = tables.add(&client.counts, count(demand.bytes()));
    let tick = tables.jiffies() >> globals.tick_shift;
    let late = seen(tables.load(&client.state)) != tick % client::TICKS;
    if demand.connection() || late || counts & CARRY != 0 {
        seldom(tables, globals, key, demand.connection());
    }
}

/// What is not done with every packet: the client was seen, its counts are carried, its connection counted.
#[inline(never)]
fn seldom<T: Tables>(tables: &T, globals: &Globals, key: u64, syn: bool) {
    let Some(place) = find(tables, globals, key) else {
        // It has lost its place since.
        if let (true, Some(counters)) = (syn, tables.service_counters(service_of(key))) {
            bump(tables, &counters.gone.connections, 1);
        }
        return;
    };
    let Some(details) = detailed(tables, globals, &place) else { return };
    if syn {
        tables.add(&details.connections, 1);
    }
    let counts = tables.load(&place.client.counts);
    if counts & CARRY != 0 {
        let counts = tables.exchange(&place.client.counts, 0);
        tables.add(&details.packets, packets(counts));
        tables.add(&details.bytes, bytes(counts));
    }
}

/// The details of a client, which from now on hold something; notes that it was seen.
#[inline(always)]
fn detailed<'table, T: Tables>(
    tables: &'table T,
    globals: &Globals,
    place: &Place<'_>,
) -> Option<&'table ClientDetails> {
    let details = tables.client_details(place.number)?;
    let tick = tables.jiffies() >> globals.tick_shift;
    let new = state(place.word & KEY_BITS, place.word | DETAILED, tick);
    if new != place.word && tables.swap(&place.client.state, place.word, new) && place.word & DETAILED == 0 {
        tables.store(&details.seen, tick.wrapping_sub(age(place.word, tick)) & 0xffff_ffff);
    }
    // Lost to another CPU, which has done the same or given the place away.
    Some(details)
}

/// Counts a packet of `length` bytes that is not forwarded, in the class with a number: for the client if it has a place, else for its service.
#[inline(always)]
pub fn dropped<T: Apart>(tables: &T, key: u64, class: u32, length: u16) {
    let Some(image) = tables.image() else { return };
    let globals = &image.globals;
    let class = class as usize & 15;
    let Some(counters) = tables.service_counters(service_of(key)) else { return };
    bump(tables, &counters.dropped_packets, 1);
    bump(tables, &counters.dropped_bytes, length as u64);
    let details = match find(tables, globals, key) {
        Some(place) => detailed(tables, globals, &place),
        None => None,
    };
    match details {
        Some(details) => {
            if let Some(drops) = details.drops.get(class) {
                tables.add(drops, 1);
            }
            let tick = tables.jiffies() >> globals.tick_shift;
            let first = tables.load(&details.seen) & 0xffff_ffff;
            tables.store(&details.seen, first | tick << 32);
        }
        None => {
            if let Some(drops) = counters.gone.drops.get(class) {
                bump(tables, drops, 1);
            }
        }
    }
}

/// Takes back that a packet to the service with an index was forwarded: a later step found that it cannot be. With `answered`, its length, an
/// ICMP error to its sender has taken its place in the frame; else it is 0.
#[inline(always)]
pub fn not_forwarded<F: Frame, T: Apart>(frame: &F, tables: &T, service: u16, answered: u16) {
    let Some(image) = tables.image() else { return };
    let Ok(Packet { ip, .. }) = parse(frame) else { return };
    let globals = &image.globals;
    let (address, length) =
        if answered == 0 { (ip.source(), ip.total_length()) } else { (ip.destination(), answered) };
    let key = client::key(address, service);
    let Some(counters) = tables.service_counters(service_of(key)) else { return };
    let less = (length as u64).wrapping_neg();
    bump(tables, &counters.forward_packets, u64::MAX);
    bump(tables, &counters.forward_bytes, less);
    let details = match find(tables, globals, key) {
        Some(place) => detailed(tables, globals, &place),
        None => None,
    };
    // Counts in the details and in the place are added up by whoever reads them: one may be below zero.
    match details {
        Some(details) => {
            tables.add(&details.packets, u64::MAX);
            tables.add(&details.bytes, less);
        }
        None => {
            bump(tables, &counters.gone.packets, u64::MAX);
            bump(tables, &counters.gone.bytes, less);
        }
    }
    tables.dropped(key, DropClass::Other as u32, length);
}

/// Counts a packet of the service on its way to the client; with `proves`, the client has proved itself by what it answers.
#[inline(always)]
pub(super) fn returned<T: Tables>(tables: &T, globals: &Globals, key: u64, length: u16, proves: bool) {
    let Some(counters) = tables.service_counters(service_of(key)) else { return };
    bump(tables, &counters.return_packets, 1);
    bump(tables, &counters.return_bytes, length as u64);
    let mut found = find(tables, globals, key);
    if found.is_none() && proves && enter(tables, globals, key, VERIFIED) {
        tables.tally(Tally::ClientVerified);
        found = find(tables, globals, key);
    }
    let details = match &found {
        Some(place) => {
            let details = detailed(tables, globals, place);
            if proves && !place.verified() {
                verify(tables, place);
            }
            details
        }
        None => None,
    };
    match details {
        Some(details) => {
            tables.add(&details.return_packets, 1);
            tables.add(&details.return_bytes, length as u64);
        }
        None => {
            bump(tables, &counters.gone.return_packets, 1);
            bump(tables, &counters.gone.return_bytes, length as u64);
        }
    }
}

/// Notes that a client has proved itself.
#[inline(always)]
fn verify<T: Tables>(tables: &T, place: &Place<'_>) {
    let word = tables.load(&place.client.state);
    let same = (word ^ place.word) & KEY_BITS == 0;
    if same && word & VERIFIED == 0 && tables.swap(&place.client.state, word, word | VERIFIED) {
        tables.tally(Tally::ClientVerified);
    }
}

/// Notes that a client has proved itself where it is, or gives it a place.
#[inline(never)]
pub(super) fn proved<T: Tables>(tables: &T, globals: &Globals, key: u64) {
    match find(tables, globals, key) {
        Some(place) => verify(tables, &place),
        None => {
            if enter(tables, globals, key, VERIFIED) {
                tables.tally(Tally::ClientVerified);
            }
        }
    }
}

/// Adds to a count of this CPU alone.
#[inline(always)]
pub(super) fn bump<T: Tables>(tables: &T, word: &core::sync::atomic::AtomicU64, value: u64) {
    tables.store(word, tables.load(word).wrapping_add(value));
}
