//! What a configuration asks of the kernel side: which program, which interfaces, which next hops. Pure.

use relay_abi::limits::CLIENT_WAYS;
use relay_abi::maps;
use relay_abi::meta::{ROLE_EGRESS, ROLE_INGRESS};

use crate::compile;
use crate::config::valid::{Config, EgressWay, Role};
use crate::exit::{Exit, Failure};
use crate::load::{Kind, Wanted};
use crate::neighbours::{Facts, Target};

/// The interface towards clients (ingress relay) or backends (egress relay).
pub(super) fn edge(config: &Config) -> &str {
    match &config.role {
        Role::Ingress(ingress) => &ingress.public,
        Role::Egress(egress) => &egress.service,
    }
}

/// The interfaces to attach to, without duplicates.
pub(super) fn interfaces(config: &Config) -> Vec<&str> {
    let mut interfaces = vec![edge(config), &config.tunnel.interface];
    interfaces.dedup();
    interfaces
}

/// The program and what sizes its maps.
pub(super) fn kind(config: &Config) -> Kind {
    match &config.role {
        Role::Ingress(ingress) => {
            let sets = compile::client_sets(&ingress.clients);
            Kind {
                role: ROLE_INGRESS,
                program: maps::PROGRAM_INGRESS,
                sizes: vec![
                    (maps::CLIENTS, sets),
                    (maps::CLIENT_DETAILS, sets * CLIENT_WAYS as u32),
                    (maps::PREFIXES, compile::prefix_sets(&ingress.clients)),
                ],
            }
        }
        Role::Egress(egress) => Kind {
            role: ROLE_EGRESS,
            program: maps::PROGRAM_EGRESS,
            sizes: vec![(maps::FLOWS, compile::flow_sets(egress.flows))],
        },
    }
}

/// Whom packets are sent to: the peers, and the backends of an egress relay. Clients are not known beforehand.
pub(super) fn targets(config: &Config) -> Vec<Target> {
    let tunnel = &config.tunnel.interface;
    let mut targets: Vec<Target> =
        config.peers.iter().map(|peer| target(format!("peer {}", peer.name), peer.address, tunnel)).collect();
    if let Role::Egress(egress) = &config.role {
        for service in &egress.services {
            let named = |name: &str| format!("backend {}/{name}", service.name);
            match &service.way {
                EgressWay::Translated { backends } => targets.extend(
                    backends.iter().map(|host| target(named(&host.name), host.address, &egress.service)),
                ),
                EgressWay::Keep { backends, .. } => targets.extend(
                    backends.iter().map(|host| target(named(&host.name), host.address, &egress.service)),
                ),
            }
        }
    }
    targets
}

fn target(name: String, address: std::net::Ipv4Addr, interface: &str) -> Target {
    Target { name, address, interface: interface.to_owned() }
}

/// The interfaces as they are now, to attach to; fails when one is missing.
pub(super) fn wanted(config: &Config, facts: &Facts) -> Result<Vec<Wanted>, Failure> {
    interfaces(config)
        .into_iter()
        .map(|interface| {
            let link = facts
                .link(interface)
                .ok_or_else(|| Failure::new(Exit::Failed, format!("there is no interface {interface}")))?;
            Ok(Wanted {
                interface: interface.to_owned(),
                ifindex: link.ifindex,
                mode: config.mode,
                present: link.programs.clone(),
            })
        })
        .collect()
}
