//! What a service asks of its clients: its own keys over those of the whole file, and the rules between them.
//!
//! `[limits]`, `[filters]` and `[proof]` have to hold by themselves, and so has what each service makes of them. A problem is
//! reported where the key stands that breaks the rule, and only once: not again for each service that inherits it.

use std::time::Duration;

use super::rules;
use crate::config::defaults;
use crate::config::document::{At, Field, Origin, Reader};
use crate::config::policy::{Ban, Capacity, FilterMode, Filters, Limits, OverLimit, Policy, Proof, Rates};
use crate::config::problem::{Class, Problem, Span, excerpt};
use crate::config::raw::{self, File, ProofMode};
use crate::config::valid::Protocol;

/// What holds for services that say nothing else, checked by itself.
pub(super) fn check(file: &File, reader: &mut Reader<'_>) {
    limits(reader, "limits", &mut Layers::new(&file.limits.value, None));
    proof(reader, "proof", &mut Layers::new(&file.proof.value, None));
}

/// What a service asks of its clients.
pub(super) fn service(
    file: &File,
    reader: &mut Reader<'_>,
    path: &str,
    service: &raw::Service,
) -> Option<Policy> {
    let limits_path = format!("{path}.limits");
    let limits =
        limits(reader, &limits_path, &mut Layers::new(&service.limits.value, Some(&file.limits.value)));
    let filters = filters(&mut Layers::new(&service.filters.value, Some(&file.filters.value)));
    let protocol = service.protocol.given()?.value;
    let answers_verify = &service.answers_verify;
    let proof = match protocol {
        Protocol::Tcp => {
            let why = "a connection proves a client of TCP";
            refuse(reader, &format!("{path}.answers_verify"), answers_verify, why);
            let path = format!("{path}.proof");
            proof(reader, &path, &mut Layers::new(&service.proof.value, Some(&file.proof.value)))
        }
        Protocol::Udp => {
            refuse(reader, &format!("{path}.proof"), &service.proof, "only TCP has SYNs");
            Proof::Off
        }
    };
    Some(Policy { limits, filters, proof, answers_verify: answers_verify.value })
}

fn limits(reader: &mut Reader<'_>, path: &str, layers: &mut Layers<'_, raw::Limits>) -> Limits {
    let totals = [
        layers.value("total_packets", |table| &table.total_packets, defaults::NO_LIMIT),
        layers.value("total_bytes", |table| &table.total_bytes, defaults::NO_LIMIT),
        layers.value("total_connections", |table| &table.total_connections, defaults::NO_LIMIT),
    ];
    let over = layers.value("over", |table| &table.over, OverLimit::Drop);
    let fair = layers.value("fair", |table| &table.fair, false);
    let client = [
        layers.value("client_packets", |table| &table.client_packets, defaults::NO_LIMIT),
        layers.value("client_bytes", |table| &table.client_bytes, defaults::NO_LIMIT),
        layers.value("client_connections", |table| &table.client_connections, defaults::NO_LIMIT),
    ];
    let prefix = [
        layers.value("prefix_packets", |table| &table.prefix_packets, defaults::NO_LIMIT),
        layers.value("prefix_bytes", |table| &table.prefix_bytes, defaults::NO_LIMIT),
        layers.value("prefix_connections", |table| &table.prefix_connections, defaults::NO_LIMIT),
    ];
    let capacity = capacity(reader, path, layers, &fair);
    let times = BanTimes {
        after: layers.value("ban_after", |table| &table.ban_after, defaults::BAN_AFTER),
        first: layers.value("ban_for", |table| &table.ban_for, defaults::BAN_FOR),
        longest: layers.value("ban_max", |table| &table.ban_max, defaults::BAN_MAX),
        unproven: layers.value(
            "ban_unproven_for",
            |table| &table.ban_unproven_for,
            defaults::BAN_UNPROVEN_FOR,
        ),
    };
    let mut limits = Limits {
        client: rates(&client),
        prefix: rates(&prefix),
        total: rates(&totals),
        burst: layers.value("burst", |table| &table.burst, defaults::BURST).value,
        over: over.value,
        fair: capacity,
        ban: None,
    };
    if layers.refused {
        return limits;
    }
    if over.value == OverLimit::MarkDown && limits.total == Rates::default() {
        let [a, b, c] = &totals;
        let place = over.place().or(a.place()).or(b.place()).or(c.place());
        let message = "`over = \"mark_down\"` without any `total_` limit that could have room";
        report(reader, path, place, message, rules::MARK_DOWN);
    }
    limits.ban = ban(reader, path, &times);
    if limits.ban.is_some() && !limits.limit_clients() {
        let [a, b, c] = &client;
        let place = times.after.place().or(fair.place()).or(a.place()).or(b.place()).or(c.place());
        report(reader, path, place, "a ban without any limit to be over", rules::BAN);
    }
    limits
}

/// The capacity that is shared, if any is.
fn capacity(
    reader: &mut Reader<'_>,
    path: &str,
    layers: &mut Layers<'_, raw::Limits>,
    fair: &Said<bool>,
) -> Option<Capacity> {
    // A capacity of the service stands for that of `[limits]`, whatever unit either has.
    let own = layers.own;
    let table = match (&own.capacity_packets, &own.capacity_bytes, layers.base) {
        (Field::Absent, Field::Absent, Some(base)) => base,
        _ => own,
    };
    let is_own = std::ptr::eq(table, own);
    let span = |at: &Span| is_own.then(|| at.clone());
    let packets = table.capacity_packets.given();
    let bytes = table.capacity_bytes.given();
    if matches!(table.capacity_packets, Field::Refused) || matches!(table.capacity_bytes, Field::Refused) {
        layers.refused = true;
    }
    if layers.refused {
        return None;
    }
    let given =
        [packets.map(|at| ("capacity_packets", &at.span)), bytes.map(|at| ("capacity_bytes", &at.span))];
    if !fair.value {
        for (name, at) in given.into_iter().flatten() {
            let place = span(at).map(|span| (name, span));
            report(reader, path, place, "a capacity without `fair = true`", rules::FAIR);
        }
        return None;
    }
    match (packets, bytes) {
        (Some(packets), None) => Some(Capacity::Packets(packets.value)),
        (None, Some(bytes)) => Some(Capacity::Bytes(bytes.value)),
        (Some(_), Some(bytes)) => {
            let place = span(&bytes.span).map(|span| ("capacity_bytes", span));
            report(reader, path, place, "two capacities", rules::FAIR);
            None
        }
        (None, None) => {
            report(reader, path, fair.place(), "`fair = true` without a capacity", rules::FAIR);
            None
        }
    }
}

struct BanTimes {
    after: Said<Duration>,
    first: Said<Duration>,
    longest: Said<Duration>,
    unproven: Said<Duration>,
}

fn ban(reader: &mut Reader<'_>, path: &str, times: &BanTimes) -> Option<Ban> {
    let BanTimes { after, first, longest, unproven } = times;
    if after.value.is_zero() {
        for time in [first, longest, unproven] {
            if time.place().is_some() {
                report(reader, path, time.place(), "a time of bans without `ban_after`", rules::BAN);
            }
        }
        return None;
    }
    if longest.value < first.value {
        let message = "`ban_max` is less than `ban_for`";
        report(reader, path, longest.place().or(first.place()), message, rules::BAN_TIMES);
    }
    Some(Ban { after: after.value, first: first.value, longest: longest.value, unproven: unproven.value })
}

fn filters(layers: &mut Layers<'_, raw::Filters>) -> Filters {
    let default = Filters::default();
    let mut mode =
        |key: fn(&raw::Filters) -> &Field<FilterMode>, default| layers.value("", key, default).value;
    Filters {
        reflector_ports: mode(|table| &table.reflector_ports, default.reflector_ports),
        tcp_flags: mode(|table| &table.tcp_flags, default.tcp_flags),
        source_port_zero: mode(|table| &table.source_port_zero, default.source_port_zero),
        fragments: mode(|table| &table.fragments, default.fragments),
        protocols: mode(|table| &table.protocols, default.protocols),
    }
}

fn proof(reader: &mut Reader<'_>, path: &str, layers: &mut Layers<'_, raw::Proof>) -> Proof {
    let syn = layers.value("syn", |table| &table.syn, ProofMode::Off);
    let above = layers.value("above", |table| &table.above, 0);
    if layers.refused {
        return Proof::Off;
    }
    match (syn.value, above.value) {
        (ProofMode::Above, 0) => {
            report(reader, path, syn.place(), "`syn = \"above\"` without `above`", rules::PROOF);
            Proof::Off
        }
        (ProofMode::Above, above) => Proof::Above(above),
        (other, _) => {
            report(reader, path, above.place(), "a threshold without `syn = \"above\"`", rules::PROOF);
            if other == ProofMode::Always { Proof::Always } else { Proof::Off }
        }
    }
}

fn rates([packets, bytes, connections]: &[Said<u64>; 3]) -> Rates {
    let rate = |said: &Said<u64>| Some(said.value).filter(|rate| *rate != defaults::NO_LIMIT);
    Rates { packets: rate(packets), bytes: rate(bytes), connections: rate(connections) }
}

/// The table of a service over that of the whole file; or that of the whole file alone.
struct Layers<'f, T> {
    own: &'f T,
    base: Option<&'f T>,
    /// Whether a value was refused: then there is no telling whether the others go together.
    refused: bool,
}

impl<'f, T> Layers<'f, T> {
    fn new(own: &'f T, base: Option<&'f T>) -> Self {
        Self { own, base, refused: false }
    }

    /// What holds for a key.
    fn value<V: Clone>(&mut self, name: &'static str, key: impl Fn(&T) -> &Field<V>, default: V) -> Said<V> {
        let base = self.base.map(&key);
        let own = key(self.own);
        self.refused |= [Some(own), base].into_iter().flatten().any(|field| matches!(field, Field::Refused));
        let value = own.given().or(base.and_then(Field::given)).map_or(default, |at| at.value.clone());
        Said { name, value, own: own.given().map(|at| at.span.clone()) }
    }
}

/// What holds for a key, and where the table at hand says so itself.
struct Said<V> {
    name: &'static str,
    value: V,
    own: Option<Span>,
}

impl<V> Said<V> {
    fn place(&self) -> Option<(&'static str, Span)> {
        self.own.clone().map(|span| (self.name, span))
    }
}

/// Reports a broken rule at a key of the table at `path`. Without a place the rule is broken by what is inherited, and reported there.
fn report(reader: &mut Reader<'_>, path: &str, place: Option<(&str, Span)>, message: &str, rule: &str) {
    if let Some((name, span)) = place {
        let problem = Problem::new(Class::Context, &span, format!("{path}.{name}"), message)
            .value(excerpt(reader.text, &span))
            .allowed(rule);
        reader.report(problem);
    }
}

/// A key or table that a service of this protocol must not have.
fn refuse<T>(reader: &mut Reader<'_>, path: &str, at: &At<T>, why: &str) {
    if at.origin == Origin::File {
        let problem = Problem::new(Class::Context, &at.span, path, "this key has no place here")
            .value(excerpt(reader.text, &at.span))
            .allowed(why)
            .hint(Some("remove it"));
        reader.report(problem);
    }
}
