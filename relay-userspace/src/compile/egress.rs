//! What an egress relay's services become.

use std::net::Ipv4Addr;

use bytemuck::Zeroable;
use relay_abi::endpoint::Kind;
use relay_abi::image::{Backend, Service, translate};
use relay_abi::limits::PEER_SLOTS;
use relay_abi::{Be16, Ipv4};

use super::inputs::NextHops;
use super::mix::identity;
use super::peers::next_hop;
use super::ring::Choice;
use super::rows::{Rows, number, wire};
use crate::config::valid::{Egress, EgressWay, Port};

pub(super) fn services(egress: &Egress, next_hops: &NextHops, rows: &mut Rows) {
    for service in &egress.services {
        let protocol = wire(service.protocol);
        match &service.way {
            EgressWay::Translated { backends } => {
                for backend in backends {
                    let row = delivery(backend.address, backend.port, next_hops);
                    let index = rows.backend(row, Some(service.protocol));
                    rows.endpoints.add(backend.address, number(backend.port), protocol, Kind::BACKEND, index);
                }
            }
            EgressWay::Keep { vips, port, backends } => {
                let choices = backends
                    .iter()
                    .map(|host| Choice {
                        identity: identity(host.address, 0),
                        // The packet stays as it is, whatever the port: one row a host, and services with equal hosts
                        // share a pick table.
                        index: rows.backend(delivery(host.address, Port::Any, next_hops), None),
                        weight: host.weight,
                    })
                    .collect();
                let ring = rows.pool.add(choices);
                for vip in vips {
                    let none = Service::zeroed();
                    let index = rows.service(*vip, *port, service.protocol, translate::NONE, ring, none);
                    rows.endpoints.add(*vip, number(*port), protocol, Kind::SHARED, index);
                }
            }
        }
    }
    for service in &egress.services {
        let addresses: Vec<Ipv4Addr> = match &service.way {
            EgressWay::Translated { backends } => backends.iter().map(|backend| backend.address).collect(),
            EgressWay::Keep { vips, backends, .. } => {
                vips.iter().copied().chain(backends.iter().map(|host| host.address)).collect()
            }
        };
        for address in addresses {
            rows.endpoints.add_address(address, Kind::SERVER, 0);
        }
    }
}

fn delivery(address: Ipv4Addr, port: Port, next_hops: &NextHops) -> Backend {
    Backend {
        address: Ipv4(address.octets()),
        port: Be16::new(number(port)),
        peer_count: 0,
        peers: [0; PEER_SLOTS],
        next_hop: next_hop(next_hops, address),
    }
}
