//! What each client sent since the last look: a walk over the hot half of the client table.
//!
//! A million clients are 64 MB of that half; what was counted at the last look is kept in an array of its own, 12 bytes a place. The
//! details, which are four times as much, are looked at only where something was dropped for a limit since.

use std::sync::atomic::Ordering::Relaxed;

use relay_abi::client::{self, ClientDetails, DETAILED, DropClass};
use relay_abi::limit::DUE_SHIFT;
use relay_abi::limits::SERVICES;

use super::table::Table;
use super::totals::ServiceTotals;

/// In what a service's clients are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Packets.
    Packets,
    /// Bytes of IPv4 packets.
    Bytes,
}

impl Unit {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
        }
    }

    /// What of a service's totals is forwarded in it.
    #[must_use]
    pub const fn of(self, totals: &ServiceTotals) -> u64 {
        match self {
            Self::Packets => totals.forward_packets,
            Self::Bytes => totals.forward_bytes,
        }
    }

    const fn class(self) -> DropClass {
        match self {
            Self::Packets => DropClass::LimitPackets,
            Self::Bytes => DropClass::LimitBytes,
        }
    }
}

/// What of a service is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// In which unit.
    pub unit: Unit,
    /// How far its limits may be ahead of now, as in [`relay_abi::image::Service::burst`].
    pub burst: u64,
}

/// What a client sent since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Index of the service.
    pub service: u8,
    /// What was forwarded, in the service's unit.
    pub forwarded: u64,
    /// What was dropped for the client's limit. Dropped bytes are estimated: dropped packets times the mean length of the client's
    /// forwarded ones.
    pub dropped: u64,
    /// Whether something was held against its limits: not so of clients that are never limited, nor while there is no limit.
    pub charged: bool,
}

/// Remembers the last look.
#[derive(Debug, Default)]
pub struct Meter {
    marks: Vec<Mark>,
    /// Due time of the last look; `None` before the first.
    looked: Option<u64>,
}

/// A place at the last look: whose it was, and its counts, modulo 2^32.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    address: u32,
    forwarded: u32,
    dropped: u32,
}

impl Meter {
    /// Looks at every client of the services that are measured. The first look only remembers.
    pub fn look(
        &mut self,
        table: &Table<'_>,
        services: &[Option<Measured>; SERVICES],
        jiffies: u64,
        mut each: impl FnMut(Sent),
    ) {
        let now = jiffies << DUE_SHIFT;
        let looked = self.looked.replace(now);
        self.marks.resize(table.places(), Mark::default());
        for (mark, (state, client, details)) in self.marks.iter_mut().zip(table.places_and_states()) {
            let service = client::service(state);
            let Some(measured) = services[usize::from(service)].filter(|_| state != 0) else { continue };
            let address = state as u32;
            // Who has taken the place has done so since: all its counts are new.
            if mark.address != address {
                *mark = Mark { address, ..Mark::default() };
            }
            let counts = client.counts.load(Relaxed);
            let forwarded = advance(&mut mark.forwarded, measured.unit, counts);
            let Some(looked) = looked else {
                dropped(&mut mark.dropped, measured.unit, counts, details);
                continue;
            };
            // A packet is dropped for a client's limit only while its due time is further ahead than the burst, and due times never
            // go back.
            let due = client.dues[0].load(Relaxed).max(client.dues[1].load(Relaxed));
            let exceeded = state & DETAILED != 0 && due > looked.saturating_add(measured.burst);
            let dropped =
                if exceeded { dropped(&mut mark.dropped, measured.unit, counts, details) } else { 0 };
            if forwarded + dropped > 0 {
                each(Sent { service, forwarded, dropped, charged: due > looked });
            }
        }
    }

    /// The next look only remembers again.
    pub fn pause(&mut self) {
        self.looked = None;
    }

    /// Forgets the last look, and gives its memory back.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

fn advance(mark: &mut u32, unit: Unit, counts: u64) -> u64 {
    let count = match unit {
        Unit::Packets => client::packets(counts) as u32,
        Unit::Bytes => client::bytes(counts) as u32,
    };
    since(mark, count)
}

fn dropped(mark: &mut u32, unit: Unit, counts: u64, details: &ClientDetails) -> u64 {
    let packets = since(mark, details.drops[unit.class() as usize].load(Relaxed) as u32);
    match unit {
        Unit::Packets => packets,
        Unit::Bytes => packets * client::bytes(counts).checked_div(client::packets(counts)).unwrap_or(0),
    }
}

/// How much a count has grown. One that was carried to the details, or begun anew, has grown by what it is.
fn since(mark: &mut u32, count: u32) -> u64 {
    let before = std::mem::replace(mark, count);
    let grown = count.wrapping_sub(before);
    u64::from(if grown.cast_signed() < 0 { count } else { grown })
}
