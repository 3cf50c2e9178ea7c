//! Neighbours towards clients: the map `NEIGHBOURS`.

use std::net::Ipv4Addr;
use std::time::Instant;

use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::{Ipv4, Mac};

use super::{Relay, ask};
use crate::neighbours::{Ask, Change, Entry};

impl Relay {
    /// Learns what a map that outlived its controller holds; drops what is of another interface.
    pub(super) fn remember_clients(&mut self) {
        let edge = self.links.edge.ifindex;
        let held: Vec<_> = self.neighbours.iter().flatten().collect();
        for (key, neighbour) in held {
            if key.ifindex == edge {
                self.clients.remember(Ipv4Addr::from(key.address.0), neighbour.destination.0);
            } else {
                // That it is gone already is fine.
                drop(self.neighbours.remove(&key));
            }
        }
        self.rewrite_clients();
    }

    /// Writes every entry with the present address and index of the interface.
    pub(super) fn rewrite_clients(&mut self) {
        let all: Vec<_> = self.clients.all().collect();
        for (address, mac) in all {
            self.write_client(Change::Set(address, mac));
        }
    }

    pub(super) async fn relearn_clients(&mut self) {
        let entries: Vec<_> = self.facts.entries_on(self.links.edge.ifindex).copied().collect();
        for entry in entries {
            self.learn_client(&entry).await;
        }
    }

    pub(super) async fn learn_client(&mut self, entry: &Entry) {
        if entry.ifindex != self.links.edge.ifindex {
            return;
        }
        for change in self.clients.learn(entry, Instant::now()) {
            match change {
                Change::Solicit(address) => ask(&self.netlink, Ask::Solicit, entry.ifindex, address).await,
                change => self.write_client(change),
            }
        }
    }

    fn write_client(&mut self, change: Change) {
        let edge = &self.links.edge;
        let key = |address: Ipv4Addr| NeighbourKey { ifindex: edge.ifindex, address: Ipv4(address.octets()) };
        let result = match change {
            Change::Set(address, mac) => {
                let neighbour = Neighbour { destination: Mac(mac), source: Mac(edge.mac) };
                self.neighbours.insert(key(address), neighbour, 0)
            }
            Change::Remove(address) => self.neighbours.remove(&key(address)),
            Change::Solicit(_) => Ok(()),
        };
        if let Err(error) = result {
            tracing::debug!("cannot write the map NEIGHBOURS: {error}");
        }
    }
}
