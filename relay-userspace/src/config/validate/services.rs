//! Services and their backends: which keys each way of translation needs and refuses.

use super::Peers;
use super::policy;
use super::rules;
use super::uniqueness::{Addresses, Endpoints, Once, Use, distinct};
use crate::config::defaults;
use crate::config::document::{At, Field, Reader, Shape, missing};
use crate::config::problem::{Class, Problem, Span, excerpt};
use crate::config::raw::{self, File, Translate};
use crate::config::shape::PortOrAny;
use crate::config::valid::{
    EgressService, EgressWay, Endpoint, IngressBackend, IngressService, IngressWay, Port, Protocol,
    WeightedHost,
};

/// The services of one file while they are checked.
pub(super) struct Services<'c, 'a> {
    file: &'c File,
    reader: &'c mut Reader<'a>,
    peers: &'c Peers,
    endpoints: Endpoints,
}

impl<'c, 'a> Services<'c, 'a> {
    /// Checks every service; `None` if one of them has a problem that leaves nothing to return.
    pub(super) fn check<S>(
        file: &'c File,
        reader: &'c mut Reader<'a>,
        peers: &'c Peers,
        addresses: &mut Addresses,
        one: impl Fn(&mut Self, &str, &At<raw::Service>) -> Option<S>,
    ) -> Option<Vec<S>> {
        let list = file.services.given()?;
        let mut services = Self { file, reader, peers, endpoints: Endpoints::default() };
        services.check_uses(&list.value, addresses);
        services.check_vips(&list.value);
        services.check_totals(&list.value);
        let read: Vec<Option<S>> = list
            .value
            .iter()
            .enumerate()
            .map(|(index, service)| {
                // Without knowing who translates, there is no telling which keys belong.
                let known = !service.translate.is_refused();
                known.then(|| one(&mut services, &format!("services[{index}]"), service)).flatten()
            })
            .collect();
        read.into_iter().collect()
    }

    /// A service of an ingress relay.
    pub(super) fn ingress(&mut self, path: &str, service: &At<raw::Service>) -> Option<IngressService> {
        let why = "clients use it";
        let port =
            self.need::<PortOrAny>(path, &service.span, "port", &service.port, why).map(|port| port.value);
        let vips = self.vips(path, service);
        let policy = policy::service(self.file, self.reader, path, service);
        let way = match service.translate.value {
            Translate::Ingress => {
                let why = "each backend names the peers that reach it";
                self.refuse(path, "peers", service.peers.given(), why);
                let vip = self.one_vip(path, vips);
                let backends = self.backends(path, service, |services, path, backend| {
                    services.ingress_backend(path, service, backend)
                });
                IngressWay::Translate { vip: vip?, backends: backends? }
            }
            Translate::None => {
                let why = "with `translate = \"none\"` an ingress relay must not know the backends";
                self.refuse(path, "backends", service.backends.given(), why);
                let peers = self.peers.resolve(self.reader, &format!("{path}.peers"), &service.peers);
                IngressWay::Keep {
                    vips: vips?.value.into_iter().map(|vip| vip.value).collect(),
                    peers: peers?,
                }
            }
        };
        let (name, protocol) = (service.name.given()?.value.clone(), service.protocol.given()?.value);
        Some(IngressService { name, protocol, port: port?, way, policy: policy? })
    }

    /// A service of an egress relay.
    pub(super) fn egress(&mut self, path: &str, service: &At<raw::Service>) -> Option<EgressService> {
        let way = match service.translate.value {
            Translate::Ingress => {
                let why = "with `translate = \"ingress\"` an egress relay sees the backends' addresses only";
                self.refuse(path, "vips", service.vips.given(), why);
                self.refuse(path, "port", service.port.given(), why);
                let backends = self.backends(path, service, |services, path, backend| {
                    services.endpoint(path, service, backend)
                });
                EgressWay::Translated { backends: backends? }
            }
            Translate::None => {
                let why = "clients use it, and the backends as well";
                let port = self.need::<PortOrAny>(path, &service.span, "port", &service.port, why);
                let port = port.map(|port| port.value);
                let vips = self.vips(path, service);
                let mut hosts = Once::new(rules::HOSTS);
                let backends = self.backends(path, service, |services, path, backend| {
                    services.host(path, service, backend, &mut hosts)
                });
                let vips = vips?.value.into_iter().map(|vip| vip.value).collect();
                EgressWay::Keep { vips, port: port?, backends: backends? }
            }
        };
        let (name, protocol) = (service.name.given()?.value.clone(), service.protocol.given()?.value);
        Some(EgressService { name, protocol, way })
    }

    fn ingress_backend(
        &mut self,
        path: &str,
        service: &At<raw::Service>,
        backend: &At<raw::Backend>,
    ) -> Option<IngressBackend> {
        let peers = self.peers.resolve(self.reader, &format!("{path}.peers"), &backend.peers);
        if let Some(peers) = peers.as_ref().filter(|peers| peers.len() > defaults::BACKEND_PEERS_MAX) {
            let message = format!("no `peers`, and all {} peers are too many", peers.len());
            let key = format!("{path}.peers");
            self.reader.report(
                Problem::new(Class::Context, &backend.span, key, message).allowed(rules::BACKEND_PEERS),
            );
        }
        let port = self.ingress_backend_port(path, service, backend);
        let address = backend.address.given()?;
        self.claim_endpoint(path, service, address, port);
        Some(IngressBackend {
            name: backend.name.given()?.value.clone(),
            address: address.value,
            port: port?,
            weight: backend.weight.value,
            peers: peers?,
        })
    }

    /// The backend's own port, or the service's.
    fn ingress_backend_port(
        &mut self,
        path: &str,
        service: &At<raw::Service>,
        backend: &At<raw::Backend>,
    ) -> Option<Port> {
        let public = service.port.given().map(|port| port.value);
        match (&backend.port, public) {
            (Field::Absent, public) => public,
            (Field::Refused, _) | (Field::Given(_), None) => None,
            (Field::Given(own), Some(Port::Any)) => {
                self.same_port(path, own, Port::Any);
                Some(Port::Any)
            }
            (Field::Given(own), Some(Port::Number(_))) => {
                if own.value == Port::Any {
                    let problem = Problem::new(
                        Class::Context,
                        &own.span,
                        format!("{path}.port"),
                        "the service has one port",
                    )
                    .value(excerpt(self.reader.text, &own.span))
                    .allowed("integer 1..=65535")
                    .hint(Some("remove it to use the service's port"));
                    self.reader.report(problem);
                    return None;
                }
                Some(own.value)
            }
        }
    }

    fn endpoint(
        &mut self,
        path: &str,
        service: &At<raw::Service>,
        backend: &At<raw::Backend>,
    ) -> Option<Endpoint> {
        let why = "packets arrive addressed to it; where the service has `port = \"any\"`, write that";
        let port = self.need::<PortOrAny>(path, &backend.span, "port", &backend.port, why);
        let port = port.map(|port| port.value);
        self.refuse_weight(path, backend, "with `translate = \"ingress\"` the ingress relays pick");
        let address = backend.address.given()?;
        self.claim_endpoint(path, service, address, port);
        Some(Endpoint { name: backend.name.given()?.value.clone(), address: address.value, port: port? })
    }

    fn host(
        &mut self,
        path: &str,
        service: &At<raw::Service>,
        backend: &At<raw::Backend>,
        hosts: &mut Once<std::net::Ipv4Addr>,
    ) -> Option<WeightedHost> {
        if let (Some(own), Some(port)) = (backend.port.given(), service.port.given()) {
            self.same_port(path, own, port.value);
        }
        let address = backend.address.given()?;
        let message = "another backend of the service has this address";
        hosts.claim(self.reader, &format!("{path}.address"), &address.span, address.value, message);
        Some(WeightedHost {
            name: backend.name.given()?.value.clone(),
            address: address.value,
            weight: backend.weight.value,
        })
    }

    /// Where nobody rewrites the port, a backend can only repeat the service's.
    fn same_port(&mut self, path: &str, own: &At<Port>, port: Port) {
        if own.value != port {
            let message = format!("packets of this service keep their port, which is {port}");
            let problem = Problem::new(Class::Context, &own.span, format!("{path}.port"), message)
                .value(excerpt(self.reader.text, &own.span))
                .allowed(rules::KEPT_PORT)
                .hint(Some("remove it"));
            self.reader.report(problem);
        }
    }

    fn claim_endpoint(
        &mut self,
        path: &str,
        service: &At<raw::Service>,
        address: &At<std::net::Ipv4Addr>,
        port: Option<Port>,
    ) {
        if let (Some(protocol), Some(port)) = (service.protocol.given(), port) {
            let endpoint = (address.value, protocol.value, port);
            self.endpoints.claim(self.reader, &format!("{path}.address"), &address.span, endpoint);
        }
    }

    fn vips(&mut self, path: &str, service: &At<raw::Service>) -> Option<At<Vec<At<std::net::Ipv4Addr>>>> {
        let vips = self.need::<raw::Vips>(path, &service.span, "vips", &service.vips, "clients use them")?;
        Some(At { value: distinct(self.reader, &format!("{path}.vips"), &vips.value), ..vips })
    }

    fn one_vip(
        &mut self,
        path: &str,
        vips: Option<At<Vec<At<std::net::Ipv4Addr>>>>,
    ) -> Option<std::net::Ipv4Addr> {
        let vips = vips?;
        if let [vip] = vips.value.as_slice() {
            return Some(vip.value);
        }
        let message = format!("{} VIPs where replies must come from one", vips.value.len());
        let problem = Problem::new(Class::Context, &vips.span, format!("{path}.vips"), message)
            .value(excerpt(self.reader.text, &vips.span))
            .allowed(rules::ONE_VIP)
            .hint(Some("make one service of each, with backends of its own, or use `translate = \"none\"`"));
        self.reader.report(problem);
        None
    }

    fn backends<B>(
        &mut self,
        path: &str,
        service: &At<raw::Service>,
        mut one: impl FnMut(&mut Self, &str, &At<raw::Backend>) -> Option<B>,
    ) -> Option<Vec<B>> {
        let Field::Given(list) = &service.backends else {
            if service.backends.is_absent() {
                self.reader.report(missing::<raw::Backends>(&format!("{path}.backends"), &service.span));
            }
            return None;
        };
        let mut read = Vec::with_capacity(list.value.len());
        for (index, backend) in list.value.iter().enumerate() {
            read.push(one(self, &format!("{path}.backends[{index}]"), backend));
        }
        read.into_iter().collect()
    }

    /// Names, and the use of every address, whichever way the service is translated.
    fn check_uses(&mut self, list: &[At<raw::Service>], addresses: &mut Addresses) {
        let mut names = Once::new(rules::NAMES);
        for (index, At { value: service, .. }) in list.iter().enumerate() {
            let path = format!("services[{index}]");
            self.claim_name(&mut names, &path, &service.name, "another service has this name");
            let vips = service.vips.given().map(|at| at.value.as_slice()).unwrap_or_default();
            for (index, vip) in vips.iter().enumerate() {
                addresses.claim(self.reader, &format!("{path}.vips[{index}]"), vip, Use::Vip);
            }
            let mut names = Once::new(rules::NAMES);
            let backends = service.backends.given().map(|at| at.value.as_slice()).unwrap_or_default();
            for (index, At { value: backend, .. }) in backends.iter().enumerate() {
                let path = format!("{path}.backends[{index}]");
                self.claim_name(
                    &mut names,
                    &path,
                    &backend.name,
                    "another backend of the service has this name",
                );
                if let Some(address) = backend.address.given() {
                    addresses.claim(self.reader, &format!("{path}.address"), address, Use::Backend);
                }
            }
        }
    }

    fn claim_name(&mut self, names: &mut Once<String>, path: &str, name: &Field<String>, message: &str) {
        if let Some(name) = name.given() {
            names.claim(self.reader, &format!("{path}.name"), &name.span, name.value.clone(), message);
        }
    }

    /// No two services answer for the same VIP, protocol and port.
    fn check_vips(&mut self, list: &[At<raw::Service>]) {
        let mut taken: Once<(std::net::Ipv4Addr, Protocol, Port)> = Once::new(rules::VIPS);
        for (index, At { value: service, .. }) in list.iter().enumerate() {
            let (Some(vips), Some(protocol), Some(port)) =
                (service.vips.given(), service.protocol.given(), service.port.given())
            else {
                continue;
            };
            let mut own = std::collections::HashSet::new();
            for (at, vip) in vips.value.iter().enumerate() {
                // Twice in one list is another problem, reported there.
                if own.insert(vip.value) {
                    let key = (vip.value, protocol.value, port.value);
                    let path = format!("services[{index}].vips[{at}]");
                    let message = "another service has this VIP with the same protocol and port";
                    taken.claim(self.reader, &path, &vip.span, key, message);
                }
            }
        }
    }

    /// The tables hold only so much, over all services.
    fn check_totals(&mut self, list: &[At<raw::Service>]) {
        let vips = list.iter().map(|service| service.vips.given());
        let vips = vips.map(|vips| vips.map(|at| (at.value.len(), &at.span)));
        self.check_total("vips", vips, defaults::SERVICES_MAX, rules::SERVICE_VIPS);
        let backends = list.iter().map(|service| service.backends.given());
        let backends = backends.map(|backends| backends.map(|at| (at.value.len(), &at.span)));
        self.check_total("backends", backends, defaults::BACKENDS_MAX, rules::BACKENDS);
    }

    /// Reports the service with which a sum becomes too large.
    fn check_total<'l>(
        &mut self,
        key: &str,
        counts: impl Iterator<Item = Option<(usize, &'l Span)>>,
        most: usize,
        rule: &str,
    ) {
        let mut total = 0;
        for (index, (count, span)) in counts.enumerate().filter_map(|(index, count)| Some((index, count?))) {
            let before = total;
            total += count;
            if before <= most && total > most {
                let message = format!("{total} {key} up to here are too many");
                let path = format!("services[{index}].{key}");
                self.reader.report(Problem::new(Class::Context, span, path, message).allowed(rule));
            }
        }
    }

    /// A key that this kind of service must have.
    fn need<S: Shape>(
        &mut self,
        path: &str,
        header: &Span,
        name: &str,
        field: &Field<S::Output>,
        why: &str,
    ) -> Option<At<S::Output>>
    where
        S::Output: Clone,
    {
        if field.is_absent() {
            self.reader.report(missing::<S>(&format!("{path}.{name}"), header).hint(Some(why)));
        }
        field.given().cloned()
    }

    /// A key that this kind of service must not have.
    fn refuse<T>(&mut self, path: &str, name: &str, field: Option<&At<T>>, why: &str) {
        if let Some(at) = field {
            let problem = Problem::new(
                Class::Context,
                &at.span,
                format!("{path}.{name}"),
                "this key has no place here",
            )
            .value(excerpt(self.reader.text, &at.span))
            .allowed(why)
            .hint(Some("remove it"));
            self.reader.report(problem);
        }
    }

    fn refuse_weight(&mut self, path: &str, backend: &At<raw::Backend>, why: &str) {
        self.refuse(path, "weight", (!backend.weight.is_default()).then_some(&backend.weight), why);
    }
}
