//! What an operator asks for, and what came of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::limits::{Key, Override, Value};
use super::rule::{Rule, Verdict};
use super::{Actions, LONGEST, REASON_MAX, RULES_MAX};
use crate::exit::{Exit, Failure};
use crate::timestamp::Timestamp;
use crate::who::Who;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who asks.
    pub who: Who,
    /// Why.
    pub reason: Option<String>,
    /// What.
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A prefix is to be blocked or allowed, for so long.
    Add(Verdict, Ipv4Net, Option<Duration>),
    /// No longer.
    Remove(Verdict, Ipv4Net),
    /// A client is to be banned no longer.
    Lift(Ipv4Addr),
    /// Limits of a service are to be others for a while.
    SetLimits(String, BTreeMap<Key, Value>, Duration),
    /// The configured ones are to hold again: these, or all where none is named; of one service or of all.
    ResetLimits(Option<String>, Vec<Key>),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// See [`crate::api::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What was asked for, like `block.add`.
    pub action: String,
    /// With which prefix, address or service.
    pub target: String,
    /// `added`, `updated`, `replaced`, `removed`, `lifted`, `set`, `reset` or `unchanged`.
    pub result: String,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// What else there is to know.
    pub note: Option<String>,
}

impl What {
    /// Its name in logs.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Add(Verdict::Block, ..) => "block.add",
            Self::Add(Verdict::Allow, ..) => "allow.add",
            Self::Remove(Verdict::Block, _) => "block.remove",
            Self::Remove(Verdict::Allow, _) => "allow.remove",
            Self::Lift(_) => "ban.lift",
            Self::SetLimits(..) => "limit.set",
            Self::ResetLimits(..) => "limit.reset",
        }
    }

    /// What it is done to.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Add(_, prefix, _) | Self::Remove(_, prefix) => prefix.to_string(),
            Self::Lift(address) => address.to_string(),
            Self::SetLimits(service, ..) | Self::ResetLimits(Some(service), _) => service.clone(),
            Self::ResetLimits(None, _) => "every service".to_owned(),
        }
    }

    /// How long it is to last.
    #[must_use]
    pub const fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Add(.., lasts) => *lasts,
            Self::SetLimits(.., lasts) => Some(*lasts),
            Self::Remove(..) | Self::Lift(_) | Self::ResetLimits(..) => None,
        }
    }

    /// Whether it is about limits, else about lists.
    #[must_use]
    pub const fn is_about_limits(&self) -> bool {
        matches!(self, Self::SetLimits(..) | Self::ResetLimits(..))
    }
}

impl Actions {
    /// Does what is asked for. The names of services are not looked at here.
    pub fn apply(&mut self, order: &Order, now: Timestamp) -> Result<Done, Failure> {
        check_reason(order.reason.as_deref())?;
        let expires = order.what.lasts().map(|lasts| end(now, lasts)).transpose()?;
        let done = |result: &str, note: Option<String>| Done {
            schema_version: crate::api::SCHEMA_VERSION,
            action: order.what.action().to_owned(),
            target: order.what.target(),
            result: result.to_owned(),
            expires,
            note,
        };
        match &order.what {
            What::Add(verdict, prefix, _) => {
                let (result, note) = self.add(order, *verdict, *prefix, expires, now)?;
                Ok(done(result, note))
            }
            What::Remove(verdict, prefix) => self.remove(*verdict, prefix).map(|()| done("removed", None)),
            What::Lift(address) => {
                self.lift(*address, now)?;
                let note = "it is banned again if it goes on; `xdp-relay allow add` prevents that";
                Ok(done("lifted", Some(note.to_owned())))
            }
            What::SetLimits(service, values, lasts) => {
                let expires = end(now, *lasts)?;
                for (key, value) in values {
                    let id = self.new_id();
                    let (by, reason) = (order.who.clone(), order.reason.clone());
                    let (service, key, value) = (service.clone(), *key, *value);
                    let changed = Override { id, service, key, value, reason, by, since: now, expires };
                    self.overrides.insert((changed.service.clone(), changed.key), changed);
                }
                Ok(done("set", None))
            }
            What::ResetLimits(service, keys) => {
                let before = self.overrides.len();
                self.overrides.retain(|(of, key), _| {
                    service.as_ref().is_some_and(|service| service != of)
                        || !(keys.is_empty() || keys.contains(key))
                });
                Ok(done(if before == self.overrides.len() { "unchanged" } else { "reset" }, None))
            }
        }
    }

    fn add(
        &mut self,
        order: &Order,
        verdict: Verdict,
        prefix: Ipv4Net,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(&'static str, Option<String>), Failure> {
        let (by, reason) = (order.who.clone(), order.reason.clone());
        let before = self.rules.get(&prefix).cloned();
        if before.is_none() && self.rules.len() >= RULES_MAX {
            let message = format!("{RULES_MAX} prefixes are listed at run time, which is as many as may be");
            return Err(Failure::new(Exit::Failed, message)
                .hint("remove some, or put them into a file and name that in the configuration"));
        }
        let (rule, result, note) = match before {
            Some(rule) if rule.verdict == verdict => {
                (Rule { reason: reason.or(rule.reason), by, expires, ..rule }, "updated", None)
            }
            before => {
                let id = self.new_id();
                let rule = Rule { id, verdict, prefix, reason, by, since: now, expires };
                let note = before.as_ref().map(|rule| {
                    format!(
                        "it was {} by {} before, which no longer holds",
                        rule.verdict.participle(),
                        rule.by
                    )
                });
                (rule, if before.is_some() { "replaced" } else { "added" }, note)
            }
        };
        self.rules.insert(prefix, rule);
        Ok((result, note))
    }

    fn remove(&mut self, verdict: Verdict, prefix: &Ipv4Net) -> Result<(), Failure> {
        if self.rules.get(prefix).is_some_and(|rule| rule.verdict == verdict) {
            self.rules.remove(prefix);
            return Ok(());
        }
        let message = format!("{prefix} was not {} at run time", verdict.participle());
        let other = match verdict {
            Verdict::Block => Verdict::Allow,
            Verdict::Allow => Verdict::Block,
        };
        Err(Failure::new(Exit::NotFound, message).hint(format!(
            "`xdp-relay {verdict} list` shows what is; what the configuration lists stays, but `xdp-relay {other} add \
             {prefix}` wins over it"
        )))
    }

    fn lift(&mut self, address: Ipv4Addr, now: Timestamp) -> Result<(), Failure> {
        if self.bans.get(&address).is_some_and(|ban| ban.holds(now)) {
            self.bans.remove(&address);
            return Ok(());
        }
        let failure = Failure::new(Exit::NotFound, format!("{address} is not banned"));
        let blocked = self.rules.values().find(|rule| rule.prefix.contains(&address));
        Err(match blocked.filter(|rule| rule.verdict == Verdict::Block) {
            Some(rule) => failure.hint(format!(
                "an operator has blocked {}: `xdp-relay block remove {0}` ends that",
                rule.prefix
            )),
            None => failure.hint("`xdp-relay ban list` shows who is"),
        })
    }
}

/// When something ends that lasts so long.
fn end(now: Timestamp, lasts: Duration) -> Result<Timestamp, Failure> {
    if lasts < Duration::from_secs(1) || lasts > LONGEST {
        let message = format!("{} is too short or too long", humantime::format_duration(lasts));
        return Err(
            Failure::new(Exit::Usage, message).hint("name a time between 1s and 10years, such as 30m")
        );
    }
    now.after(lasts).ok_or_else(|| Failure::new(Exit::Failed, "this host's clock is at the end of its days"))
}

fn check_reason(reason: Option<&str>) -> Result<(), Failure> {
    match reason {
        Some(text) if text.len() > REASON_MAX => Err(Failure::new(
            Exit::Usage,
            format!("the reason has {} bytes, {REASON_MAX} are allowed", text.len()),
        )),
        Some(text) if text.chars().any(char::is_control) => {
            Err(Failure::new(Exit::Usage, "the reason has control characters in it")
                .hint("write one plain line"))
        }
        _ => Ok(()),
    }
}
