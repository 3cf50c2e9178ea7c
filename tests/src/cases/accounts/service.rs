//! What is kept of a service: its own counts, those of clients without a place (`web packets=2 bytes=80`), and its dues.

use std::fmt;

use anyhow::{Context, Result, bail};

use super::{Clock, Counts, all_close};
use crate::cases::packet::Line;
use crate::cases::relay::Relay;

/// What clients without a place in the table account for, of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Name of the service.
    pub service: String,
    pub counts: Counts,
}

impl Gone {
    /// Reads the counts of a service in words.
    pub fn read(text: &str) -> Result<Self> {
        let line = format!("gone {text}");
        let read = |line: &Line<'_>| {
            let [service] = line.words() else { bail!("it is SERVICE and counts") };
            line.knows(line.words(), &Counts::names())?;
            Ok(Self { service: (*service).to_owned(), counts: Counts::of(line)? })
        };
        let context = || format!("read the counts `{text}`");
        Line::new(&line).and_then(|line| read(&line)).with_context(context)
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.service, self.counts)
    }
}

/// What is kept of a service.
#[derive(Clone, Debug, Eq)]
pub struct Service {
    pub gone: Gone,
    /// Packets and bytes forwarded, those back, new connections.
    pub forwarded: [u64; 5],
    pub dropped_packets: u64,
    pub dropped_bytes: u64,
    pub evicted: u64,
    /// Seconds that packets, bytes and connections are ahead of the limits: of the service, and of all clients without a place.
    pub dues: [u64; 6],
    /// Unproven SYNs in the tick that has some.
    pub unproven_syns: u64,
}

impl Service {
    /// From the words of its counters and its state.
    pub(super) fn from_words(
        index: u16,
        counters: &[u64; 22],
        state: &[u64; 8],
        relay: &Relay,
        clock: Clock,
    ) -> Self {
        let gone: [u64; 5] = std::array::from_fn(|field| counters[8 + field]);
        let drops = std::array::from_fn(|class| counters[13 + class]);
        Self {
            gone: Gone { service: relay.service_name(index), counts: Counts::from_words(gone, drops) },
            forwarded: std::array::from_fn(|field| counters[field]),
            dropped_packets: counters[5],
            dropped_bytes: counters[6],
            evicted: counters[7],
            dues: std::array::from_fn(|field| clock.ahead(state[field])),
            unproven_syns: state[6] & 0xffff_ffff,
        }
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        let exact = |service: &Self| {
            let Self { gone, forwarded, dropped_packets, dropped_bytes, evicted, unproven_syns, .. } =
                service;
            (gone.clone(), *forwarded, *dropped_packets, *dropped_bytes, *evicted, *unproven_syns)
        };
        exact(self) == exact(other) && all_close(&self.dues, &other.dues)
    }
}
