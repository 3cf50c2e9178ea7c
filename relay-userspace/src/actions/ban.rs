//! A client that the relay banned by itself.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Actions, BANS_MAX};
use crate::timestamp::Timestamp;

/// How long a ban is remembered at least after its end, so that the next one lasts longer.
const MEMORY: Duration = Duration::from_secs(3600);

/// A client that the relay banned by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// Number of this action on this relay.
    pub id: u64,
    /// The client.
    pub address: Ipv4Addr,
    /// Whose limit it was over. It is banned from every service.
    pub service: String,
    /// Which limit, and by how much.
    pub cause: Cause,
    /// Whether the client had proved that the address is its own.
    pub verified: bool,
    /// Which ban of this client it is, from 1: each lasts twice as long as the one before.
    pub count: u32,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// From when on its count no longer matters.
    pub forgotten: Timestamp,
    /// Whether its end was taken notice of.
    #[serde(default)]
    pub ended: bool,
}

/// What a client did to be banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The limit, as `limit show` names it.
    pub limit: String,
    /// What it sent, in the limit's unit.
    pub measured_per_second: u64,
    /// What it may send.
    pub limit_per_second: u64,
    /// How long it went on.
    pub over_milliseconds: u64,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} a second instead of {} for {} ms",
            self.limit, self.measured_per_second, self.limit_per_second, self.over_milliseconds
        )
    }
}

/// A ban to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBan {
    /// The client.
    pub address: Ipv4Addr,
    /// Whose limit it was over.
    pub service: String,
    /// Which limit, and by how much.
    pub cause: Cause,
    /// Whether the client has proved that the address is its own.
    pub verified: bool,
    /// How long the first ban lasts; each further one twice as long.
    pub first: Duration,
    /// How long a ban lasts at most.
    pub longest: Duration,
}

impl Ban {
    /// Whether it is in force.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.expires
    }
}

impl Actions {
    /// Bans a client. `None` if it is banned or allowed already, or if there is no room: then it stays limited.
    pub fn ban(&mut self, new: NewBan, now: Timestamp) -> Option<&Ban> {
        let before = self.bans.get(&new.address);
        if self.allows(new.address) || before.is_some_and(|ban| ban.holds(now)) {
            return None;
        }
        if before.is_none() && self.bans.len() >= BANS_MAX {
            self.forget_one(now)?;
        }
        let before = self.bans.get(&new.address);
        let count = before.filter(|ban| now < ban.forgotten).map_or(0, |ban| ban.count).saturating_add(1);
        let lasts = lasts(new.first, new.longest, count);
        let expires = now.after(lasts)?;
        let ban = Ban {
            id: self.new_id(),
            address: new.address,
            service: new.service,
            cause: new.cause,
            verified: new.verified,
            count,
            since: now,
            expires,
            forgotten: expires.after(new.longest.max(MEMORY)).unwrap_or(expires),
            ended: false,
        };
        self.bans.insert(new.address, ban);
        self.bans.get(&new.address)
    }

    /// Makes room by forgetting the ban that ended first; `None` if all are in force.
    fn forget_one(&mut self, now: Timestamp) -> Option<()> {
        let over = self.bans.values().filter(|ban| !ban.holds(now));
        let address = over.min_by_key(|ban| ban.expires)?.address;
        self.bans.remove(&address).map(drop)
    }
}

/// How long a client's n-th ban lasts.
fn lasts(first: Duration, longest: Duration, count: u32) -> Duration {
    let factor = 1_u32.checked_shl(count - 1).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}
