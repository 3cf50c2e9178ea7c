//! Blocked, allowed and banned clients in the packet path.

use std::collections::HashMap;
use std::time::Instant;

use ipnet::Ipv4Net;
use relay_abi::list::Prefix;

use super::Relay;
use crate::actions::{Actions, Verdict};
use crate::api::{Extent, SCHEMA_VERSION, view};
use crate::compile::{self, Clock};
use crate::config::valid::{Config, Role};
use crate::exit::Failure;
use crate::jiffies::Moment;
use crate::lists::{self, Batch, Held, Kind, Lists, Origin, Rule};
use crate::load::Maps;
use crate::pins::Pins;
use crate::timestamp::Timestamp;

/// What a configuration and its files list, read before anything is changed.
pub(super) struct Configured {
    batch: Batch,
    began: Instant,
}

impl Configured {
    /// Reads the files. An egress relay has none: it judges no clients.
    pub(super) fn read(config: &Config) -> Result<Self, Failure> {
        let began = Instant::now();
        let batch = match &config.role {
            Role::Ingress(ingress) => lists::read(&ingress.lists)?,
            Role::Egress(_) => Batch::default(),
        };
        Ok(Self { batch, began })
    }

    /// Puts them in force, and with them what was done at run time.
    pub(super) fn put_in_force(
        self,
        maps: &mut Maps,
        pins: &Pins,
        clock: Clock,
        actions: &Actions,
    ) -> Result<Lists, Failure> {
        let mut lists = maps.lists(pins)?;
        let listed = !self.batch.is_empty();
        let configured = lists.set_configured(pins, moment(clock), self.batch)?;
        if listed {
            tracing::info!(
                "{} prefixes are listed by the configuration and its files ({} more had expired): {} KiB, in force {} ms \
                 after reading began",
                configured.rules,
                configured.expired,
                configured.bytes.div_ceil(1024),
                self.began.elapsed().as_millis()
            );
        }
        let runtime = lists.set_runtime(pins, moment(clock), &rules(actions))?;
        if runtime.rules != 0 {
            tracing::info!("{} prefixes are listed by what was done at run time", runtime.rules);
        }
        Ok(lists)
    }
}

impl Relay {
    pub(super) fn put_lists_in_force(&mut self, actions: &Actions) -> Result<(), Failure> {
        self.lists.set_runtime(&self.pins, moment(self.clock), &rules(actions)).map(drop)
    }

    /// Blocked or allowed prefixes.
    pub(super) fn show_rules(&self, verdict: Verdict, extent: Extent) -> Result<view::Rules, Failure> {
        let about = |prefix: Prefix| match extent {
            Extent::Covering(address) => (prefix.address..=prefix.last()).contains(&address.to_bits()),
            Extent::Brief | Extent::All => true,
        };
        let of_runtime = |prefix: Ipv4Net| {
            about(Prefix { address: prefix.network().to_bits(), length: prefix.prefix_len() })
        };
        let kind = kind(verdict);
        let hits = self.runtime_hits();
        let done =
            self.actions.rules().filter(|rule| rule.verdict == verdict && of_runtime(rule.prefix)).map(
                |rule| view::Rule {
                    prefix: rule.prefix,
                    origin: "runtime".to_owned(),
                    hit_packets: hits.get(&(rule.prefix, kind)).copied(),
                    reason: rule.reason.clone(),
                    since: Some(rule.since),
                    expires: rule.expires,
                    by: Some(rule.by.clone()),
                },
            );
        let mut rules: Vec<view::Rule> = done.collect();
        let mut left_out = 0;
        for held in self.lists.configured().filter(|held| held.kind == kind && about(held.prefix)) {
            if extent == Extent::Brief && held.hits == 0 && held.is_from_file() {
                left_out += 1;
            } else {
                rules.extend(configured(held));
            }
        }
        Ok(view::Rules {
            schema_version: SCHEMA_VERSION,
            node: self.config.node.clone(),
            kind: verdict.to_string(),
            rules,
            left_out,
        })
    }

    /// Packets that each rule of run time has decided about.
    pub(super) fn runtime_hits(&self) -> HashMap<(Ipv4Net, Kind), u64> {
        let known = |held: Held<'_>| Some(((held.rule()?.prefix, held.kind), held.hits));
        self.lists.runtime().filter_map(known).collect()
    }
}

/// This moment, by the clock of the packet path.
fn moment(clock: Clock) -> Moment {
    let hz = clock.jiffies_per_second;
    Moment::now(hz, compile::tick_shift(hz))
}

/// What was done at run time, as rules. A ban of a client that an administrator allows does not count.
fn rules(actions: &Actions) -> Vec<Rule> {
    let done = actions.rules().map(|rule| Rule {
        prefix: rule.prefix,
        kind: kind(rule.verdict),
        reason: rule.reason.clone(),
        expires: rule.expires.map(|expires| expires.0),
        origin: Origin::Runtime,
    });
    let bans = actions.bans(Timestamp::now()).filter(|ban| !actions.allows(ban.address)).map(|ban| Rule {
        prefix: ban.address.into(),
        kind: Kind::Banned,
        reason: None,
        expires: Some(ban.expires.0),
        origin: Origin::Runtime,
    });
    done.chain(bans).collect()
}

const fn kind(verdict: Verdict) -> Kind {
    match verdict {
        Verdict::Block => Kind::Blocked,
        Verdict::Allow => Kind::Allowed,
    }
}

fn configured(held: Held<'_>) -> Option<view::Rule> {
    let rule = held.rule()?;
    Some(view::Rule {
        prefix: rule.prefix,
        origin: match rule.origin {
            Origin::File(path) => path.display().to_string(),
            Origin::Configuration => "config".to_owned(),
            Origin::Runtime => "runtime".to_owned(),
        },
        hit_packets: Some(held.hits),
        reason: rule.reason,
        since: None,
        expires: rule.expires.map(Timestamp),
        by: None,
    })
}
