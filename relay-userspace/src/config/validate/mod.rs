//! From what the file says to what it means: the rules between keys, and the valid configuration.
//!
//! Reports every broken rule. The result is a configuration only if nothing was reported, here or before.

mod hash_key;
mod lists;
mod policy;
pub(super) mod rules;
mod services;
mod uniqueness;

use std::collections::HashMap;

use super::document::{At, Reader, RoleName};
use super::policy::{Clients, Events};
use super::problem::{Class, Problem, excerpt};
use super::raw::{self, File};
use super::suggest;
use super::valid::{
    Config, Egress, EgressWay, Flows, HashKey, Icmp, Ingress, Neighbours, Peer, PeerIndex, Role, Tunnel,
};
use services::Services;
use uniqueness::{Addresses, Once, Use};

pub(super) use lists::unreadable;

/// Checks what the file says as a whole.
pub(super) fn validate(file: &File, reader: &mut Reader<'_>) -> Option<Config> {
    let mut addresses = Addresses::default();
    if let Some(local) = file.tunnel.given().and_then(|tunnel| tunnel.value.local.given()) {
        addresses.claim(reader, "tunnel.local", local, Use::TunnelLocal);
    }
    let peers = Peers::check(file, reader, &mut addresses);
    check_icmp(&file.icmp.value, reader);
    let role = match file.role.given()?.value {
        RoleName::Ingress => {
            let services = Services::check(file, reader, &peers, &mut addresses, Services::ingress);
            let hash_key = hash_key(file, reader, Some(true));
            policy::check(file, reader);
            let lists = lists::lists(file, reader);
            ingress(file, hash_key, lists?, services?)
        }
        RoleName::Egress => {
            let services = Services::check(file, reader, &peers, &mut addresses, Services::egress);
            let needed = services
                .as_ref()
                .map(|services| services.iter().any(|service| matches!(service.way, EgressWay::Keep { .. })));
            let hash_key = hash_key(file, reader, needed);
            egress(file, hash_key, services?)
        }
    }?;
    let tunnel = &file.tunnel.given()?.value;
    let interfaces = &file.interfaces.given()?.value;
    let config = Config {
        node: file.node.given()?.value.clone(),
        pin_directory: file.pin_directory.value.clone(),
        state_directory: file.state_directory.value.clone(),
        mode: interfaces.mode.given()?.value,
        tunnel: Tunnel {
            interface: interfaces.tunnel.given()?.value.clone(),
            local: tunnel.local.given()?.value,
            mtu: tunnel.mtu.given().map(|mtu| mtu.value),
            ttl: tunnel.ttl.value,
            dscp: tunnel.dscp.value,
        },
        peers: peers.list.into_iter().collect::<Option<_>>()?,
        icmp: Icmp { rate: file.icmp.value.rate.value, prefix_rate: file.icmp.value.prefix_rate.value },
        events: Events { rate: file.events.value.rate.value },
        neighbours: Neighbours { probe_interval: file.neighbours.value.probe_interval.value },
        role,
    };
    reader.problems.is_empty().then_some(config)
}

fn ingress(
    file: &File,
    hash_key: Option<HashKey>,
    lists: super::policy::Lists,
    services: Vec<super::valid::IngressService>,
) -> Option<Role> {
    let clients = &file.clients.value;
    let public = file.interfaces.given()?.value.public.given()?.value.clone();
    Some(Role::Ingress(Ingress {
        public,
        hash_key: hash_key?,
        clients: Clients {
            entries: clients.entries.value,
            prefix_length: clients.prefix_length.value,
            challenge_rate: clients.challenge_rate.value,
        },
        lists,
        services,
    }))
}

fn egress(
    file: &File,
    hash_key: Option<HashKey>,
    services: Vec<super::valid::EgressService>,
) -> Option<Role> {
    let service = file.interfaces.given()?.value.service.given()?.value.clone();
    let flows = &file.flows.value;
    let flows = Flows { entries: flows.entries.value, idle_timeout: flows.idle_timeout.value };
    Some(Role::Egress(Egress { service, hash_key, flows, services }))
}

/// The secret, where this relay picks backends. `needed` is unknown while services have problems.
fn hash_key(file: &File, reader: &mut Reader<'_>, needed: Option<bool>) -> Option<HashKey> {
    const KEY: &str = "hash_key_file";
    match (needed, file.hash_key_file.given()) {
        (Some(false), Some(path)) => {
            let problem = Problem::new(Class::Context, &path.span, KEY, "this relay needs no hash key")
                .value(excerpt(reader.text, &path.span))
                .allowed("on an egress relay only where a service has `translate = \"none\"`")
                .hint(Some("remove it"));
            reader.report(problem);
            None
        }
        (_, Some(path)) => hash_key::load(reader, KEY, path),
        (Some(true), None) => {
            if file.hash_key_file.is_absent() {
                let problem = super::document::missing::<super::shape::AbsolutePath>(KEY, &(0..0));
                reader.report(problem.hint(Some("this relay picks backends or peers by a keyed hash")));
            }
            None
        }
        (Some(false) | None, None) => None,
    }
}

fn check_icmp(icmp: &raw::Icmp, reader: &mut Reader<'_>) {
    let (rate, prefix_rate) = (&icmp.rate, &icmp.prefix_rate);
    let refused = rate.is_refused() || prefix_rate.is_refused();
    if !refused && prefix_rate.value > rate.value {
        // Points at what the file says; the other one may be the default.
        let (key, at) =
            if prefix_rate.is_default() { ("icmp.rate", rate) } else { ("icmp.prefix_rate", prefix_rate) };
        let message = format!("`prefix_rate` {} is more than `rate` {}", prefix_rate.value, rate.value);
        let problem = Problem::new(Class::Context, &at.span, key, message)
            .value(excerpt(reader.text, &at.span))
            .allowed(rules::ICMP_RATES);
        reader.report(problem);
    }
}

/// The relays of the other tier, in the order of the file.
pub(super) struct Peers {
    /// `None` where an entry has a problem.
    list: Vec<Option<Peer>>,
    names: HashMap<String, PeerIndex>,
    /// Whether `names` has every entry of the file.
    complete: bool,
}

impl Peers {
    fn check(file: &File, reader: &mut Reader<'_>, addresses: &mut Addresses) -> Self {
        let entries = file.peers.given().map(|at| at.value.as_slice()).unwrap_or_default();
        let mut names = Once::new(rules::NAMES);
        let mut peers =
            Self { list: Vec::new(), names: HashMap::new(), complete: file.peers.given().is_some() };
        for (index, At { value: peer, .. }) in entries.iter().enumerate() {
            match peer.name.given() {
                Some(name) => {
                    let path = format!("peers[{index}].name");
                    names.claim(reader, &path, &name.span, name.value.clone(), "another peer has this name");
                    peers.names.insert(name.value.clone(), PeerIndex(index));
                }
                None => peers.complete = false,
            }
            if let Some(address) = peer.address.given() {
                addresses.claim(reader, &format!("peers[{index}].address"), address, Use::Peer);
            }
            peers.list.push(
                peer.name
                    .given()
                    .zip(peer.address.given())
                    .map(|(name, address)| Peer { name: name.value.clone(), address: address.value }),
            );
        }
        peers
    }

    /// The peers a list names; all of them if there is no list.
    fn resolve(
        &self,
        reader: &mut Reader<'_>,
        path: &str,
        named: &super::document::Field<Vec<At<String>>>,
    ) -> Option<Vec<PeerIndex>> {
        let Some(named) = named.given() else {
            return named.is_absent().then(|| (0..self.list.len()).map(PeerIndex).collect());
        };
        let mut found = Vec::with_capacity(named.value.len());
        for (index, name) in named.value.iter().enumerate() {
            match self.names.get(&name.value) {
                Some(peer) => found.push(*peer),
                // The entry may be one whose name was refused.
                None if !self.complete => {}
                None => {
                    let hint = suggest::advice(&name.value, self.names.keys().map(String::as_str));
                    let problem =
                        Problem::new(Class::Context, &name.span, format!("{path}[{index}]"), "no such peer")
                            .value(excerpt(reader.text, &name.span))
                            .allowed(self.allowed())
                            .hint(hint);
                    reader.report(problem);
                }
            }
        }
        uniqueness::distinct(reader, path, &named.value);
        Some(found)
    }

    fn allowed(&self) -> String {
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        format!("{}: {}", rules::KNOWN_PEERS, names.join(", "))
    }
}
