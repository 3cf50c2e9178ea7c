//! How often a missing neighbour is asked for: the packet path reports it for every packet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use relay_abi::neighbour::NeighbourKey;

/// Least time between two questions for one neighbour.
const INTERVAL: Duration = Duration::from_millis(250);
/// Neighbours remembered; on a full table of recent ones further ones wait.
const CAPACITY: usize = 4096;

/// Admits each neighbour once in a while.
#[derive(Debug, Default)]
pub struct MissLimit {
    asked: HashMap<NeighbourKey, Instant>,
}

impl MissLimit {
    /// Whether to ask for this neighbour now.
    pub fn admit(&mut self, key: NeighbourKey, now: Instant) -> bool {
        if self.asked.get(&key).is_some_and(|asked| now.duration_since(*asked) < INTERVAL) {
            return false;
        }
        if self.asked.len() >= CAPACITY {
            self.asked.retain(|_, asked| now.duration_since(*asked) < INTERVAL);
        }
        if self.asked.len() >= CAPACITY {
            return false;
        }
        self.asked.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use relay_abi::Ipv4;

    use super::*;

    fn key(number: u32) -> NeighbourKey {
        NeighbourKey { ifindex: 2, address: Ipv4(number.to_be_bytes()) }
    }

    #[test]
    fn a_neighbour_is_asked_for_once_an_interval() {
        let mut limit = MissLimit::default();
        let now = Instant::now();
        assert!(limit.admit(key(1), now));
        assert!(!limit.admit(key(1), now + Duration::from_millis(249)));
        assert!(limit.admit(key(2), now));
        assert!(limit.admit(key(1), now + INTERVAL));
    }

    #[test]
    fn a_scan_of_missing_neighbours_costs_bounded_memory() {
        let mut limit = MissLimit::default();
        let now = Instant::now();
        let admitted = (0..10_000).filter(|number| limit.admit(key(*number), now)).count();
        assert_eq!(admitted, CAPACITY);
        assert!(limit.admit(key(20_000), now + INTERVAL));
    }
}
