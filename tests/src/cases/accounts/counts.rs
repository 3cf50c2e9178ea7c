//! What is counted of a client: `packets=2 bytes=80 limit_packets=1`.

use std::fmt;

use anyhow::Result;
use relay_abi::client::DropClass;

use crate::cases::packet::Line;

const FORWARDED: [&str; 5] = ["packets", "bytes", "return_packets", "return_bytes", "connections"];

/// The counts of a client, or of those that have no place any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets and bytes forwarded, those back, new connections.
    pub forwarded: [u64; 5],
    /// Packets dropped, by class.
    pub drops: [u64; DropClass::COUNT],
}

impl Counts {
    /// The names of the settings.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        FORWARDED.into_iter().chain(DropClass::ALL.map(DropClass::label)).collect()
    }

    /// Reads the settings of a line.
    pub(super) fn of(line: &Line<'_>) -> Result<Self> {
        let mut counts = Self::default();
        for (place, name) in counts.places().zip(Self::names()) {
            *place = line.number(name)?.unwrap_or(0);
        }
        Ok(counts)
    }

    /// From words in the order of the tables.
    pub(super) fn from_words(forwarded: [u64; 5], drops: [u64; DropClass::COUNT]) -> Self {
        Self { forwarded, drops }
    }

    /// With these as well. Of a packet that was counted as forwarded and then taken back, one of the two may be below zero.
    pub fn add(&mut self, more: &Self) {
        for (place, value) in self.places().zip(more.values()) {
            *place = place.wrapping_add(value);
        }
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Packets dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    fn places(&mut self) -> impl Iterator<Item = &mut u64> {
        self.forwarded.iter_mut().chain(&mut self.drops)
    }

    fn values(&self) -> impl Iterator<Item = u64> {
        self.forwarded.into_iter().chain(self.drops)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in Self::names().into_iter().zip(self.values()).filter(|(_, value)| *value != 0) {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}
