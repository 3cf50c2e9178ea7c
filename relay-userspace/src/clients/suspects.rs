//! Who stays over a limit: clients of which much was dropped for their own limit at every look, for as long as a ban wants it.
//!
//! They are found by looking at the table, not by the samples of dropped packets: samples have a budget, which a flood uses up.
//!
//! A sender that heeds loss is dropped from at every limit too, a little: it is not over its limit, it is at it. So a client counts as over
//! its limit while a fifth of what it sends is dropped for it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use relay_abi::client::{DropClass, KEY_BITS};

use super::counts::Counts;
use super::meter::Unit;
use super::table::Entry;
use crate::config::policy::{Ban, Rates};

/// Verified clients that are kept in mind: those beyond stay limited.
const MOST_VERIFIED: usize = 65_536;
/// The same of others, whose addresses may be made up.
const MOST_UNPROVEN: usize = 16_384;
/// What is dropped is at least this part of what is forwarded.
const MUCH: u64 = 4;

/// What a service bans for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// When, and for how long.
    pub ban: Ban,
    /// Limits of a client.
    pub client: Rates,
    /// Limits of a prefix.
    pub prefix: Rates,
    /// The fair share in force, a second.
    pub fair: Option<(Unit, f64)>,
}

/// A client that is to be banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// The client.
    pub address: Ipv4Addr,
    /// Index of the service.
    pub service: u8,
    /// Whether it has proved that it receives at its address.
    pub verified: bool,
    /// Which limit it is over.
    pub limit: &'static str,
    /// What it sent, in the limit's unit, at the last look.
    pub measured_per_second: u64,
    /// What it may send.
    pub limit_per_second: u64,
    /// How long it has been over the limit.
    pub over: Duration,
}

/// Clients that may be about to be banned.
#[derive(Debug, Default)]
pub struct Suspects {
    known: HashMap<u64, Suspect>,
    unproven: usize,
    pass: u64,
}

#[derive(Debug)]
struct Suspect {
    counts: Counts,
    looked: Duration,
    /// Since when it has been over its limit at every look.
    since: Option<Duration>,
    verified: bool,
    pass: u64,
}

/// A limit that a client is over.
struct Over {
    limit: &'static str,
    measured: f64,
    allowed: f64,
}

impl Suspects {
    /// Looks at a client of which something was dropped lately; `now` is the time of a clock that never goes back.
    pub fn see(&mut self, entry: &Entry, rule: &Rule, now: Duration) -> Option<Offence> {
        let verified = entry.verified();
        if !verified && rule.ban.unproven.is_zero() {
            return None;
        }
        let key = entry.state & KEY_BITS;
        let pass = self.pass;
        let Some(suspect) = self.known.get_mut(&key) else {
            self.remember(key, entry, now);
            return None;
        };
        let seconds = now.saturating_sub(suspect.looked).as_secs_f64();
        let grown = grown(&entry.counts, &suspect.counts);
        let over = grown.and_then(|grown| over(&grown, rule, seconds));
        let since = over.is_some().then(|| suspect.since.unwrap_or(suspect.looked));
        let lasted = since.map(|since| now.saturating_sub(since)).filter(|lasted| *lasted >= rule.ban.after);
        suspect.counts = entry.counts;
        suspect.looked = now;
        suspect.pass = pass;
        // Whoever is reported is not reported again before the same time has passed once more.
        suspect.since = if lasted.is_some() { None } else { since };
        let (over, lasted) = (over?, lasted?);
        Some(Offence {
            address: entry.address(),
            service: entry.service(),
            verified,
            limit: over.limit,
            measured_per_second: over.measured as u64,
            limit_per_second: over.allowed as u64,
            over: lasted,
        })
    }

    /// Ends a look at all clients: who was not seen is forgotten.
    pub fn end_pass(&mut self) {
        let pass = self.pass;
        self.known.retain(|_, suspect| suspect.pass == pass);
        self.unproven = self.known.values().filter(|suspect| !suspect.verified).count();
        self.pass += 1;
    }

    /// Nobody was over a limit.
    pub fn clear(&mut self) {
        self.known = HashMap::new();
        self.unproven = 0;
    }

    /// How many are kept in mind.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn remember(&mut self, key: u64, entry: &Entry, now: Duration) {
        let verified = entry.verified();
        let full = if verified {
            self.known.len() - self.unproven >= MOST_VERIFIED
        } else {
            self.unproven >= MOST_UNPROVEN
        };
        if full {
            return;
        }
        self.unproven += usize::from(!verified);
        let suspect = Suspect { counts: entry.counts, looked: now, since: None, verified, pass: self.pass };
        self.known.insert(key, suspect);
    }
}

/// What came to the counts since; `None` if they were begun anew.
fn grown(now: &Counts, before: &Counts) -> Option<Counts> {
    let now: &[u64] = bytemuck::cast_slice(std::slice::from_ref(now));
    let before: &[u64] = bytemuck::cast_slice(std::slice::from_ref(before));
    let mut grown = Counts::default();
    let to: &mut [u64] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut grown));
    for ((to, now), before) in to.iter_mut().zip(now).zip(before) {
        *to = now.wrapping_sub(*before);
        if to.cast_signed() < 0 {
            return None;
        }
    }
    Some(grown)
}

fn over(grown: &Counts, rule: &Rule, seconds: f64) -> Option<Over> {
    let drops = |class: DropClass| grown.drops[class as usize];
    // Whoever was banned for a part of the time has not been over a limit all the time.
    if seconds <= 0.0 || drops(DropClass::Blocked) > 0 {
        return None;
    }
    let much = |dropped: u64, passed: u64| dropped > 0 && dropped.saturating_mul(MUCH) >= passed;
    let mean = grown.bytes as f64 / grown.packets.max(1) as f64;
    let packets = drops(DropClass::LimitPackets);
    if much(packets, grown.packets) {
        let (limit, allowed) = limit(Unit::Packets, "client_packets", rule.client.packets, rule);
        return Some(Over { limit, measured: (grown.packets + packets) as f64 / seconds, allowed });
    }
    let of_bytes = drops(DropClass::LimitBytes);
    if much(of_bytes, grown.packets) {
        let (limit, allowed) = limit(Unit::Bytes, "client_bytes", rule.client.bytes, rule);
        let measured = (grown.bytes as f64 + of_bytes as f64 * mean) / seconds;
        return Some(Over { limit, measured, allowed });
    }
    let connections = drops(DropClass::LimitConnections);
    if much(connections, grown.connections) {
        let allowed = rule.client.connections.unwrap_or(0) as f64;
        let measured = (grown.connections + connections) as f64 / seconds;
        return Some(Over { limit: "client_connections", measured, allowed });
    }
    // Others of its prefix may be who is too much: it must be so all by itself.
    let of_prefix = drops(DropClass::LimitPrefix);
    let sent = |passed: u64, size: f64| (passed as f64 + of_prefix as f64 * size) / seconds;
    let limits = [
        ("prefix_packets", rule.prefix.packets, sent(grown.packets, 1.0)),
        ("prefix_bytes", rule.prefix.bytes, sent(grown.bytes, mean)),
    ];
    let alone = |limit: Option<u64>, measured: f64| {
        limit.map(|limit| limit as f64).filter(|limit| much(of_prefix, grown.packets) && measured > *limit)
    };
    limits.into_iter().find_map(|(limit, rate, measured)| {
        alone(rate, measured).map(|allowed| Over { limit, measured, allowed })
    })
}

/// What limits a client's packets or bytes: its own limit, or the fair share where that is lower.
fn limit(unit: Unit, name: &'static str, own: Option<u64>, rule: &Rule) -> (&'static str, f64) {
    let own = own.map(|rate| rate as f64);
    match rule.fair {
        Some((of, level)) if of == unit && own.is_none_or(|own| level < own) => ("fair_share", level),
        _ => (name, own.unwrap_or(0.0)),
    }
}

#[cfg(test)]
mod tests {
    use relay_abi::Ipv4;
    use relay_abi::client::{VERIFIED, key, state};

    use super::*;

    fn rule() -> Rule {
        Rule {
            ban: Ban {
                after: Duration::from_secs(3),
                first: Duration::from_secs(60),
                longest: Duration::from_secs(600),
                unproven: Duration::ZERO,
            },
            client: Rates { packets: Some(1000), ..Rates::default() },
            prefix: Rates { packets: Some(5000), ..Rates::default() },
            fair: None,
        }
    }

    fn entry(flags: u64, packets: u64, class: DropClass, drops: u64) -> Entry {
        let mut counts = Counts { packets, bytes: packets * 100, ..Counts::default() };
        counts.drops[class as usize] = drops;
        Entry { state: state(key(Ipv4([192, 0, 2, 1]), 4), flags, 7), counts, ..Entry::default() }
    }

    /// Looks once a second while the counts grow by so much each time; what is reported, and when.
    fn watch(
        rule: &Rule,
        flags: u64,
        class: DropClass,
        growth: impl Fn(u64) -> (u64, u64),
    ) -> Vec<(u64, Offence)> {
        let (mut suspects, mut offences) = (Suspects::default(), Vec::new());
        let (mut packets, mut drops) = (0, 0);
        for second in 0..10 {
            let (more, dropped) = growth(second);
            (packets, drops) = (packets + more, drops + dropped);
            let found = suspects.see(&entry(flags, packets, class, drops), rule, Duration::from_secs(second));
            offences.extend(found.map(|offence| (second, offence)));
            suspects.end_pass();
        }
        offences
    }

    #[test]
    fn who_stays_over_the_limit_is_reported_with_numbers() {
        let found = watch(&rule(), VERIFIED, DropClass::LimitPackets, |_| (1000, 4000));
        let expected = Offence {
            address: Ipv4Addr::new(192, 0, 2, 1),
            service: 4,
            verified: true,
            limit: "client_packets",
            measured_per_second: 5000,
            limit_per_second: 1000,
            over: Duration::from_secs(3),
        };
        assert_eq!(found[0], (3, expected));
        // If nothing comes of it, again after as long as before.
        assert_eq!(found.iter().map(|(second, _)| *second).collect::<Vec<u64>>(), [3, 6, 9]);
    }

    #[test]
    fn one_good_second_in_three_is_enough() {
        let found = watch(&rule(), VERIFIED, DropClass::LimitPackets, |second| {
            (1000, 4000 * u64::from(second % 3 > 0))
        });
        assert_eq!(found, []);
    }

    #[test]
    fn the_time_of_a_ban_is_not_time_over_the_limit() {
        let mut suspects = Suspects::default();
        let mut found = Vec::new();
        for second in 0..10 {
            let (banned, since) = (1000 * second.min(4), u64::saturating_sub(second, 3));
            let mut entry = entry(VERIFIED, 100 + 1000 * since, DropClass::LimitPackets, 4000 * since);
            entry.counts.drops[DropClass::Blocked as usize] = banned;
            found.extend(suspects.see(&entry, &rule(), Duration::from_secs(second)).map(|_| second));
            suspects.end_pass();
        }
        // The ban ended in second 4: three whole ones follow.
        assert_eq!(found, [7]);
    }

    #[test]
    fn who_slows_down_when_packets_are_lost_is_at_the_limit_not_over_it() {
        assert_eq!(watch(&rule(), VERIFIED, DropClass::LimitPackets, |_| (1000, 200)), []);
        assert_eq!(watch(&rule(), VERIFIED, DropClass::LimitPackets, |_| (1000, 250)).len(), 3);
    }

    #[test]
    fn made_up_addresses_are_banned_only_where_that_is_asked_for() {
        assert_eq!(watch(&rule(), 0, DropClass::LimitPackets, |_| (0, 9000)), []);
        let mut rule = rule();
        rule.ban.unproven = Duration::from_secs(5);
        let found = watch(&rule, 0, DropClass::LimitPackets, |_| (0, 9000));
        assert!(!found[0].1.verified);
    }

    #[test]
    fn other_drops_and_the_prefixs_others_are_nobodys_fault() {
        for class in
            [DropClass::Filtered, DropClass::LimitService, DropClass::Blocked, DropClass::LimitPrefix]
        {
            assert_eq!(watch(&rule(), VERIFIED, class, |_| (1000, 3000)), []);
        }
        let found = watch(&rule(), VERIFIED, DropClass::LimitPrefix, |_| (4000, 3000));
        assert_eq!((found[0].1.limit, found[0].1.measured_per_second), ("prefix_packets", 7000));
    }

    #[test]
    fn bytes_connections_and_fair_shares_have_their_own_numbers() {
        let mut of_bytes = rule();
        of_bytes.client = Rates { bytes: Some(50_000), ..Rates::default() };
        let found = watch(&of_bytes, VERIFIED, DropClass::LimitBytes, |_| (500, 1500));
        assert_eq!((found[0].1.limit, found[0].1.measured_per_second), ("client_bytes", 200_000));
        let found = watch(&rule(), VERIFIED, DropClass::LimitConnections, |_| (10, 50));
        assert_eq!((found[0].1.limit, found[0].1.measured_per_second), ("client_connections", 50));
        let fair = Rule { fair: Some((Unit::Packets, 300.0)), ..rule() };
        let found = watch(&fair, VERIFIED, DropClass::LimitPackets, |_| (300, 700));
        assert_eq!((found[0].1.limit, found[0].1.limit_per_second), ("fair_share", 300));
    }

    #[test]
    fn a_flood_of_addresses_is_kept_in_mind_to_a_bound_and_leaves_room_for_verified_ones() {
        let mut rule = rule();
        rule.ban.unproven = Duration::from_secs(5);
        let mut suspects = Suspects::default();
        let see = |suspects: &mut Suspects, number: u32, flags| {
            let word = state(key(Ipv4(number.to_be_bytes()), 4), flags, 7);
            suspects.see(&Entry { state: word, ..Entry::default() }, &rule, Duration::ZERO);
        };
        (1..100_000).for_each(|number| see(&mut suspects, number, 0));
        assert_eq!(suspects.len(), MOST_UNPROVEN);
        (200_000..300_000).for_each(|number| see(&mut suspects, number, VERIFIED));
        assert_eq!(suspects.len(), MOST_UNPROVEN + MOST_VERIFIED);
        suspects.end_pass();
        suspects.end_pass();
        assert!(suspects.is_empty());
    }
}
