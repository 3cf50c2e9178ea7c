//! The last drops of each client, for a bounded number of clients.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::record::{Dropped, rfc3339};

/// Clients remembered; the one whose last drop is longest ago goes first.
const CLIENTS: usize = 10_000;
/// Combinations of reason and service remembered of a client.
const KINDS: usize = 16;

/// What was seen of a client's drops for one reason at one service. Samples: the client table has the counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsSeen {
    /// Label of the reason.
    pub reason: String,
    /// Name of the service, if the packets told.
    pub service: Option<Arc<str>>,
    /// The first one remembered.
    #[serde(with = "rfc3339")]
    pub first_time: SystemTime,
    /// The last one.
    #[serde(with = "rfc3339")]
    pub last_time: SystemTime,
    /// How many of them were reported.
    pub events: u64,
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    clients: HashMap<Ipv4Addr, Client>,
    /// Clients by when they were last touched.
    order: BTreeMap<u64, Ipv4Addr>,
    touches: u64,
}

#[derive(Debug)]
struct Client {
    touched: u64,
    drops: Vec<DropsSeen>,
}

impl Recent {
    pub(super) fn note(&mut self, dropped: &Dropped, time: SystemTime) {
        let Some(address) = dropped.client else { return };
        self.touches += 1;
        let touched = self.touches;
        let client = self.clients.entry(address).or_insert_with(|| Client { touched, drops: Vec::new() });
        self.order.remove(&client.touched);
        self.order.insert(touched, address);
        client.touched = touched;
        client.note(dropped, time);
        if self.clients.len() > CLIENTS
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.clients.remove(&oldest);
        }
    }

    /// The client's drops, the latest first.
    pub(super) fn of(&self, address: Ipv4Addr) -> Vec<DropsSeen> {
        let mut drops = self.clients.get(&address).map_or_else(Vec::new, |client| client.drops.clone());
        drops.sort_by_key(|seen| std::cmp::Reverse(seen.last_time));
        drops
    }
}

impl Client {
    fn note(&mut self, dropped: &Dropped, time: SystemTime) {
        let same = |seen: &&mut DropsSeen| seen.reason == dropped.reason && seen.service == dropped.service;
        if let Some(seen) = self.drops.iter_mut().find(same) {
            seen.last_time = seen.last_time.max(time);
            seen.events += 1;
            return;
        }
        if self.drops.len() >= KINDS {
            let oldest = (0..KINDS).min_by_key(|index| self.drops[*index].last_time).unwrap_or(0);
            self.drops.swap_remove(oldest);
        }
        self.drops.push(DropsSeen {
            reason: dropped.reason.clone().into_owned(),
            service: dropped.service.clone(),
            first_time: time,
            last_time: time,
            events: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::sample::{at, dropped};
    use super::*;

    fn client(number: u32) -> [u8; 4] {
        (0x0a00_0000 + number).to_be_bytes()
    }

    #[test]
    fn drops_of_one_kind_are_counted_together() {
        let mut recent = Recent::default();
        for (seconds, reason) in [(1, "blocked"), (2, "land"), (5, "blocked")] {
            recent.note(&dropped(reason, client(1)), at(seconds));
        }
        recent.note(&dropped("blocked", client(2)), at(9));
        let seen = recent.of(client(1).into());
        assert_eq!(seen.len(), 2);
        let (blocked, land) = (&seen[0], &seen[1]);
        assert_eq!((blocked.reason.as_str(), blocked.events), ("blocked", 2));
        assert_eq!((blocked.first_time, blocked.last_time), (at(1), at(5)));
        assert_eq!((land.reason.as_str(), land.events), ("land", 1));
        assert!(recent.of(client(3).into()).is_empty());
    }

    #[test]
    fn the_client_that_was_quiet_longest_is_forgotten() {
        let mut recent = Recent::default();
        recent.note(&dropped("land", client(0)), at(0));
        recent.note(&dropped("land", client(1)), at(0));
        for number in 2..=u32::try_from(CLIENTS).unwrap() {
            // This one stays in use.
            recent.note(&dropped("land", client(0)), at(1));
            recent.note(&dropped("land", client(number)), at(1));
        }
        assert_eq!((recent.clients.len(), recent.order.len()), (CLIENTS, CLIENTS));
        assert!(recent.of(client(1).into()).is_empty());
        assert_eq!(recent.of(client(0).into())[0].events, u64::try_from(CLIENTS).unwrap());
    }

    #[test]
    fn a_client_is_remembered_for_so_many_reasons() {
        let mut recent = Recent::default();
        for (number, reason) in (0..).zip(relay_abi::Reason::ALL.iter().take(KINDS + 3)) {
            recent.note(&dropped(reason.label(), client(1)), at(number));
        }
        let seen = recent.of(client(1).into());
        assert_eq!(seen.len(), KINDS);
        assert_eq!(seen[KINDS - 1].reason, relay_abi::Reason::ALL[3].label());
    }
}
