//! Is the packet within its limits? Virtual scheduling on words that all CPUs share (see [`relay_abi::limit`]).
//!
//! All limits are looked at before any is charged. Two CPUs may both find room for the last packet; what they both charge then
//! counts against the next, so that the rate is kept.
//!
//! A word that nothing is charged to stays in the past, and what is in the past has room: so to look needs no prices.

use core::sync::atomic::AtomicU64;

use relay_abi::Reason;
use relay_abi::client::DropClass;
use relay_abi::limit::{BYTE_SHIFT, Costs, DUE_SHIFT};

use crate::Tables;

/// What a packet asks of limits, in one word: bytes (bits 0-15), a new connection (16), exempt from limits of clients and prefixes (17), the number of
/// its client's place plus 1 (32-63), or 0 where that is not known.
#[derive(Clone, Copy)]
pub(super) struct Demand(pub(super) u64);

impl Demand {
    #[inline(always)]
    pub(super) const fn new(bytes: u16, connection: bool, exempt: bool, place: u32) -> Self {
        Self(bytes as u64 | (connection as u64) << 16 | (exempt as u64) << 17 | (place as u64) << 32)
    }

    #[inline(always)]
    pub(super) const fn place(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) const fn bytes(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    pub(super) const fn connection(self) -> bool {
        self.0 >> 16 & 1 != 0
    }

    #[inline(always)]
    pub(super) const fn exempt(self) -> bool {
        self.0 >> 17 & 1 != 0
    }
}

/// What has no room: its number fits a word that functions which are not inlined hand back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Over(pub(super) u32);

impl Over {
    pub(super) const NOTHING: Self = Self(0);
    pub(super) const PACKETS: Self = Self(1);
    pub(super) const BYTES: Self = Self(2);
    pub(super) const CONNECTIONS: Self = Self(3);

    /// The class and reason of a packet over a limit of its client; with `fair`, what it is over is its fair share.
    pub(super) const fn of_client(self, fair: Self) -> (DropClass, Reason) {
        let reason = match self {
            _ if self.0 == fair.0 => Reason::FairShare,
            Self::PACKETS => Reason::LimitClientPackets,
            Self::BYTES => Reason::LimitClientBytes,
            _ => Reason::LimitClientConnections,
        };
        let class = match self {
            Self::PACKETS => DropClass::LimitPackets,
            Self::BYTES => DropClass::LimitBytes,
            _ => DropClass::LimitConnections,
        };
        (class, reason)
    }

    /// The same of its prefix.
    pub(super) const fn of_prefix(self) -> (DropClass, Reason) {
        let reason = match self {
            Self::PACKETS => Reason::LimitPrefixPackets,
            Self::BYTES => Reason::LimitPrefixBytes,
            _ => Reason::LimitPrefixConnections,
        };
        (DropClass::LimitPrefix, reason)
    }

    /// The same of the service.
    pub(super) const fn of_service(self) -> (DropClass, Reason) {
        let reason = match self {
            Self::PACKETS => Reason::LimitServicePackets,
            Self::BYTES => Reason::LimitServiceBytes,
            _ => Reason::LimitServiceConnections,
        };
        (DropClass::LimitService, reason)
    }
}

/// The time, as due times have it.
#[inline(always)]
pub(super) fn now<T: Tables>(tables: &T) -> u64 {
    tables.jiffies() << DUE_SHIFT
}

/// Whether there is a limit at all.
#[inline(always)]
pub(super) const fn any(costs: &Costs) -> bool {
    costs.packet | costs.byte | costs.connection != 0
}

/// The first due time that is after `latest`.
#[inline(always)]
pub(super) fn over<T: Tables>(
    tables: &T,
    dues: &[AtomicU64; 2],
    connections: &AtomicU64,
    latest: u64,
    connection: bool,
) -> Over {
    let [packets, bytes] = dues;
    if tables.load(packets) > latest {
        Over::PACKETS
    } else if tables.load(bytes) > latest {
        Over::BYTES
    } else if connection && tables.load(connections) > latest {
        Over::CONNECTIONS
    } else {
        Over::NOTHING
    }
}

/// Charges a packet, at least at the prices of the fair share.
#[inline(always)]
pub(super) fn charge<T: Tables>(
    tables: &T,
    [packets, bytes]: &[AtomicU64; 2],
    connections: &AtomicU64,
    costs: &Costs,
    fair: (u64, u64),
    demand: Demand,
) {
    advance(tables, packets, larger(costs.packet, fair.0));
    advance(tables, bytes, (larger(costs.byte, fair.1) * demand.bytes() as u64) >> BYTE_SHIFT);
    if demand.connection() {
        advance(tables, connections, costs.connection);
    }
}

#[inline(always)]
const fn larger(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

/// Moves a due time on. One in the past starts from now; where another CPU has just done so, its time is moved on.
#[inline(always)]
fn advance<T: Tables>(tables: &T, due: &AtomicU64, cost: u64) {
    if cost == 0 {
        return;
    }
    let (old, now) = (tables.load(due), now(tables));
    if old < now && tables.swap(due, old, now + cost) {
        return;
    }
    tables.add(due, cost);
}
