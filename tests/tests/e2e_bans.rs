//! Automatic bans: who stays over a limit is banned, for longer each time; forged addresses get nobody banned.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::end_to_end::{ECHO, WEB};
use relay_tests::topology::addresses::{ATTACKER, CLIENT, VIP};
use relay_tests::topology::{Options, Place};
use relay_tests::traffic::fetch::Browser;
use relay_tests::traffic::flood::{Flood, Kind, Pour, Sources};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};
use serde_json::Value;

const LIMIT: u32 = 200;
const FLOOD: u32 = 5000;
const AFTER: f64 = 2.0;
/// In seconds.
const BAN: u64 = 4;
const PAGE: &str = "1000";
const PATIENCE: Duration = Duration::from_secs(30);

fn build() -> Result<EndToEnd> {
    let limits = format!("client_packets = {LIMIT}\nban_after = \"2s\"\nban_for = \"4s\"\nban_max = \"1m\"");
    let options = Options { attacker: true, ..Options::default() };
    let asks = vec![(Some("web"), "limits", limits.clone()), (Some("echo"), "limits", limits)];
    let mut system = EndToEnd::start(Setup { options, web: true, asks, ..Setup::default() })?;
    system.may_lose = true;
    Ok(system)
}

fn flood(system: &EndToEnd, kind: Kind, port: u16, sources: Sources) -> Result<Flood> {
    let target = SocketAddrV4::new(VIP, port);
    system.flood(Pour { kind, sources, target, packets_per_second: FLOOD, first: 0, packets: None })
}

/// The bans in force.
fn bans(system: &EndToEnd) -> Result<Vec<Value>> {
    let list = system.ingress.control_json(&["ban", "list"])?;
    Ok(list["bans"].as_array().context("no list")?.clone())
}

fn wait_for_ban(system: &EndToEnd, count: u64) -> Result<Value> {
    let mut found = None;
    wait_until("the flooder to be banned", PATIENCE, || {
        found = bans(system)?.into_iter().find(|ban| ban["count"] == count);
        Ok(found.is_some())
    })
    .with_context(|| system.ingress.log())?;
    found.context("found above")
}

/// What the audit log says was done to an address.
fn audited(system: &EndToEnd, address: Ipv4Addr) -> Result<Vec<Value>> {
    let log = system.ingress.state_directory().join(format!("{}.audit.jsonl", system.ingress.node()));
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<Value>, _>>()?;
    Ok(lines.into_iter().filter(|line| line["target"] == address.to_string().as_str()).collect())
}

#[test]
fn a_verified_flooder_is_banned_and_longer_the_second_time() -> Result<()> {
    privileged("a_verified_flooder_is_banned_and_longer_the_second_time", || {
        let system = build()?;
        // It proves itself as any client does: by a page.
        let attacker = system.topology().at(Place::Attacker)?;
        system.browse(|browser, _| {
            Browser { client: attacker, ..*browser }.fetch_parallel(&[PAGE.to_owned()])
        })?;
        let flood = flood(&system, Kind::Ack, WEB, Sources::One(ATTACKER))?;
        let first = wait_for_ban(&system, 1)?;
        println!("{first}");
        ensure!(first["address"] == ATTACKER.to_string().as_str() && first["verified"] == true, "{first}");
        let cause = &first["cause"];
        ensure!(cause["limit"] == "client_packets" && cause["limit_per_second"] == LIMIT, "{cause}");
        let measured = cause["measured_per_second"].as_f64().context("no rate")?;
        ensure!((measured / f64::from(FLOOD) - 1.0).abs() < 0.3, "{cause}");
        ensure!(cause["over_milliseconds"].as_f64().is_some_and(|over| over >= AFTER * 1000.0), "{cause}");
        // Nobody else is.
        system.browse(|browser, _| browser.fetch_parallel(&[PAGE.to_owned()]))?;

        let before = system.ingress.counters()?;
        system.ingress.wait_for_reason(&before, "banned", 1000)?;
        let second = wait_for_ban(&system, 2)?;
        println!("{second}");
        let all = bans(&system)?;
        ensure!(all.len() == 1, "{all:?}");
        flood.finish()?;
        wait_until("the second ban to end", PATIENCE, || Ok(audited(&system, ATTACKER)?.len() >= 4))?;
        ensure!(bans(&system)?.is_empty());
        let lines = audited(&system, ATTACKER)?;
        let actions: Vec<&str> = lines.iter().filter_map(|line| line["action"].as_str()).collect();
        ensure!(actions == ["ban.add", "ban.end", "ban.add", "ban.end"], "{lines:?}");
        ensure!(lines[0]["ban"]["cause"] == *cause, "{lines:?}");
        let told = system
            .ingress
            .control(&["events", "--json", "--limit", "10000", "--client", &ATTACKER.to_string()])?
            .success()?;
        let told = told.lines().filter(|line| line.contains("\"ban.add\"")).count();
        ensure!(told == 2, "{told} bans were told of in the events");
        let lasted: Vec<u64> = lines.iter().filter_map(|line| line["for_seconds"].as_u64()).collect();
        ensure!(lasted == [BAN, BAN, 2 * BAN, 2 * BAN], "{lines:?}");
        system.finish()?;
        Ok(())
    })
}

#[test]
fn forged_addresses_get_nobody_banned() -> Result<()> {
    privileged("forged_addresses_get_nobody_banned", || {
        let system = build()?;
        let echo = system.start_echo()?;
        // Ten addresses, each far over the limit.
        let flood = flood(&system, Kind::Udp(60), ECHO, Sources::Spoofed(10))?;
        let before = system.ingress.counters()?;
        std::thread::sleep(Duration::from_secs_f64(3.0 * AFTER));
        system.ingress.wait_for_reason(&before, "limit_client_packets", 1000)?;
        let found = bans(&system)?;
        ensure!(found.is_empty(), "{found:?}");
        flood.finish()?;
        ensure!(audited(&system, CLIENT)?.is_empty());
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}
