//! What an ingress relay's services become.

use relay_abi::Be16;
use relay_abi::Ipv4;
use relay_abi::endpoint::Kind;
use relay_abi::image::{Backend, translate};

use super::inputs::NextHops;
use super::mix::identity;
use super::peers::{next_hop, spread};
use super::ring::Choice;
use super::rows::{Rows, number, wire};
use crate::config::valid::{Config, Ingress, IngressBackend, IngressService, IngressWay, PeerIndex};

pub(super) fn services(config: &Config, ingress: &Ingress, rows: &mut Rows) {
    for service in &ingress.services {
        match &service.way {
            IngressWay::Translate { vip, backends } => {
                let choices = backends.iter().map(|backend| choice(config, service, backend, rows)).collect();
                let ring = rows.pool.add(choices);
                let index = rows.service(*vip, service.port, service.protocol, translate::INGRESS, ring);
                public(service, *vip, index, rows);
                let protocol = wire(service.protocol);
                for backend in backends {
                    rows.endpoints.add(backend.address, number(backend.port), protocol, Kind::BACKEND, index);
                }
            }
            IngressWay::Keep { vips, peers } => {
                let ring = rows.pool.add(peers.iter().filter_map(|peer| relay(config, *peer)).collect());
                for vip in vips {
                    let index = rows.service(*vip, service.port, service.protocol, translate::NONE, ring);
                    public(service, *vip, index, rows);
                }
            }
        }
    }
    for service in &ingress.services {
        if let IngressWay::Translate { backends, .. } = &service.way {
            for backend in backends {
                rows.endpoints.add_address(backend.address, Kind::SERVER, 0);
            }
        }
    }
}

/// The endpoints clients send to.
fn public(service: &IngressService, vip: std::net::Ipv4Addr, index: u16, rows: &mut Rows) {
    rows.endpoints.add(vip, number(service.port), wire(service.protocol), Kind::SERVICE, index);
    rows.endpoints.add_address(vip, Kind::VIP, 0);
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
