//! Giving a client a place in the client table, and what becomes of who had it.

use relay_abi::Tally;
use relay_abi::client::{BUSY, ClientDetails, DETAILED, VERIFIED, age, bytes, packets, set, state};
use relay_abi::image::Globals;
use relay_abi::limits::CLIENT_WAYS;
use relay_abi::service_state::Gone;

use super::client::{Place, at, bump, service_of};
use super::limit;
use crate::Tables;

/// Finds a client or gives it a place: an unused one, else that of the unproven client which was seen least recently, and of those the
/// one that has used least of its limits. Only a client that has proved itself takes the place of one that has.
///
/// Not inlined: new clients are rare, or a flood. `flags` are those of [`client::state`].
#[inline(never)]
pub(super) fn enter<T: Tables>(tables: &T, globals: &Globals, key: u64, flags: u64) -> bool {
    let number = set(key, globals.table_seed, globals.client_mask);
    let Some(places) = tables.client_set(number) else { return false };
    let (now, tick) = (limit::now(tables), tables.jiffies() >> globals.tick_shift);
    let mut best = 0;
    for (way, client) in (0..).zip(&places.0) {
        let word = tables.load(&client.state);
        let [packets, _] = &client.dues;
        let score = score(word, age(word, tick), tables.load(packets).saturating_sub(now), flags);
        // The way goes along in the lowest bits.
        let candidate = score << 2 | way;
        if score != 0 && candidate > best {
            best = candidate;
        }
        best = tables.forgotten(best);
    }
    if best == 0 {
        return false;
    }
    let victim = tables.forgotten(best) as usize & (CLIENT_WAYS - 1);
    let Some(place) = at(tables, places, number, victim) else { return false };
    // Lost to another CPU: this packet is counted with the service, the client's next one tries again.
    if place.word == BUSY || !tables.swap(&place.client.state, place.word, BUSY) {
        return false;
    }
    if place.word != 0 {
        leave(tables, &place);
        tables.tally(Tally::ClientEvicted);
    }
    let [packets, bytes] = &place.client.dues;
    tables.store(packets, 0);
    tables.store(bytes, 0);
    tables.store(&place.client.state, state(key, flags, tick));
    tables.tally(Tally::ClientEntered);
    true
}

/// How good a place is to take, in 62 bits: 0 for one that must not be taken.
#[inline(always)]
fn score(word: u64, age: u64, debt: u64, flags: u64) -> u64 {
    const UNUSED: u64 = 1 << 61;
    const UNPROVEN: u64 = 1 << 60;
    const DEBT: u64 = (1 << 40) - 1;
    if word == 0 {
        return UNUSED;
    }
    if word == BUSY {
        return 0;
    }
    let rank = 1 + (age << 41) + (DEBT - if debt < DEBT { debt } else { DEBT });
    if word & VERIFIED == 0 {
        return rank | UNPROVEN;
    }
    if flags & VERIFIED != 0 { rank } else { 0 }
}

/// Moves the counts of a client that loses its place to its service.
#[inline(always)]
fn leave<T: Tables>(tables: &T, place: &Place<'_>) {
    let Some(counters) = tables.service_counters(service_of(place.word)) else { return };
    let gone = &counters.gone;
    let counts = tables.exchange(&place.client.counts, 0);
    bump(tables, &gone.packets, packets(counts));
    bump(tables, &gone.bytes, bytes(counts));
    bump(tables, &counters.evicted, 1);
    if place.word & DETAILED == 0 {
        return;
    }
    if let Some(details) = tables.client_details(place.number) {
        take_over(tables, gone, details);
        tables.store(&details.connections_due, 0);
        tables.store(&details.seen, 0);
    }
}

#[inline(always)]
fn take_over<T: Tables>(tables: &T, gone: &Gone, details: &ClientDetails) {
    let pairs = [
        (&gone.packets, &details.packets),
        (&gone.bytes, &details.bytes),
        (&gone.return_packets, &details.return_packets),
        (&gone.return_bytes, &details.return_bytes),
        (&gone.connections, &details.connections),
    ];
    for (to, from) in pairs {
        bump(tables, to, tables.exchange(from, 0));
    }
    for (to, from) in gone.drops.iter().zip(&details.drops) {
        bump(tables, to, tables.exchange(from, 0));
    }
}
