//! The way to a client: the kernel's routes and neighbours, and what is done where they have a gap.
//!
//! Traffic that XDP sends never refreshes a neighbour entry, so that a relay which only dropped would never recover:
//! the last known address bridges the gap, and the controller is asked to resolve the next hop anew.

use relay_abi::bucket::Bucket;
use relay_abi::limits::{ICMP_BUCKETS, REPORT_BUCKETS};
use relay_abi::neighbour::NeighbourKey;
use relay_abi::{Reason, Tally};

use crate::Tables;
use crate::tables::{Route, RouteQuery};
use crate::wire::ethernet::{self, Stations};
use crate::wire::ipv4::Header;

/// Interface and link-layer addresses on the way of a packet to its client.
#[inline(always)]
pub(super) fn to_client<T: Tables>(tables: &T, ip: &Header) -> Result<(u32, Stations), Reason> {
    let query = RouteQuery {
        source: ip.source(),
        destination: ip.destination(),
        total_length: ip.total_length(),
        protocol: ip.protocol().0,
        tos: ip.tos(),
    };
    match tables.route(&query) {
        Route::Hop { ifindex, stations } => Ok((ifindex, stations)),
        Route::NoNeighbour(key) => {
            report(tables, &key);
            let neighbour = tables.neighbour(&key).ok_or(Reason::NoNeighbour)?;
            tables.tally(Tally::NeighbourFallback);
            Ok((key.ifindex, ethernet::to(&neighbour)))
        }
        Route::TooBig => Err(Reason::ClientLinkMtu),
        Route::ForwardingDisabled => Err(Reason::ForwardingDisabled),
        Route::Unreachable => Err(Reason::NoRoute),
    }
}

/// Reports a missing neighbour, but the same one (and those that share its bucket) not more often than every few ticks.
#[inline(always)]
fn report<T: Tables>(tables: &T, key: &NeighbourKey) {
    let slot = (key.address.value().wrapping_mul(0x9e37_79b1) >> 16) % REPORT_BUCKETS;
    let index = ICMP_BUCKETS + slot;
    let now = tables.jiffies();
    let Some(bucket) = tables.bucket(index) else { return };
    if now.wrapping_sub(bucket.refilled) < REPORT_JIFFIES {
        return;
    }
    if tables.report_missing(key) {
        tables.tally(Tally::NeighbourReported);
        tables.set_bucket(index, Bucket { refilled: now, ..bucket });
    }
}

const REPORT_JIFFIES: u64 = 8;
