//! What each client sent since the last look: a walk over the hot half of the client table.
//!
//! A million clients are 64 MB of that half; what was counted at the last look is kept in an array of its own, 16 bytes a place. The
//! details, which are four times as much, are looked at only where something was dropped for a limit since.
//!
//! Between two looks a slow client sends one packet or none: what it asks for is a mean over the latest looks. Of a fast one it
//! is what was counted since the last look.

use std::sync::atomic::Ordering::Relaxed;

use relay_abi::client::{self, ClientDetails, DETAILED, DropClass};
use relay_abi::limit::DUE_SHIFT;
use relay_abi::limits::SERVICES;

use super::table::Table;
use super::totals::ServiceTotals;

/// Parts of one, in which it is said how much a client asked for.
pub const SCALE: u64 = 256;
/// The mean of a slow client is taken over about so many looks.
const MEAN: u32 = 16;
/// Packets between two looks from which on a client is a fast one.
const FAST: u64 = 8;
/// The length of a packet, for that.
const PACKET: u64 = 1000;

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

    const fn fast(self) -> u64 {
        match self {
            Self::Packets => FAST,
            Self::Bytes => FAST * PACKET,
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
    /// Whether there is a limit: who has nothing held against it then is never limited.
    pub limited: bool,
}

/// A client that sent something since the last look, or shortly before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Index of the service.
    pub service: u8,
    /// What was forwarded since the last look, in the service's unit.
    pub forwarded: u64,
    /// What it asks for between two looks, in parts of [`SCALE`]: what is forwarded, and what is dropped for its limit. Dropped bytes are
    /// estimated: dropped packets times the mean length of the client's forwarded ones.
    pub asked: u64,
    /// Whether the client is never limited.
    pub exempt: bool,
}

/// Remembers the last look.
#[derive(Debug, Default)]
pub struct Meter {
    marks: Vec<Mark>,
    /// Due time of the last look; `None` before the first.
    looked: Option<u64>,
    /// Looks since the first.
    looks: u32,
}

/// A place at the last look: whose it was, and its counts, modulo 2^32.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    address: u32,
    forwarded: u32,
    dropped: u32,
    /// What was asked for at the latest looks, in parts of [`SCALE`]; of each look a [`MEAN`]th less with each one that follows.
    recent: u32,
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
        self.looks = if looked.is_none() { 0 } else { self.looks + 1 };
        let share = share_of_recent(self.looks);
        self.marks.resize(table.places(), Mark::default());
        for (mark, (state, client, details)) in self.marks.iter_mut().zip(table.places_and_states()) {
            let service = client::service(state);
            let Some(measured) = services[usize::from(service)].filter(|_| state != 0) else { continue };
            let address = state as u32;
            // Who has taken the place has done so since: all its counts are new.
            if mark.address != address {
                *mark = Mark { address, ..Mark::default() };
            }
            let unit = measured.unit;
            let counts = client.counts.load(Relaxed);
            let forwarded = advance(&mut mark.forwarded, unit, counts);
            let Some(looked) = looked else {
                dropped(&mut mark.dropped, unit, counts, details);
                mark.recent = 0;
                continue;
            };
            // A packet is dropped for a client's limit only while its due time is further ahead than the burst, and due times never
            // go back.
            let due = client.dues[0].load(Relaxed).max(client.dues[1].load(Relaxed));
            let exceeded = state & DETAILED != 0 && due > looked.saturating_add(measured.burst);
            let dropped = if exceeded { dropped(&mut mark.dropped, unit, counts, details) } else { 0 };
            let exempt = measured.limited && forwarded > 0 && due <= looked;
            let asked = if exempt { 0 } else { mark.asked(forwarded + dropped, unit, share) };
            if forwarded > 0 || asked > 0 {
                each(Sent { service, forwarded, asked, exempt });
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

impl Mark {
    /// What a client asks for that asked for so much since the last look.
    fn asked(&mut self, amount: u64, unit: Unit, share: f64) -> u64 {
        let scaled = amount.saturating_mul(SCALE);
        let added = u32::try_from(scaled).unwrap_or(u32::MAX);
        self.recent = (self.recent - self.recent.div_ceil(MEAN)).saturating_add(added);
        if amount >= unit.fast() { scaled } else { (f64::from(self.recent) * share) as u64 }
    }
}

/// What the recent part is to be multiplied by for a mean, after so many looks.
fn share_of_recent(looks: u32) -> f64 {
    let left = 1.0 - 1.0 / f64::from(MEAN);
    let weights = (1.0 - left.powi(looks.min(1000).cast_signed())) * f64::from(MEAN);
    1.0 / weights.max(1.0)
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
