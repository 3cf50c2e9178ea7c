//! What the API asks of the loop: to show, and to do.

use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{CLOCK, Relay};
use crate::actions::{Actions, Ban, Done, Key, Order, What, check_limits};
use crate::api::{Request, SCHEMA_VERSION, view};
use crate::audit;
use crate::config::valid::{Config, EgressWay, Ingress, IngressWay, Port, Protocol, Role};
use crate::exit::{Exit, Failure};
use crate::lists::Kind;
use crate::timestamp::Timestamp;

impl Relay {
    /// Answers a request. That nobody waits for the answer any more is fine.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Node(to) => drop(to.send(Ok(self.show_node()))),
            Request::Rules(verdict, extent, to) => drop(to.send(self.show_rules(verdict, extent))),
            Request::Bans(to) => drop(to.send(self.show_bans())),
            Request::Limits(service, to) => drop(to.send(self.show_limits(service.as_deref()))),
            Request::Do(order, to) => self.execute(&order, to),
        }
    }

    /// Does what is asked for, and has it saved; then it is answered.
    fn execute(&mut self, order: &Order, to: oneshot::Sender<Result<Done, Failure>>) {
        let record = audit::Record::new(&self.config.node, order);
        let result = self.act(order);
        self.events.journal().tell("action", &record.clone().ended(Some(&result)));
        let changed = result.is_ok().then_some(&self.actions);
        self.saver.conclude(changed, record, to, result);
    }

    fn act(&mut self, order: &Order) -> Result<Done, Failure> {
        let ingress = ingress(&self.config)?;
        check_services(ingress, &order.what)?;
        let mut actions = self.actions.clone();
        let done = actions.apply(order, Timestamp::now())?;
        self.put_in_force(actions, !order.what.is_about_limits(), order.what.is_about_limits())?;
        Ok(done)
    }

    /// Makes packets meet what these actions say; if that fails, everything stays as it is.
    pub(super) fn put_in_force(
        &mut self,
        actions: Actions,
        lists: bool,
        limits: bool,
    ) -> Result<(), Failure> {
        if lists {
            self.put_lists_in_force(&actions)?;
        }
        if limits {
            let effective = actions.effective(&self.config);
            ingress(&effective)?.services.iter().try_for_each(check_limits)?;
            let before = std::mem::replace(&mut self.effective, effective);
            if let Err(failure) = self.publish(self.links.clone(), self.next_hops.clone()) {
                self.effective = before;
                return Err(failure);
            }
        }
        self.actions = actions;
        self.note_end();
        Ok(())
    }

    /// Ends what has lasted as long as it was to.
    pub(super) fn end_actions(&mut self) {
        let now = Timestamp::now();
        let mut actions = self.actions.clone();
        let expired = actions.expire(now);
        if actions != self.actions {
            let over: Vec<Ban> = self.actions.ending(now).cloned().collect();
            if let Err(failure) = self.put_in_force(actions, expired.lists, expired.limits) {
                tracing::error!("what was to end goes on for a while: {}", failure.message);
                self.next_end = Some(Instant::now() + CLOCK);
                return;
            }
            self.saver.save(&self.actions);
            self.note_ended(&over);
        }
        self.note_end();
    }

    fn show_node(&self) -> view::Node {
        view::Node {
            schema_version: SCHEMA_VERSION,
            node: self.config.node.clone(),
            role: match &self.config.role {
                Role::Ingress(_) => "ingress",
                Role::Egress(_) => "egress",
            }
            .to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.publisher.next_generation().unwrap_or(1) - 1,
            services: named(&self.config),
        }
    }

    fn show_bans(&self) -> Result<view::Bans, Failure> {
        ingress(&self.config)?;
        let now = Timestamp::now();
        let hits = self.runtime_hits();
        let bans = self.actions.bans(now).map(|ban| view::Ban {
            address: ban.address,
            service: ban.service.clone(),
            cause: ban.cause.clone(),
            verified: ban.verified,
            count: ban.count,
            hit_packets: hits.get(&(ban.address.into(), Kind::Banned)).copied(),
            since: ban.since,
            expires: ban.expires,
        });
        Ok(view::Bans {
            schema_version: SCHEMA_VERSION,
            node: self.config.node.clone(),
            bans: bans.collect(),
        })
    }

    fn show_limits(&self, service: Option<&str>) -> Result<view::Limits, Failure> {
        let (configured, effective) = (ingress(&self.config)?, ingress(&self.effective)?);
        if let Some(name) = service {
            known(configured, name)?;
        }
        let mut limits = Vec::new();
        for (before, now) in configured.services.iter().zip(&effective.services) {
            if service.is_some_and(|name| name != before.name) {
                continue;
            }
            for key in Key::ALL {
                let changed = self.actions.limit(&before.name, *key);
                limits.push(view::Limit {
                    service: before.name.clone(),
                    limit: *key,
                    configured: key.of(&before.policy.limits),
                    in_force: key.of(&now.policy.limits),
                    origin: if changed.is_some() { "runtime" } else { "config" }.to_owned(),
                    reason: changed.and_then(|changed| changed.reason.clone()),
                    by: changed.map(|changed| changed.by.clone()),
                    since: changed.map(|changed| changed.since),
                    expires: changed.map(|changed| changed.expires),
                });
            }
        }
        Ok(view::Limits { schema_version: SCHEMA_VERSION, node: self.config.node.clone(), limits })
    }
}

/// The services, as clients reach them.
fn named(config: &Config) -> Vec<view::Service> {
    let row = |name: &str, protocol, vips: &[Ipv4Addr], port| view::Service {
        name: name.to_owned(),
        protocol: match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
        .to_owned(),
        vips: vips.to_vec(),
        port: match port {
            Some(Port::Number(number)) => Some(number),
            Some(Port::Any) | None => None,
        },
    };
    match &config.role {
        Role::Ingress(ingress) => {
            let services = ingress.services.iter();
            let rows = services.map(|service| match &service.way {
                IngressWay::Translate { vip, .. } => {
                    row(&service.name, service.protocol, &[*vip], Some(service.port))
                }
                IngressWay::Keep { vips, .. } => {
                    row(&service.name, service.protocol, vips, Some(service.port))
                }
            });
            rows.collect()
        }
        Role::Egress(egress) => {
            let services = egress.services.iter();
            let rows = services.map(|service| match &service.way {
                EgressWay::Translated { .. } => row(&service.name, service.protocol, &[], None),
                EgressWay::Keep { vips, port, .. } => row(&service.name, service.protocol, vips, Some(*port)),
            });
            rows.collect()
        }
    }
}

/// The part of an ingress relay; clients are judged nowhere else.
fn ingress(config: &Config) -> Result<&Ingress, Failure> {
    match &config.role {
        Role::Ingress(ingress) => Ok(ingress),
        Role::Egress(_) => {
            let message = format!("{} is an egress relay, which does not judge clients", config.node);
            Err(Failure::new(Exit::Usage, message)
                .hint("block, allow and limit clients at the ingress relays"))
        }
    }
}

fn check_services(ingress: &Ingress, what: &What) -> Result<(), Failure> {
    match what {
        What::SetLimits(service, values, _) => {
            known(ingress, service)?;
            if values.is_empty() {
                return Err(
                    Failure::new(Exit::Usage, "no limit is named").hint("write one like client_packets=2000")
                );
            }
            values.iter().try_for_each(|(key, value)| key.check(*value))
        }
        What::ResetLimits(Some(service), _) => known(ingress, service),
        What::ResetLimits(None, _) | What::Add(..) | What::Remove(..) | What::Lift(_) => Ok(()),
    }
}

fn known(ingress: &Ingress, service: &str) -> Result<(), Failure> {
    let names: Vec<&str> = ingress.services.iter().map(|service| service.name.as_str()).collect();
    if names.contains(&service) {
        return Ok(());
    }
    let failure = Failure::new(Exit::NotFound, format!("there is no service {service:?}"));
    Err(failure.hint(format!("there are: {}", names.join(", "))))
}
