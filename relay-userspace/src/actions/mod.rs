//! What was done to a running relay: prefixes blocked and allowed by operators, clients banned by the relay, limits changed for a
//! while.
//!
//! [`Actions`] is the plain list of what is in force, kept by the controller's loop; [`file`](self::file) is how it outlives the
//! controller, and [`Saver`] writes that file without the loop waiting for a disk.

mod ban;
mod file;
mod limits;
mod order;
mod prefix;
mod rule;
mod saver;

pub use ban::{Ban, Cause, NewBan};
pub use file::{load, path};
pub use limits::{Key, Override, Value, check as check_limits};
pub use order::{Done, Order, What};
pub use prefix::{address as parse_address, parse as parse_prefix};
pub use rule::{Rule, Verdict};
pub use saver::Saver;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::config::valid::{Config, Role};
use crate::timestamp::Timestamp;

/// Prefixes that may be blocked or allowed at run time. Longer lists belong into files.
pub const RULES_MAX: usize = 16_384;
/// Bans that are kept, those that are over included.
pub const BANS_MAX: usize = 16_384;
/// Bytes of the text that says why.
pub const REASON_MAX: usize = 200;
/// How long something may last that has an end.
pub const LONGEST: Duration = Duration::from_secs(10 * 31_557_600);

/// Everything that was done and still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    last_id: u64,
    rules: BTreeMap<Ipv4Net, Rule>,
    bans: BTreeMap<Ipv4Addr, Ban>,
    overrides: BTreeMap<(String, Key), Override>,
}

impl Actions {
    /// The blocked and allowed prefixes, in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values()
    }

    /// The bans in force, in order of the addresses.
    pub fn bans(&self, now: Timestamp) -> impl Iterator<Item = &Ban> {
        self.bans.values().filter(move |ban| ban.holds(now))
    }

    /// The bans that are over and whose end was not yet taken notice of.
    pub fn ending(&self, now: Timestamp) -> impl Iterator<Item = &Ban> {
        self.bans.values().filter(move |ban| !ban.ended && !ban.holds(now))
    }

    /// The changed limits, by service.
    pub fn overrides(&self) -> impl Iterator<Item = &Override> {
        self.overrides.values()
    }

    /// The changed limit of a service.
    #[must_use]
    pub fn limit(&self, service: &str, key: Key) -> Option<&Override> {
        self.overrides.get(&(service.to_owned(), key))
    }

    /// Whether an operator has allowed an address: then the relay bans it no more, and what bans it has do not count.
    #[must_use]
    pub fn allows(&self, address: Ipv4Addr) -> bool {
        let narrowest = (0..=32).rev().find_map(|length| {
            let prefix = Ipv4Net::new(address, length).ok()?.trunc();
            self.rules.get(&prefix)
        });
        narrowest.is_some_and(|rule| rule.verdict == Verdict::Allow)
    }

    /// Drops what is over. True if that changed what packets meet.
    pub fn expire(&mut self, now: Timestamp) -> Expired {
        let (rules, overrides) = (self.rules.len(), self.overrides.len());
        self.rules.retain(|_, rule| rule.expires.is_none_or(|end| now < end));
        self.overrides.retain(|_, changed| now < changed.expires);
        let mut bans_ended = false;
        for ban in self.bans.values_mut().filter(|ban| !ban.ended && !ban.holds(now)) {
            ban.ended = true;
            bans_ended = true;
        }
        self.bans.retain(|_, ban| now < ban.forgotten);
        Expired { lists: bans_ended || rules != self.rules.len(), limits: overrides != self.overrides.len() }
    }

    /// When the next thing is over.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        let rules = self.rules.values().filter_map(|rule| rule.expires);
        let overrides = self.overrides.values().map(|changed| changed.expires);
        let bans = self.bans.values().map(|ban| if ban.ended { ban.forgotten } else { ban.expires });
        rules.chain(overrides).chain(bans).min()
    }

    /// The configuration with the limits that are in force.
    #[must_use]
    pub fn effective(&self, config: &Config) -> Config {
        limits::effective(config, self.overrides.values())
    }

    /// Gives up changed limits that do not go with the configuration, which may have changed. Gives the services they were of.
    pub fn give_up_unfit(&mut self, config: &Config) -> Vec<String> {
        let Role::Ingress(ingress) = self.effective(config).role else { return Vec::new() };
        let unfit = ingress.services.into_iter().filter(|service| check_limits(service).is_err());
        let unfit: Vec<String> = unfit.map(|service| service.name).collect();
        self.overrides.retain(|(service, _), _| !unfit.contains(service));
        unfit
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// What ended with [`Actions::expire`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Prefixes or bans.
    pub lists: bool,
    /// Changed limits.
    pub limits: bool,
}

#[cfg(test)]
mod tests;
