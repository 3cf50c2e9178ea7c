//! `why` says what becomes of a client's packets, and leaves no trace of having asked.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::limit::PrefixSet;
use relay_abi::list::Line;
use relay_abi::maps;
use relay_abi::service_state::ServiceState;
use relay_tests::end_to_end::ECHO;
use relay_tests::topology::addresses::{BACKEND, CLIENT, EGRESS_TUNNEL, VIP};
use relay_tests::traffic::packets::udp;
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::waiting::wait_for;
use relay_tests::{EndToEnd, Setup, privileged};
use relay_userspace::pinned::{Mapping, Shared};
use serde_json::Value;

/// One that has never sent anything.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const PATIENCE: Duration = Duration::from_secs(20);
/// Limits are set to this.
const LIMIT: u64 = 50;

fn why(system: &EndToEnd, client: Ipv4Addr, arguments: &[&str]) -> Result<Value> {
    let directory = system.ingress.state_directory();
    let directory = directory.to_str().context("a path that is no text")?;
    let client = client.to_string();
    let all = [&[client.as_str(), "--json", "--state-directory", directory], arguments].concat();
    let printed = system.ingress.command("why", &all)?.success()?;
    serde_json::from_str(&printed).with_context(|| format!("read {printed}"))
}

/// Everything that packets of clients change, word by word, and what was counted.
#[derive(PartialEq)]
struct Trace {
    words: Vec<Vec<u64>>,
    counters: Vec<(String, u64)>,
}

impl Trace {
    fn of(system: &EndToEnd) -> Result<Self> {
        let pins = system.topology().pin_directory().join(system.ingress.node());
        let pin = |name: &str| pins.join(name);
        let words = vec![
            words::<ClientSet, 16>(&pin(maps::CLIENTS))?,
            words::<ClientDetails, 16>(&pin(maps::CLIENT_DETAILS))?,
            words::<PrefixSet, 16>(&pin(maps::PREFIXES))?,
            words::<ServiceState, 8>(&pin(maps::SERVICE_STATES))?,
            // The hits of the rules are in the list.
            words::<Line, 8>(&pin("list_runtime"))?,
        ];
        let mut counters: Vec<_> =
            system.ingress.counters()?.moved_since(&Default::default()).into_iter().collect();
        // ARP goes on meanwhile.
        counters.retain(|(reason, _)| reason != "not_ip");
        Ok(Self { words, counters })
    }
}

/// The words of a pinned array; none of one that is not there.
fn words<T: Shared, const N: usize>(pin: &Path) -> Result<Vec<u64>> {
    if !pin.exists() {
        return Ok(Vec::new());
    }
    let values = Mapping::<T>::read(pin)?;
    Ok((0..values.values().len()).filter_map(|index| values.words::<N>(index)).flatten().collect())
}

/// Asks, and fails if that changed anything.
fn asked(system: &EndToEnd, client: Ipv4Addr, arguments: &[&str]) -> Result<Value> {
    let before = Trace::of(system)?;
    let answer = why(system, client, arguments)?;
    let after = Trace::of(system)?;
    ensure!(before.counters == after.counters, "{:?} became {:?}", before.counters, after.counters);
    for (table, (before, after)) in before.words.iter().zip(&after.words).enumerate() {
        let changed = before.iter().zip(after).position(|(before, after)| before != after);
        ensure!(
            changed.is_none() && before.len() == after.len(),
            "word {changed:?} of table {table} changed"
        );
    }
    Ok(answer)
}

fn service<'a>(answer: &'a Value, name: &str) -> Result<&'a Value> {
    let services = answer["services"].as_array().context("no services")?;
    services.iter().find(|service| service["name"] == name).with_context(|| format!("no {name} in {answer}"))
}

fn reasons(service: &Value) -> Vec<(&str, &str)> {
    service["packets"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|packet| (packet["packet"].as_str().unwrap_or(""), packet["reason"].as_str().unwrap_or("")))
        .collect()
}

#[test]
fn a_client_nobody_knows_would_be_forwarded() -> Result<()> {
    privileged("a_client_nobody_knows_would_be_forwarded", || {
        let system = EndToEnd::start(Setup::default())?;
        let answer = asked(&system, STRANGER, &[])?;
        ensure!(answer["same_program"] == true, "{answer}");
        let web = service(&answer, "web")?;
        let forwarded = "forward_encapsulated";
        ensure!(reasons(web) == [("tcp_syn", forwarded), ("tcp_ack", forwarded)], "{web}");
        ensure!((&web["verified"], &web["place"]) == (&false.into(), &"new".into()), "{web}");
        ensure!(web["packets"][0]["host"] == BACKEND.to_string(), "{web}");
        ensure!(web["packets"][0]["peer"] == EGRESS_TUNNEL.to_string(), "{web}");
        ensure!(reasons(service(&answer, "echo")?) == [("udp", forwarded)], "{answer}");
        ensure!(answer["drops"] == Value::Array(Vec::new()), "{answer}");
        // The warm-up's packets were answered, but over UDP that proves nothing.
        let known = asked(&system, CLIENT, &["--service", "echo"])?;
        ensure!(service(&known, "echo")?["place"] == "known", "{known}");
        ensure!(known["services"].as_array().map(Vec::len) == Some(1), "{known}");
        let none = system.ingress.command("why", &["198.51.100.2", "--service", "ecco"])?;
        ensure!(none.code() == 5, "{}", none.stderr);
        let egress = system.egress.command("why", &["198.51.100.2"])?;
        ensure!(egress.code() == 2 && egress.stderr.contains("egress relay"), "{}", egress.stderr);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_blocked_client_is_told_by_which_rule() -> Result<()> {
    privileged("a_blocked_client_is_told_by_which_rule", || {
        let mut system = EndToEnd::start(Setup::default())?;
        let prefix = "198.51.100.64/26";
        system.ingress.control(&["block", "add", prefix, "--reason", "scans", "--for", "1h"])?.success()?;
        let answer = asked(&system, STRANGER, &[])?;
        let web = service(&answer, "web")?;
        ensure!(reasons(web) == [("tcp_syn", "blocked"), ("tcp_ack", "blocked")], "{web}");
        let listed = &web["listed"];
        let told = ["prefix", "kind", "list", "reason"].map(|field| listed[field].as_str().unwrap_or(""));
        ensure!(told == [prefix, "blocked", "runtime", "scans"], "{listed}");
        ensure!(listed["expires"].is_string(), "{listed}");
        let other = asked(&system, CLIENT, &[])?;
        ensure!(service(&other, "web")?["listed"].is_null(), "{other}");
        // It really is so, and then the drop is remembered.
        let to = SocketAddrV4::new(VIP, ECHO);
        let before = system.ingress.counters()?;
        system.client_forges = true;
        system.client_wire()?.send(&udp(SocketAddrV4::new(STRANGER, 40_000), to, 64, b"x")?)?;
        system.ingress.wait_for_reason(&before, "blocked", 1)?;
        let answer = wait_for("the drop to be remembered", PATIENCE, || {
            let answer = asked(&system, STRANGER, &["--service", "echo"])?;
            Ok((answer["drops"][0]["reason"] == "blocked").then_some(answer))
        })?;
        ensure!(answer["drops"][0]["service"] == "echo", "{answer}");
        // Also while no controller runs, which knows the reason of the rule and the drops.
        system.ingress.stop()?;
        let answer = asked(&system, STRANGER, &["--service", &format!("udp/{VIP}:{ECHO}")])?;
        let echo = &answer["services"][0];
        ensure!(reasons(echo) == [("udp", "blocked")] && echo["listed"]["prefix"] == prefix, "{answer}");
        ensure!(answer["drops"].is_null() && echo["name"].is_null(), "{answer}");
        system.ingress.start()?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_limited_client_is_told_how_far_over_it_is() -> Result<()> {
    privileged("a_limited_client_is_told_how_far_over_it_is", || {
        let system = EndToEnd::start(Setup::default())?;
        let limit = format!("client_packets={LIMIT}");
        let set = ["limit", "set", "--service", "echo", limit.as_str(), "--for", "1h"];
        system.ingress.control(&set)?.success()?;
        let before = system.ingress.counters()?;
        let pace = Pace { packets_per_second: 2000, payload: 100, flows: 1 };
        let stream = Stream::start(system.client()?, system.echo_target(), pace)?;
        system.ingress.wait_for_reason(&before, "limit_client_packets", 500)?;
        // A client at its limit is over it but for the moment before its next packet is admitted.
        let answer = wait_for("the client to be over its limit when asked", PATIENCE, || {
            let answer = why(&system, CLIENT, &["--service", "echo"])?;
            let over = reasons(service(&answer, "echo")?) == [("udp", "limit_client_packets")];
            Ok(over.then_some(answer))
        })?;
        let text = wait_for("the same in words", PATIENCE, || {
            let service = format!("udp/{VIP}:{ECHO}");
            let text =
                system.ingress.command("why", &[&CLIENT.to_string(), "--service", &service])?.success()?;
            Ok(text.contains("a datagram: dropped, limit_client_packets").then_some(text))
        })?;
        drop(stream.finish()?);
        let echo = service(&answer, "echo")?;
        let level = &echo["limits"][0];
        ensure!((&level["scope"], &level["of"]) == (&"client".into(), &"packets".into()), "{level}");
        ensure!((&level["per_second"], &level["over"]) == (&LIMIT.into(), &true.into()), "{level}");
        let microseconds = |field: &str| level[field].as_u64().unwrap_or(0);
        ensure!(microseconds("used_microseconds") > microseconds("burst_microseconds"), "{level}");
        ensure!(answer["drops"][0]["reason"] == "limit_client_packets", "{answer}");
        ensure!(text.contains("  client    packets        50 "), "{text}");
        // Another client is not over it, and to ask charges nobody.
        let other = asked(&system, STRANGER, &["--service", "echo"])?;
        ensure!(reasons(service(&other, "echo")?) == [("udp", "forward_encapsulated")], "{other}");
        asked(&system, CLIENT, &[])?;
        system.finish()?;
        Ok(())
    })
}
