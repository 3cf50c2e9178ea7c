//! What services ask of their clients once the tables are laid over each other.

use std::path::PathBuf;
use std::time::Duration;

use super::base::{GUARDED, INGRESS, KeyFile, report};
use crate::config::policy::{
    Ban, Capacity, Clients, Events, FilterMode, Filters, Limits, ListedPrefix, Lists, OverLimit, Policy,
    Proof, Rates,
};
use crate::config::valid::{Config, Ingress, Role};
use crate::config::{Secrets, Style, examine_bytes};

fn accepted(text: &str) -> (Config, Ingress) {
    let report = report(&KeyFile::new().put_into(text));
    let config = report.config().unwrap_or_else(|| panic!("{}", report.text(Style::Plain))).clone();
    let Role::Ingress(ingress) = config.role.clone() else { panic!("{:?}", config.role) };
    (config, ingress)
}

#[test]
fn a_service_has_its_own_keys_and_else_those_of_the_file() {
    let (_, ingress) = accepted(GUARDED);
    let [web, dns, mail] = ingress.services.as_slice() else { panic!("{:?}", ingress.services) };
    let ban = Ban {
        after: Duration::from_secs(10),
        first: Duration::from_secs(120),
        longest: Duration::from_secs(3600),
        unproven: Duration::ZERO,
    };
    let inherited = Limits {
        client: Rates { packets: Some(1000), ..Rates::default() },
        total: Rates { bytes: Some(1_000_000), ..Rates::default() },
        over: OverLimit::MarkDown,
        burst: Duration::from_secs(1),
        ban: Some(ban),
        ..Limits::default()
    };
    let filters = Filters { tcp_flags: FilterMode::Shadow, ..Filters::default() };
    assert_eq!(
        mail.policy,
        Policy { limits: inherited, filters, proof: Proof::Above(500), answers_verify: false }
    );
    let limits = Limits { ban: None, ..inherited };
    assert_eq!(dns.policy, Policy { limits, filters, proof: Proof::Off, answers_verify: true });
    // 0 lifts the limit.
    let limits = Limits {
        client: Rates::default(),
        prefix: Rates { connections: Some(7), ..Rates::default() },
        fair: Some(Capacity::Bytes(5000)),
        ..inherited
    };
    let filters = Filters { protocols: FilterMode::Enforce, ..filters };
    assert_eq!(web.policy, Policy { limits, filters, proof: Proof::Always, answers_verify: false });
}

#[test]
fn a_service_may_leave_unused_what_it_inherits() {
    // The ban's times, a capacity and a threshold.
    let text = GUARDED
        .replace("burst = \"1s\"", "burst = \"1s\"\nfair = true\ncapacity_packets = 9")
        .replace("ban_after = \"0s\"", "ban_after = \"0s\"\nfair = false");
    let (_, ingress) = accepted(&text);
    let fair: Vec<_> = ingress.services.iter().map(|service| service.policy.limits.fair).collect();
    // The capacity of a service stands for the other one, whatever its unit.
    assert_eq!(fair, [Some(Capacity::Bytes(5000)), None, Some(Capacity::Packets(9))]);
}

#[test]
fn clients_events_and_lists() {
    let (config, ingress) = accepted(GUARDED);
    assert_eq!(config.events, Events { rate: 0 });
    assert_eq!(ingress.clients, Clients { entries: 2048, prefix_length: 20, challenge_rate: 5000 });
    let blocked = ListedPrefix {
        prefix: "198.51.100.0/24".parse().unwrap(),
        reason: Some("scans since May".into()),
        expires: Some(humantime::parse_rfc3339("2035-01-31T12:00:00Z").unwrap()),
    };
    let allowed = ListedPrefix { prefix: "192.0.2.7/32".parse().unwrap(), reason: None, expires: None };
    let lists = Lists {
        block: vec![blocked],
        allow: vec![allowed],
        block_files: ["a", "b"].map(|name| PathBuf::from(format!("/etc/xdp-relay/{name}.netset"))).into(),
        allow_files: Vec::new(),
    };
    assert_eq!(ingress.lists, lists);
    let (_, same) = accepted(&GUARDED.replace("\"2035-01-31T12:00:00Z\"", "2035-01-31 12:00:00Z"));
    assert_eq!(same.lists, lists);
}

#[test]
fn without_a_word_nothing_is_limited_and_what_is_safe_is_filtered() {
    let (config, ingress) = accepted(INGRESS);
    assert_eq!((config.events, ingress.clients, ingress.lists), Default::default());
    assert!(ingress.services.iter().all(|service| service.policy == Policy::default()));
    assert_eq!(ingress.clients.entries, 1_048_576);
    assert_eq!(ingress.services[0].policy.limits.burst, Duration::from_millis(200));
}

#[test]
fn files_of_prefixes_that_cannot_be_read_are_noted_by_who_only_checks() {
    let keys = KeyFile::new();
    let readable = keys.write("good.netset", "", 0o600);
    let directory = readable.replace("/good.netset", "");
    let text = keys.put_into(
        &GUARDED
            .replace("/etc/xdp-relay/a.netset", &readable)
            .replace("b.netset\"]", &format!("b.netset\"]\nallow_files = [{directory:?}]")),
    );
    let checked = examine_bytes("f".into(), text.clone().into_bytes(), Secrets::IfReadable);
    assert!(checked.config().is_some());
    let [missing, directory] = checked.notes() else { panic!("{:?}", checked.notes()) };
    assert!(
        missing.starts_with("`lists.block_files[1]` was not checked: cannot read /etc/xdp-relay/b.netset: ")
    );
    assert!(directory.starts_with("`lists.allow_files[0]`") && directory.ends_with("not a regular file"));
    assert!(report(&text).notes().is_empty());
}
