//! Which service an address and port belong to, on the clients' side and on the hosts'.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::config::valid::{Config, EgressWay, IngressWay, Port, Protocol, Role};

/// The services of a configuration, by where they are reached.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// The port is 0 for any.
    by_endpoint: HashMap<(Ipv4Addr, u16, u8), Arc<str>>,
}

impl Services {
    pub(super) fn of(config: &Config) -> Self {
        let mut services = Self::default();
        match &config.role {
            Role::Ingress(ingress) => {
                for service in &ingress.services {
                    let name: Arc<str> = service.name.as_str().into();
                    let mut add = |address, port| services.add(address, port, service.protocol, &name);
                    match &service.way {
                        IngressWay::Translate { vip, backends } => {
                            add(*vip, service.port);
                            backends.iter().for_each(|backend| add(backend.address, backend.port));
                        }
                        IngressWay::Keep { vips, .. } => {
                            vips.iter().for_each(|vip| add(*vip, service.port));
                        }
                    }
                }
            }
            Role::Egress(egress) => {
                for service in &egress.services {
                    let name: Arc<str> = service.name.as_str().into();
                    let mut add = |address, port| services.add(address, port, service.protocol, &name);
                    match &service.way {
                        EgressWay::Translated { backends } => {
                            backends.iter().for_each(|backend| add(backend.address, backend.port));
                        }
                        EgressWay::Keep { vips, port, .. } => {
                            vips.iter().for_each(|vip| add(*vip, *port));
                        }
                    }
                }
            }
        }
        services
    }

    /// Two services may share a backend's endpoint; the first one gives it its name.
    fn add(&mut self, address: Ipv4Addr, port: Port, protocol: Protocol, name: &Arc<str>) {
        let port = match port {
            Port::Any => 0,
            Port::Number(number) => number,
        };
        let protocol = match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        };
        self.by_endpoint.entry((address, port, protocol)).or_insert_with(|| Arc::clone(name));
    }

    pub(super) fn at(&self, address: Ipv4Addr, port: u16, protocol: u8) -> Option<&Arc<str>> {
        [port, 0].iter().find_map(|port| self.by_endpoint.get(&(address, *port, protocol)))
    }
}
