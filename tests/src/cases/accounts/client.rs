//! A client of a service: `far_client web verified packets=2 bytes=80 age=3 packets_due=60`.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use relay_abi::client::{
    BUSY, DETAILED, KEY_BITS, VERIFIED, address, age, bytes, key, packets, service, state,
};
use relay_abi::{Ipv4, client};

use super::{Clock, Counts, all_close, close};
use crate::cases::packet::Line;
use crate::cases::relay::Relay;
use crate::cases::world;

pub(super) const DUES: [&str; 3] = ["packets_due", "bytes_due", "connections_due"];

/// A client with a place in the table.
#[derive(Clone, Debug, Eq)]
pub struct Client {
    pub address: Ipv4Addr,
    /// Name of the service.
    pub service: String,
    pub verified: bool,
    pub counts: Counts,
    /// Ticks since it was seen.
    pub age: u64,
    /// Seconds that its packets, bytes and connections are ahead of their limits.
    pub dues: [u64; 3],
    /// What no case says: its place, and ticks since it was first seen and last dropped from, as far as the details have it.
    pub more: Option<More>,
}

/// What of a client no case says, and host and kernel agree on: but not on whether there are details, which are made when a tick ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    pub place: usize,
    /// Ticks since it was first seen, if there are details.
    pub first: Option<u64>,
    pub dropped: Option<u64>,
}

impl Client {
    /// Reads a client in words.
    pub fn read(text: &str) -> Result<Self> {
        let line = format!("client {text}");
        Line::new(&line).and_then(|line| Self::of(&line)).with_context(|| format!("read the client `{text}`"))
    }

    fn of(line: &Line<'_>) -> Result<Self> {
        let [address, service, flags @ ..] = line.words() else { bail!("a client is ADDRESS SERVICE") };
        if let Some(flag) = flags.iter().find(|flag| **flag != "verified") {
            bail!("a client is not `{flag}`");
        }
        let names = [&Counts::names()[..], &DUES, &["age"]].concat();
        line.knows(line.words(), &names)?;
        Ok(Self {
            address: world::address(address)?,
            service: (*service).to_owned(),
            verified: !flags.is_empty(),
            counts: Counts::of(line)?,
            age: line.number("age")?.unwrap_or(0),
            dues: dues(line)?,
            more: None,
        })
    }

    /// Its key in the relay's table.
    pub(super) fn key(&self, relay: &Relay) -> Result<u64> {
        Ok(key(Ipv4(self.address.octets()), relay.service_index(&self.service)?))
    }

    /// Its words in a set, and in the details.
    pub(super) fn words(&self, relay: &Relay, clock: Clock) -> Result<([u64; 4], [u64; 16])> {
        let [packets, bytes, returned @ ..] = self.counts.forwarded;
        let mut details = [0; 16];
        details[2..5].copy_from_slice(&returned);
        details[5] = clock.due(self.dues[2]);
        details[7..].copy_from_slice(&self.counts.drops);
        let (verified, detailed) = (u64::from(self.verified) * VERIFIED, details != [0; 16]);
        let tick = clock.tick() - self.age;
        if detailed {
            details[6] = tick & 0xffff_ffff;
        }
        let counts = client::count(0).wrapping_mul(packets) + bytes;
        let word = state(self.key(relay)?, verified | (u64::from(detailed) * DETAILED), tick);
        Ok(([word, counts, clock.due(self.dues[0]), clock.due(self.dues[1])], details))
    }

    /// From its words; `None` where nobody has the place.
    pub(super) fn from_words(
        place: usize,
        words: [u64; 4],
        details: [u64; 16],
        relay: &Relay,
        clock: Clock,
    ) -> Option<Self> {
        let [word, counts, packets_due, bytes_due] = words;
        if word & KEY_BITS == 0 || word == BUSY {
            return None;
        }
        let mut forwarded: [u64; 5] = std::array::from_fn(|index| details[index]);
        forwarded[0] = forwarded[0].wrapping_add(packets(counts));
        forwarded[1] = forwarded[1].wrapping_add(bytes(counts));
        // None where the kernel's clock was ahead of the guess of it.
        let since = |tick: u64| {
            Some(clock.tick().wrapping_sub(tick) as u32).filter(|ago| *ago < 1 << 31).map_or(0, u64::from)
        };
        let (first, dropped) = (details[6] & 0xffff_ffff, details[6] >> 32);
        Some(Self {
            address: Ipv4Addr::from(address(word).0),
            service: relay.service_name(u16::from(service(word))),
            verified: word & VERIFIED != 0,
            counts: Counts::from_words(forwarded, std::array::from_fn(|index| details[7 + index])),
            age: age(word, clock.tick()),
            dues: [packets_due, bytes_due, details[5]].map(|due| clock.ahead(due)),
            more: Some(More {
                place,
                first: (word & DETAILED != 0).then(|| since(first)),
                dropped: (dropped != 0).then(|| since(dropped)),
            }),
        })
    }

    /// Whether it is the same in what no case says as well.
    pub(super) fn same(&self, other: &Self) -> bool {
        let exact = |more: &More| (more.place, more.dropped.is_some());
        let times = |more: &More| [more.first.unwrap_or(self.age), more.dropped.unwrap_or(0)];
        let more = match (&self.more, &other.more) {
            (Some(a), Some(b)) => exact(a) == exact(b) && all_close(&times(a), &times(b)),
            _ => false,
        };
        self == other && more
    }
}

pub(super) fn dues(line: &Line<'_>) -> Result<[u64; 3]> {
    let mut dues = [0; 3];
    for (due, name) in dues.iter_mut().zip(DUES) {
        *due = line.number(name)?.unwrap_or(0);
    }
    Ok(dues)
}

pub(super) fn write_dues(f: &mut fmt::Formatter<'_>, dues: &[u64; 3]) -> fmt::Result {
    for (name, due) in DUES.into_iter().zip(dues).filter(|(_, due)| **due != 0) {
        write!(f, " {name}={due}")?;
    }
    Ok(())
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        let identity =
            |client: &Self| (client.address, client.service.clone(), client.verified, client.counts);
        identity(self) == identity(other) && close(self.age, other.age) && all_close(&self.dues, &other.dues)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", world::name(self.address), self.service)?;
        f.write_str(if self.verified { " verified" } else { "" })?;
        write!(f, "{}", self.counts)?;
        if !close(self.age, 0) {
            write!(f, " age={}", self.age)?;
        }
        write_dues(f, &self.dues)
    }
}
