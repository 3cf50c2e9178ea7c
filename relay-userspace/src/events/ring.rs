//! The reader of the ring `EVENTS`.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

use super::clock::Clock;
use super::decode::Decoder;
use super::journal::Journal;
use crate::compile::Link;

/// Records read in one go: what else the controller does must not wait for an attack to end.
const AT_ONCE: usize = 256;

/// The ring, and where its records go.
pub struct Ring {
    ring: RingBuf<MapData>,
    decoder: Decoder,
    journal: Journal,
}

/// How far the ring was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// It is empty.
    Whole,
    /// There may be more; nothing will tell.
    Part,
}

impl Ring {
    /// Takes the ring of a relay.
    #[must_use]
    pub const fn new(ring: RingBuf<MapData>, decoder: Decoder, journal: Journal) -> Self {
        Self { ring, decoder, journal }
    }

    /// Where the records go.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Moves records into the journal, so many at most; `links` give interfaces their names.
    pub fn drain(&mut self, links: [&Link; 2]) -> Drained {
        for link in links {
            self.decoder.name_interface(link.ifindex, &link.name);
        }
        let clock = Clock::now();
        for _ in 0..AT_ONCE {
            let Some(record) = self.ring.next() else { return Drained::Whole };
            match self.decoder.decode(&record, &clock) {
                Some((time, what)) => self.journal.add(time, what),
                None => tracing::debug!("a record of {} bytes in the map EVENTS is not one", record.len()),
            }
        }
        Drained::Part
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
