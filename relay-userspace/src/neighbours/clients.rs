//! Last known ways to clients: what the map `NEIGHBOURS` holds.
//!
//! Towards clients the packet path asks the kernel's routing and neighbour tables. When the neighbour is missing there
//! (collected, flushed, failed for a moment) it uses the last address known to us.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::{Entry, MacBytes, State};

/// A neighbour that does not answer fails three seconds after it is solicited; one that fails sooner was flushed.
const REAL_FAILURE: Duration = Duration::from_secs(2);

/// What to change in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This is the address now.
    Set(Ipv4Addr, MacBytes),
    /// Nobody is there.
    Remove(Ipv4Addr),
    /// Not in the map: ask for this neighbour again.
    Solicit(Ipv4Addr),
}

/// The neighbours known on the clients' side.
#[derive(Debug)]
pub struct Clients {
    capacity: usize,
    known: HashMap<Ipv4Addr, Known>,
    /// By the time they were last heard of.
    order: BTreeMap<u64, Ipv4Addr>,
    clock: u64,
}

#[derive(Debug)]
struct Known {
    mac: MacBytes,
    heard: u64,
    suspect_since: Option<Instant>,
}

impl Clients {
    /// A table of this many neighbours.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, known: HashMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// Takes over what a map that outlived its controller holds.
    pub fn remember(&mut self, address: Ipv4Addr, mac: MacBytes) {
        self.hear(address, mac);
    }

    /// Takes over an entry of the kernel's table; returns what that changes. That an entry was removed changes nothing.
    pub fn learn(&mut self, entry: &Entry, now: Instant) -> Vec<Change> {
        let address = entry.address;
        if let Some(mac) = entry.usable() {
            let mut changes = Vec::new();
            if self.hear(address, mac) != Some(mac) {
                if self.known.len() > self.capacity
                    && let Some((_, oldest)) = self.order.pop_first()
                {
                    self.known.remove(&oldest);
                    changes.push(Change::Remove(oldest));
                }
                changes.push(Change::Set(address, mac));
            }
            return changes;
        }
        if entry.state != State::Failed {
            return Vec::new();
        }
        let Some(known) = self.known.get_mut(&address) else { return Vec::new() };
        match known.suspect_since {
            Some(since) if now.duration_since(since) >= REAL_FAILURE => {
                self.order.remove(&known.heard);
                self.known.remove(&address);
                vec![Change::Remove(address)]
            }
            since => {
                known.suspect_since = since.or(Some(now));
                vec![Change::Solicit(address)]
            }
        }
    }

    /// Everything known, to write it anew.
    pub fn all(&self) -> impl Iterator<Item = (Ipv4Addr, MacBytes)> {
        self.known.iter().map(|(address, known)| (*address, known.mac))
    }

    /// Notes an address as heard of now; returns what was known before.
    fn hear(&mut self, address: Ipv4Addr, mac: MacBytes) -> Option<MacBytes> {
        self.clock += 1;
        let known = Known { mac, heard: self.clock, suspect_since: None };
        let before = self.known.insert(address, known);
        if let Some(before) = &before {
            self.order.remove(&before.heard);
        }
        self.order.insert(self.clock, address);
        before.map(|before| before.mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacBytes = [2, 0, 0, 0, 0, 1];

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, last)
    }

    fn entry(last: u8, state: State) -> Entry {
        let mac = state.is_valid().then_some(MAC);
        Entry { ifindex: 2, address: address(last), mac, state }
    }

    #[test]
    fn a_neighbour_is_written_once_and_again_when_it_changes() {
        let mut clients = Clients::new(4);
        let now = Instant::now();
        assert_eq!(clients.learn(&entry(1, State::Reachable), now), [Change::Set(address(1), MAC)]);
        assert_eq!(clients.learn(&entry(1, State::Stale), now), []);
        let moved = Entry { mac: Some([4; 6]), ..entry(1, State::Reachable) };
        assert_eq!(clients.learn(&moved, now), [Change::Set(address(1), [4; 6])]);
    }

    #[test]
    fn a_flush_removes_nothing_however_often() {
        let mut clients = Clients::new(4);
        let now = Instant::now();
        clients.learn(&entry(1, State::Reachable), now);
        for _ in 0..3 {
            assert_eq!(clients.learn(&entry(1, State::Failed), now), [Change::Solicit(address(1))]);
            assert_eq!(clients.learn(&entry(1, State::Incomplete), now), []);
        }
        assert_eq!(clients.learn(&entry(1, State::Reachable), now), []);
        assert_eq!(clients.all().count(), 1);
    }

    #[test]
    fn a_neighbour_that_does_not_answer_is_removed_after_it_was_asked_again() {
        let mut clients = Clients::new(4);
        let now = Instant::now();
        clients.learn(&entry(1, State::Reachable), now);
        assert_eq!(clients.learn(&entry(1, State::Failed), now), [Change::Solicit(address(1))]);
        let later = now + Duration::from_secs(3);
        assert_eq!(clients.learn(&entry(1, State::Failed), later), [Change::Remove(address(1))]);
        assert_eq!(clients.learn(&entry(1, State::Failed), later), []);
    }

    #[test]
    fn the_one_not_heard_of_longest_makes_room() {
        let mut clients = Clients::new(2);
        let now = Instant::now();
        clients.learn(&entry(1, State::Reachable), now);
        clients.learn(&entry(2, State::Reachable), now);
        clients.learn(&entry(1, State::Stale), now);
        let changes = clients.learn(&entry(3, State::Reachable), now);
        assert_eq!(changes, [Change::Remove(address(2)), Change::Set(address(3), MAC)]);
    }

    #[test]
    fn what_the_map_held_needs_no_writing() {
        let mut clients = Clients::new(2);
        clients.remember(address(1), MAC);
        assert_eq!(clients.learn(&entry(1, State::Reachable), Instant::now()), []);
    }
}
