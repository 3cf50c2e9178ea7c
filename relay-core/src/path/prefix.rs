//! The prefix table: what the clients of a prefix have used together.

use relay_abi::image::Globals;
use relay_abi::limit::Prefix;
use relay_abi::limits::PREFIX_WAYS;
use relay_abi::{Ipv4, Tally, client};

use super::client::service_of;
use super::limit;
use crate::Tables;

/// A prefix that is changing hands; no prefix has this key.
const BUSY: u64 = u64::MAX;

/// The number of the place of a client's prefix, less none: 0 where another CPU was faster; the next packet tries again. A prefix that is not
/// known is entered: in the place of none, else of the one in its set that has used least of its limits.
#[inline(never)]
pub(super) fn place<T: Tables>(tables: &T, globals: &Globals, key: u64) -> u32 {
    let masked = client::address(key).word() & globals.prefix_netmask;
    let key = client::key(Ipv4(masked.to_ne_bytes()), service_of(key));
    let number = client::set(key, globals.table_seed, globals.prefix_mask);
    let Some(set) = tables.prefix_set(number) else { return 0 };
    let mut found = 0;
    for (way, prefix) in (1..).zip(&set.0) {
        found |= tables.equal(tables.load(&prefix.key), key) * way;
    }
    let way = if found == 0 { enter(tables, globals, key) } else { found };
    if way == 0 { 0 } else { client::place(number, way) }
}

/// The prefix at a place.
#[inline(always)]
pub(super) fn at<T: Tables>(tables: &T, place: u32) -> Option<&Prefix> {
    let place = (tables.forgotten(place as u64) as u32).wrapping_sub(1);
    let set = tables.prefix_set(place / PREFIX_WAYS as u32)?;
    set.0.get(place as usize & (PREFIX_WAYS - 1))
}

/// Enters a prefix; the number of its way plus 1, or 0.
#[inline(never)]
fn enter<T: Tables>(tables: &T, globals: &Globals, key: u64) -> u32 {
    let Some(set) = tables.prefix_set(client::set(key, globals.table_seed, globals.prefix_mask)) else {
        return 0;
    };
    let mut best = u64::MAX;
    for (way, prefix) in (0..).zip(&set.0) {
        let word = tables.load(&prefix.key);
        let [packets, bytes] = &prefix.dues;
        let used = if word == 0 { 0 } else { tables.load(packets) | tables.load(bytes) };
        // The way goes along in the lowest bits.
        let candidate = used & !3 | way;
        if word != BUSY && candidate < best {
            best = candidate;
        }
        best = tables.forgotten(best);
    }
    if best == u64::MAX {
        return 0;
    }
    let victim = tables.forgotten(best) as usize & (PREFIX_WAYS - 1);
    let Some(prefix) = set.0.get(victim) else { return 0 };
    let word = tables.load(&prefix.key);
    if word == BUSY || !tables.swap(&prefix.key, word, BUSY) {
        return 0;
    }
    if best > limit::now(tables) {
        tables.tally(Tally::PrefixEvicted);
    }
    let [packets, bytes] = &prefix.dues;
    tables.store(packets, 0);
    tables.store(bytes, 0);
    tables.store(&prefix.connections_due, 0);
    tables.store(&prefix.key, key);
    victim as u32 + 1
}
