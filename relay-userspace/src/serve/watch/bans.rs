//! Who stays over a limit of a service that bans for it.

use std::time::{Duration, Instant};

use super::shares::Shares;
use super::{Tables, Watched};
use crate::actions::{Cause, NewBan};
use crate::clients::{Offence, Rule, Suspects};
use crate::exit::Failure;
use crate::jiffies;

/// How often clients are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// A client of which something was dropped since the last look was so in one of the latest ticks.
const RECENT: u32 = 3;

/// The services that ban, and who is about to be banned.
#[derive(Default)]
pub(super) struct Bans {
    services: Vec<Watched>,
    suspects: Suspects,
    start: Option<Instant>,
    looked: Option<Instant>,
    /// How much each service had dropped at the last look.
    dropped: Vec<u64>,
}

impl Bans {
    /// Whether no service bans.
    pub(super) fn is_idle(&self) -> bool {
        self.services.iter().all(|service| service.limits.ban.is_none())
    }

    /// Goes by these services from now on.
    pub(super) fn plan(&mut self, services: Vec<Watched>) {
        self.services = services;
        self.suspects.clear();
        self.dropped.clear();
        self.looked = None;
    }

    /// Looks at the clients, if it is time, and if something was dropped.
    pub(super) fn look(
        &mut self,
        tables: &Tables,
        shares: &Shares,
        now: Instant,
    ) -> Result<Vec<NewBan>, Failure> {
        let early = self.looked.is_some_and(|looked| now - looked < PERIOD);
        if early || self.is_idle() {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        let dropped = (0..self.services.len())
            .map(|index| tables.totals(index).map(|totals| totals.dropped_packets))
            .collect::<Result<Vec<u64>, Failure>>()?;
        if std::mem::replace(&mut self.dropped, dropped) == self.dropped {
            self.suspects.clear();
            return Ok(Vec::new());
        }
        let rules: Vec<Option<Rule>> = self
            .services
            .iter()
            .enumerate()
            .map(|(index, service)| rule(service, shares.level(index)))
            .collect();
        let time = now - *self.start.get_or_insert(now);
        let tick = (jiffies::now(tables.hz) >> tables.tick_shift) as u32;
        let mut found = Vec::new();
        for entry in tables.clients().dropped_since(tick.wrapping_sub(RECENT)) {
            let service = usize::from(entry.service());
            let Some(rule) = rules.get(service).and_then(Option::as_ref) else { continue };
            let offence = self.suspects.see(&entry, rule, time);
            found.extend(offence.map(|offence| ban(offence, &self.services[service].name, rule)));
        }
        self.suspects.end_pass();
        Ok(found)
    }
}

fn rule(service: &Watched, fair: Option<(crate::clients::Unit, f64)>) -> Option<Rule> {
    let limits = &service.limits;
    Some(Rule { ban: limits.ban?, client: limits.client, prefix: limits.prefix, fair })
}

fn ban(offence: Offence, service: &str, rule: &Rule) -> NewBan {
    // A made-up address may be somebody's: never for longer than was said.
    let (first, longest) = if offence.verified {
        (rule.ban.first, rule.ban.longest)
    } else {
        (rule.ban.unproven, rule.ban.unproven)
    };
    NewBan {
        address: offence.address,
        service: service.to_owned(),
        cause: Cause {
            limit: offence.limit.to_owned(),
            measured_per_second: offence.measured_per_second,
            limit_per_second: offence.limit_per_second,
            over_milliseconds: u64::try_from(offence.over.as_millis()).unwrap_or(u64::MAX),
        },
        verified: offence.verified,
        first,
        longest,
    }
}
