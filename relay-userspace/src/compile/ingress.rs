//! What an ingress relay's services become.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use relay_abi::Be16;
use relay_abi::Ipv4;
use relay_abi::endpoint::Kind;
use relay_abi::image::{Backend, translate};

use super::inputs::NextHops;
use super::mix::identity;
use super::peers::{next_hop, spread};
use super::policy;
use super::ring::Choice;
use super::rows::{Rows, number, wire};
use crate::config::policy::Filters;
use crate::config::valid::{Config, Ingress, IngressBackend, IngressService, IngressWay, PeerIndex};

/// Adds the services and everything they consist of; `hz` is the length of a jiffy.
pub(super) fn services(config: &Config, ingress: &Ingress, hz: u32, rows: &mut Rows) {
    let vips = vip_filters(ingress);
    for service in &ingress.services {
        let policy = policy::row(&service.policy, hz);
        match &service.way {
            IngressWay::Translate { vip, backends } => {
                let choices = backends.iter().map(|backend| choice(config, service, backend, rows)).collect();
                let ring = rows.pool.add(choices);
                let index =
                    rows.service(*vip, service.port, service.protocol, translate::INGRESS, ring, policy);
                public(service, *vip, index, rows);
                let protocol = wire(service.protocol);
                for backend in backends {
                    rows.endpoints.add(backend.address, number(backend.port), protocol, Kind::BACKEND, index);
                }
            }
            IngressWay::Keep { vips, peers } => {
                let ring = rows.pool.add(peers.iter().filter_map(|peer| relay(config, *peer)).collect());
                for vip in vips {
                    let index =
                        rows.service(*vip, service.port, service.protocol, translate::NONE, ring, policy);
                    public(service, *vip, index, rows);
                }
            }
        }
    }
    for (vip, filters) in &vips {
        rows.endpoints.add_address(*vip, Kind::VIP, policy::filters(filters));
    }
    for service in &ingress.services {
        if let IngressWay::Translate { backends, .. } = &service.way {
            for backend in backends {
                rows.endpoints.add_address(backend.address, Kind::SERVER, 0);
            }
        }
    }
}

/// The service of each row that [`services`] makes, in the order of the rows.
pub fn service_rows(ingress: &Ingress) -> impl Iterator<Item = &IngressService> {
    ingress.services.iter().flat_map(|service| {
        let rows = match &service.way {
            IngressWay::Translate { .. } => 1,
            IngressWay::Keep { vips, .. } => vips.len(),
        };
        std::iter::repeat_n(service, rows)
    })
}

/// The endpoints clients send to.
fn public(service: &IngressService, vip: Ipv4Addr, index: u16, rows: &mut Rows) {
    rows.endpoints.add(vip, number(service.port), wire(service.protocol), Kind::SERVICE, index);
}

/// Every VIP, with the strictest filters of its services for what has no ports. In an order of their own, so that equal
/// configurations give equal images.
fn vip_filters(ingress: &Ingress) -> BTreeMap<Ipv4Addr, Filters> {
    let mut vips = BTreeMap::new();
    for service in &ingress.services {
        let own = policy::vip_filters(&service.policy.filters);
        let addresses = match &service.way {
            IngressWay::Translate { vip, .. } => std::slice::from_ref(vip),
            IngressWay::Keep { vips, .. } => vips,
        };
        for vip in addresses {
            vips.entry(*vip).and_modify(|all| *all = policy::strictest(all, &own)).or_insert(own);
        }
    }
    vips
}

/// A backend's row, as something to pick.
fn choice(config: &Config, service: &IngressService, backend: &IngressBackend, rows: &mut Rows) -> Choice {
    let identity = identity(backend.address, number(backend.port));
    let (peers, peer_count) = spread(config, identity, &backend.peers);
    let row = Backend {
        address: Ipv4(backend.address.octets()),
        port: Be16::new(number(backend.port)),
        peer_count,
        peers,
        // Egress relays deliver; from here the way is the peer's.
        next_hop: next_hop(&NextHops::default(), backend.address),
    };
    Choice { identity, index: rows.backend(row, Some(service.protocol)), weight: backend.weight }
}

/// An egress relay, as something to pick.
fn relay(config: &Config, peer: PeerIndex) -> Option<Choice> {
    let address = config.peers.get(peer.0)?.address;
    Some(Choice { identity: identity(address, 0), index: u16::try_from(peer.0).ok()?, weight: 1 })
}
