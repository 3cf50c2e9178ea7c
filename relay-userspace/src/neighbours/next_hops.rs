//! The next hops of peers and backends.
//!
//! Two rules. A next hop is only ever on the interface that the configuration names for its kind of target: when the
//! tunnel interface goes down, the kernel may prefer a default route through the public one, and following it would
//! show tunnel packets to the clients' side. And a link-layer address that was known stays in use until another one is
//! known: a lost neighbour, route or link costs no packet more than the wire itself loses.

use std::net::Ipv4Addr;

use super::{Facts, MacBytes, Way};
use crate::compile::{NextHops, ResolvedHop};

/// An address that packets are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// For logs: `peer egress-1`.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The interface it must be reached through.
    pub interface: String,
}

/// The targets of a configuration and what is known of the way to each.
#[derive(Clone, Debug)]
pub struct NextHopTable {
    rows: Vec<Row>,
    /// Those of all rows, sorted, without duplicates.
    ways: Vec<Way>,
}

#[derive(Clone, Debug)]
struct Row {
    target: Target,
    route: Route,
    mac: Option<MacBytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Through the right interface, to this neighbour.
    Good(Way),
    /// Through another interface.
    Elsewhere(u32),
    /// None.
    Missing,
    /// Not asked yet.
    Unasked,
}

impl NextHopTable {
    /// A table in which nothing is known. Of two targets with one address the first counts.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        let mut rows: Vec<Row> = Vec::with_capacity(targets.len());
        for target in targets {
            if !rows.iter().any(|row| row.target.address == target.address) {
                rows.push(Row { target, route: Route::Unasked, mac: None });
            }
        }
        Self { rows, ways: Vec::new() }
    }

    /// The addresses to find routes to.
    #[must_use]
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.rows.iter().map(|row| row.target.address).collect()
    }

    /// Takes over what the kernel answered for [`Self::addresses`], in their order.
    pub fn set_ways(&mut self, facts: &Facts, ways: &[Option<Way>]) {
        for (row, way) in self.rows.iter_mut().zip(ways) {
            let wanted = facts.link(&row.target.interface).map(|link| link.ifindex);
            let route = match way {
                Some(way) if Some(way.ifindex) == wanted => Route::Good(*way),
                Some(way) => Route::Elsewhere(way.ifindex),
                None => Route::Missing,
            };
            if route != row.route {
                let before = std::mem::replace(&mut row.route, route);
                row.tell(before);
            }
        }
        let good = |row: &Row| match row.route {
            Route::Good(way) => Some(way),
            _ => None,
        };
        self.ways = self.rows.iter().filter_map(good).collect();
        self.ways.sort();
        self.ways.dedup();
    }

    /// Takes over what an image in force says of a target: an address known to an earlier run is as good as one known to this
    /// one, as long as the interface is the same.
    pub fn remember(&mut self, facts: &Facts, address: Ipv4Addr, ifindex: u32, mac: MacBytes) {
        for row in self.rows.iter_mut().filter(|row| row.target.address == address) {
            let link = facts.link(&row.target.interface);
            if link.is_some_and(|link| link.ifindex == ifindex) {
                row.mac = Some(mac);
            }
        }
    }

    /// Takes over the link-layer addresses of the neighbours.
    pub fn refresh(&mut self, facts: &Facts) {
        for row in &mut self.rows {
            let Route::Good(way) = row.route else { continue };
            let Some(mac) = facts.entry(way.ifindex, way.neighbour).and_then(super::Entry::usable) else {
                continue;
            };
            if row.mac != Some(mac) {
                row.mac = Some(mac);
                tracing::info!("{} is reached through {}", row.target.name, describe(way.neighbour, mac));
            }
        }
    }

    /// What is known, for compiling.
    #[must_use]
    pub fn resolved(&self, facts: &Facts) -> NextHops {
        self.rows
            .iter()
            .filter_map(|row| {
                let link = facts.link(&row.target.interface)?;
                let hop =
                    ResolvedHop { ifindex: link.ifindex, destination_mac: row.mac?, source_mac: link.mac? };
                Some((row.target.address, hop))
            })
            .collect()
    }

    /// The targets that no way is known to.
    #[must_use]
    pub fn unresolved(&self) -> Vec<&Target> {
        self.rows.iter().filter(|row| row.mac.is_none()).map(|row| &row.target).collect()
    }

    /// Number of targets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no targets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The neighbours that packets go to, without duplicates.
    #[must_use]
    pub fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// Whether packets go to this neighbour.
    #[must_use]
    pub fn uses(&self, way: Way) -> bool {
        self.ways.binary_search(&way).is_ok()
    }
}

impl Row {
    /// Says once what is wrong with a route, and that it is well again.
    fn tell(&self, before: Route) {
        let Target { name, address, interface } = &self.target;
        let consequence = match self.mac {
            Some(_) => "the last known way stays in use",
            None => "its packets are dropped",
        };
        match self.route {
            Route::Good(_) if matches!(before, Route::Missing | Route::Elsewhere(_)) => {
                tracing::info!("there is a route to {name} again");
            }
            Route::Good(_) | Route::Unasked => {}
            Route::Missing => tracing::warn!("no route to {name} ({address}): {consequence}"),
            Route::Elsewhere(other) => tracing::warn!(
                "the route to {name} ({address}) leaves through interface {other}, not {interface}: {consequence}; \
                 mend it with `ip route`"
            ),
        }
    }
}

fn describe(neighbour: Ipv4Addr, mac: MacBytes) -> String {
    let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{neighbour} ({})", mac.join(":"))
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, LinkFacts, State};
    use super::*;
    use crate::netlink::Event;

    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
    const OLD: MacBytes = [2, 0, 0, 0, 0, 0xaa];
    const NEW: MacBytes = [2, 0, 0, 0, 0, 0xbb];

    fn link(ifindex: u32, name: &str) -> LinkFacts {
        let mac = Some([2, 0, 0, 0, 1, ifindex as u8]);
        LinkFacts { ifindex, name: name.to_owned(), mac, mtu: 1500, up: true, programs: Vec::new() }
    }

    fn entry(address: Ipv4Addr, mac: Option<MacBytes>, state: State) -> Entry {
        Entry { ifindex: 3, address, mac, state }
    }

    fn start() -> (Facts, NextHopTable) {
        let facts = Facts::new(
            vec![link(2, "eth0"), link(3, "eth1")],
            Vec::new(),
            vec![entry(PEER, Some(OLD), State::Reachable)],
        );
        let target = Target { name: "peer egress-1".to_owned(), address: PEER, interface: "eth1".to_owned() };
        let mut table = NextHopTable::new(vec![target]);
        assert_eq!(table.unresolved().len(), 1);
        table.set_ways(&facts, &[Some(Way { ifindex: 3, neighbour: PEER })]);
        table.refresh(&facts);
        (facts, table)
    }

    fn mac_of(table: &NextHopTable, facts: &Facts) -> Option<MacBytes> {
        table.resolved(facts).get(PEER).map(|hop| hop.destination_mac)
    }

    #[test]
    fn a_neighbour_resolves_its_target() {
        let (facts, table) = start();
        let hop = *table.resolved(&facts).get(PEER).unwrap();
        assert_eq!(hop.ifindex, 3);
        assert_eq!(hop.destination_mac, OLD);
        assert_eq!(hop.source_mac, [2, 0, 0, 0, 1, 3]);
        assert!(table.unresolved().is_empty());
    }

    #[test]
    fn a_lost_neighbour_keeps_its_address_until_another_is_known() {
        let (mut facts, mut table) = start();
        for state in [State::Failed, State::Incomplete] {
            facts.apply(&Event::Neighbour(entry(PEER, None, state)));
            table.refresh(&facts);
            assert_eq!(mac_of(&table, &facts), Some(OLD));
        }
        facts.apply(&Event::NeighbourGone { ifindex: 3, address: PEER });
        table.refresh(&facts);
        assert_eq!(mac_of(&table, &facts), Some(OLD));
        facts.apply(&Event::Neighbour(entry(PEER, Some(NEW), State::Reachable)));
        table.refresh(&facts);
        assert_eq!(mac_of(&table, &facts), Some(NEW));
    }

    #[test]
    fn a_failed_entry_that_still_has_an_address_is_not_believed() {
        let (mut facts, mut table) = start();
        facts.apply(&Event::Neighbour(entry(PEER, Some(NEW), State::Failed)));
        table.refresh(&facts);
        assert_eq!(mac_of(&table, &facts), Some(OLD));
    }

    #[test]
    fn a_new_gateway_is_used_once_it_is_resolved() {
        let (mut facts, mut table) = start();
        table.set_ways(&facts, &[Some(Way { ifindex: 3, neighbour: GATEWAY })]);
        table.refresh(&facts);
        assert_eq!(mac_of(&table, &facts), Some(OLD));
        assert_eq!(table.ways(), [Way { ifindex: 3, neighbour: GATEWAY }]);
        facts.apply(&Event::Neighbour(entry(GATEWAY, Some(NEW), State::Stale)));
        table.refresh(&facts);
        assert_eq!(mac_of(&table, &facts), Some(NEW));
    }

    #[test]
    fn a_route_through_another_interface_is_never_followed() {
        let (mut facts, mut table) = start();
        facts.apply(&Event::Neighbour(Entry { ifindex: 2, ..entry(GATEWAY, Some(NEW), State::Reachable) }));
        table.set_ways(&facts, &[Some(Way { ifindex: 2, neighbour: GATEWAY })]);
        table.refresh(&facts);
        let hop = *table.resolved(&facts).get(PEER).unwrap();
        assert_eq!((hop.ifindex, hop.destination_mac), (3, OLD));
        assert!(table.ways().is_empty());
    }

    #[test]
    fn an_interface_made_again_gets_its_next_hop_under_the_new_index() {
        let (mut facts, mut table) = start();
        facts.apply(&Event::LinkGone(3));
        table.set_ways(&facts, &[None]);
        assert!(table.resolved(&facts).is_empty());
        facts.apply(&Event::Link(link(9, "eth1")));
        let hop = *table.resolved(&facts).get(PEER).unwrap();
        assert_eq!((hop.ifindex, hop.destination_mac, hop.source_mac), (9, OLD, [2, 0, 0, 0, 1, 9]));
    }

    #[test]
    fn what_an_earlier_run_knew_stays_in_use_on_the_same_interface() {
        let (facts, resolved) = start();
        let target = resolved.rows[0].target.clone();
        for (ifindex, expected) in [(3, Some(NEW)), (2, None), (0, None)] {
            let mut table = NextHopTable::new(vec![target.clone()]);
            table.remember(&facts, PEER, ifindex, NEW);
            assert_eq!(mac_of(&table, &facts), expected);
        }
    }

    #[test]
    fn one_address_is_one_target() {
        let target =
            |name: &str| Target { name: name.to_owned(), address: PEER, interface: "eth1".to_owned() };
        assert_eq!(NextHopTable::new(vec![target("a"), target("b")]).len(), 1);
    }
}
