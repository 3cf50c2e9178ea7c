//! What is known of this host's links, addresses and neighbours. Kept from events, read anew when some were lost.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use super::{Entry, LinkFacts, OwnAddress};
use crate::compile::{Clock, Link, Links};
use crate::netlink::Event;

/// The facts.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    links: BTreeMap<u32, LinkFacts>,
    addresses: Vec<OwnAddress>,
    entries: HashMap<(u32, Ipv4Addr), Entry>,
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Next hops may have other link-layer addresses.
    Neighbours,
    /// Next hops may be others.
    Routes,
    /// Everything has to be read again.
    All,
}

impl Facts {
    /// Facts as read from the kernel.
    #[must_use]
    pub fn new(links: Vec<LinkFacts>, addresses: Vec<OwnAddress>, entries: Vec<Entry>) -> Self {
        Self {
            links: links.into_iter().map(|link| (link.ifindex, link)).collect(),
            addresses,
            entries: entries.into_iter().map(|entry| ((entry.ifindex, entry.address), entry)).collect(),
        }
    }

    /// Takes over what an event says.
    pub fn apply(&mut self, event: &Event) -> Effect {
        match event {
            Event::Link(link) => {
                let old = self.links.insert(link.ifindex, link.clone());
                if old.as_ref() == Some(link) { Effect::None } else { Effect::Routes }
            }
            Event::LinkGone(ifindex) => {
                self.links.remove(ifindex);
                self.addresses.retain(|own| own.ifindex != *ifindex);
                self.entries.retain(|(on, _), _| on != ifindex);
                Effect::Routes
            }
            Event::Routing => Effect::Routes,
            Event::Neighbour(entry) => {
                let old = self.entries.insert((entry.ifindex, entry.address), *entry);
                if old == Some(*entry) { Effect::None } else { Effect::Neighbours }
            }
            Event::NeighbourGone { ifindex, address } => {
                self.entries.remove(&(*ifindex, *address));
                Effect::Neighbours
            }
            Event::Lost => Effect::All,
        }
    }

    /// Puts newly read addresses in place.
    pub fn set_addresses(&mut self, addresses: Vec<OwnAddress>) {
        self.addresses = addresses;
    }

    /// The link of a name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&LinkFacts> {
        self.links.values().find(|link| link.name == name)
    }

    /// A neighbour.
    #[must_use]
    pub fn entry(&self, ifindex: u32, address: Ipv4Addr) -> Option<&Entry> {
        self.entries.get(&(ifindex, address))
    }

    /// The neighbours on a link.
    pub fn entries_on(&self, ifindex: u32) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.ifindex == ifindex)
    }

    /// Whether an address is this host's.
    #[must_use]
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// What compiling needs; an error names the interface that is missing or is no Ethernet link.
    pub fn links(&self, edge: &str, tunnel: &str, clock: Clock) -> Result<Links, String> {
        let (edge, tunnel) = (self.compiled(edge)?, self.compiled(tunnel)?);
        let mut own_addresses: Vec<Ipv4Addr> = self
            .addresses
            .iter()
            .filter(|own| {
                let loopback = self.links.get(&own.ifindex).is_some_and(|link| link.name == "lo");
                [edge.ifindex, tunnel.ifindex].contains(&own.ifindex)
                    || (loopback && !own.address.is_loopback())
            })
            .map(|own| own.address)
            .collect();
        own_addresses.sort();
        own_addresses.dedup();
        let edge_address = self
            .addresses
            .iter()
            .find(|own| own.ifindex == edge.ifindex && own.primary)
            .map_or(Ipv4Addr::UNSPECIFIED, |own| own.address);
        Ok(Links { edge, tunnel, own_addresses, edge_address, clock })
    }

    fn compiled(&self, name: &str) -> Result<Link, String> {
        let link = self.link(name).ok_or_else(|| format!("there is no interface {name}"))?;
        let mac = link.mac.ok_or_else(|| format!("interface {name} is no Ethernet link"))?;
        Ok(Link { ifindex: link.ifindex, mac, mtu: link.mtu, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const CLOCK: Clock = Clock { jiffies_per_second: 250, epoch_offset: 0 };

    fn link(ifindex: u32, name: &str) -> LinkFacts {
        let mac = Some([2, 0, 0, 0, 0, ifindex as u8]);
        LinkFacts { ifindex, name: name.to_owned(), mac, mtu: 1500, up: true, programs: Vec::new() }
    }

    fn own(ifindex: u32, last: u8, primary: bool) -> OwnAddress {
        OwnAddress { ifindex, address: Ipv4Addr::new(10, 0, 0, last), primary }
    }

    fn entry(ifindex: u32, state: State) -> Entry {
        Entry { ifindex, address: Ipv4Addr::new(10, 0, 0, 9), mac: None, state }
    }

    #[test]
    fn own_addresses_are_those_of_both_interfaces_and_of_the_loopback_but_for_127() {
        let mut addresses =
            vec![own(3, 3, true), own(2, 2, false), own(2, 1, true), own(7, 7, true), own(1, 5, true)];
        addresses.push(OwnAddress { ifindex: 1, address: Ipv4Addr::LOCALHOST, primary: false });
        let links = vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(7, "eth7")];
        let facts = Facts::new(links, addresses, Vec::new());
        let links = facts.links("eth0", "eth1", CLOCK).unwrap();
        let last: Vec<u8> = links.own_addresses.iter().map(|address| address.octets()[3]).collect();
        assert_eq!(last, [1, 2, 3, 5]);
        assert_eq!(links.edge_address, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!((links.edge.ifindex, links.tunnel.ifindex), (2, 3));
    }

    #[test]
    fn a_missing_interface_is_named() {
        let facts = Facts::new(vec![link(2, "eth0")], Vec::new(), Vec::new());
        assert_eq!(facts.links("eth0", "eth1", CLOCK).unwrap_err(), "there is no interface eth1");
        assert_eq!(facts.links("eth0", "eth0", CLOCK).unwrap().edge_address, Ipv4Addr::UNSPECIFIED);
    }

    #[test]
    fn an_event_that_says_nothing_new_has_no_effect() {
        let mut facts = Facts::new(vec![link(2, "eth0")], Vec::new(), Vec::new());
        assert_eq!(facts.apply(&Event::Link(link(2, "eth0"))), Effect::None);
        assert_eq!(facts.apply(&Event::Link(link(2, "eth5"))), Effect::Routes);
        assert_eq!(facts.apply(&Event::Neighbour(entry(2, State::Stale))), Effect::Neighbours);
        assert_eq!(facts.apply(&Event::Neighbour(entry(2, State::Stale))), Effect::None);
    }

    #[test]
    fn a_link_takes_its_addresses_and_neighbours_along() {
        let mut facts =
            Facts::new(vec![link(2, "eth0")], vec![own(2, 1, true)], vec![entry(2, State::Stale)]);
        assert_eq!(facts.apply(&Event::LinkGone(2)), Effect::Routes);
        assert!(facts.link("eth0").is_none());
        assert!(!facts.owns(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(facts.entry(2, Ipv4Addr::new(10, 0, 0, 9)).is_none());
    }
}
