//! What to ask the kernel, so that it keeps asking the neighbours.
//!
//! What the kernel does by itself (Linux 6.1, net/core/neighbour.c): an entry stays reachable for 15 to 45 seconds after
//! a confirmation, then it is stale, for ever, until the kernel's own stack sends to it. A neighbour whose address
//! changed silently would go unnoticed for ever. So the next hops are asked at every interval, whether reachable or
//! stale, by a unicast to the known address. A neighbour that has another address now does not answer three of those, a
//! second apart; the entry fails; we solicit, the kernel broadcasts, and the answer brings the new address: noticed within
//! one interval and three seconds, with one small packet a next hop and interval. The entry stays valid all that time.
//! Neighbours that announce a change (gratuitous ARP) are believed by the kernel at once.

use std::net::Ipv4Addr;

use super::{Entry, State};

/// Neighbours on the clients' side that are asked at most in one interval.
const CLIENTS_AT_ONCE: usize = 64;

/// What to ask the kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Find the address, by broadcast.
    Solicit,
    /// Ask the known address whether it is still there.
    Probe,
}

/// For a next hop, at every interval and when its entry changes for the worse.
#[must_use]
pub fn ask_hop(entry: Option<&Entry>) -> Option<Ask> {
    match entry.map(|entry| entry.state) {
        None | Some(State::Failed | State::Unknown) => Some(Ask::Solicit),
        Some(State::Reachable | State::Stale | State::Delay) => Some(Ask::Probe),
        // Being asked, or not to be touched: both requests would take away the permanence of a permanent entry.
        Some(State::Incomplete | State::Probe | State::Fixed) => None,
    }
}

/// For a neighbour that the packet path missed.
#[must_use]
pub fn ask_client(entry: Option<&Entry>) -> Option<Ask> {
    ask_hop(entry).filter(|ask| *ask == Ask::Solicit)
}

/// The neighbours towards clients to probe in one interval: stale ones first. Reachable ones only while they are few,
/// as on a link to one or two routers.
#[must_use]
pub fn ask_clients<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Ipv4Addr> {
    let (mut stale, mut reachable) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.state {
            State::Stale => stale.push(entry.address),
            State::Reachable | State::Delay => reachable.push(entry.address),
            _ => {}
        }
    }
    if stale.len() + reachable.len() <= CLIENTS_AT_ONCE {
        stale.append(&mut reachable);
    }
    stale.truncate(CLIENTS_AT_ONCE);
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(last: u8, state: State) -> Entry {
        Entry { ifindex: 2, address: Ipv4Addr::new(10, 0, 0, last), mac: Some([2; 6]), state }
    }

    #[test]
    fn a_lost_next_hop_is_solicited_and_a_known_one_probed() {
        assert_eq!(ask_hop(None), Some(Ask::Solicit));
        for (state, expected) in [
            (State::Failed, Some(Ask::Solicit)),
            (State::Unknown, Some(Ask::Solicit)),
            (State::Stale, Some(Ask::Probe)),
            (State::Delay, Some(Ask::Probe)),
            (State::Reachable, Some(Ask::Probe)),
            (State::Incomplete, None),
            (State::Probe, None),
        ] {
            assert_eq!(ask_hop(Some(&entry(1, state))), expected, "{state:?}");
        }
    }

    #[test]
    fn a_permanent_entry_is_never_touched() {
        let permanent = entry(1, State::Fixed);
        assert_eq!(ask_hop(Some(&permanent)), None);
        assert_eq!(ask_client(Some(&permanent)), None);
        assert!(ask_clients([&permanent].into_iter()).is_empty());
    }

    #[test]
    fn a_missed_client_is_solicited_unless_it_is_known_or_being_asked() {
        assert_eq!(ask_client(None), Some(Ask::Solicit));
        assert_eq!(ask_client(Some(&entry(1, State::Stale))), None);
        assert_eq!(ask_client(Some(&entry(1, State::Incomplete))), None);
    }

    #[test]
    fn many_clients_are_not_asked_all_at_once() {
        let few = [entry(1, State::Reachable), entry(2, State::Stale), entry(3, State::Failed)];
        let asked: Vec<u8> = ask_clients(few.iter()).iter().map(|address| address.octets()[3]).collect();
        assert_eq!(asked, [2, 1]);
        let many: Vec<Entry> = (0..200).map(|last| entry(last, State::Stale)).collect();
        assert_eq!(ask_clients(many.iter()).len(), CLIENTS_AT_ONCE);
        let mut mixed: Vec<Entry> = (0..100).map(|last| entry(last, State::Reachable)).collect();
        mixed.push(entry(200, State::Stale));
        assert_eq!(ask_clients(mixed.iter()), [Ipv4Addr::new(10, 0, 0, 200)]);
    }
}
