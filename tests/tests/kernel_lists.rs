//! Lists in force in the kernel: replaced as a whole, hits kept, found again after a crash; and how long a million prefixes take.
#![expect(clippy::unwrap_used, reason = "a test's steps, in functions of their own")]

use std::io::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use relay_abi::list::{ENTRIES_PER_LINE, Line, Sections, header, slot};
use relay_abi::maps;
use relay_abi::meta::ROLE_INGRESS;
use relay_tests::privileged;
use relay_userspace::config::policy;
use relay_userspace::jiffies::Moment;
use relay_userspace::lists::{self, Kind, Lists, Loaded, Origin, Rule};
use relay_userspace::load::{self, Maps};
use relay_userspace::pinned::Mapping;
use relay_userspace::pins::{self, DEFAULT_PIN_DIRECTORY, Pins};

/// What the work may take, in times of what is aimed at: the machine may be a slow one, and so is a build with checks.
const PATIENCE: u32 = if cfg!(debug_assertions) { 30 } else { 4 };

fn with_maps(test: impl FnOnce(&Pins, &mut Maps) -> Result<()>) -> Result<()> {
    let pins = Pins::new(DEFAULT_PIN_DIRECTORY.as_ref(), &format!("lists-{}", std::process::id()));
    pins.create().context("make a directory for the pins")?;
    let result = Maps::create(&kind(), 7).context("make the maps").and_then(|mut maps| {
        maps.pin(&pins).context("pin the maps")?;
        test(&pins, &mut maps)
    });
    pins.remove_leftovers().context("remove the pins")?;
    pins.remove_directory().context("remove the directory of the pins")?;
    result
}

fn kind() -> load::Kind {
    load::Kind { role: ROLE_INGRESS, program: maps::PROGRAM_INGRESS, sizes: Vec::new() }
}

fn now() -> Moment {
    Moment::now(250, 8)
}

fn rule(prefix: &str, kind: Kind) -> Rule {
    let prefix = prefix.parse().unwrap();
    Rule { prefix, kind, reason: None, expires: None, origin: Origin::Runtime }
}

/// Counts for each entry of a pinned list as many hits as its number, from 1, as the packet path would.
fn hit(pins: &Pins, slot: u32) -> Result<()> {
    let list = Mapping::<Line>::write(&pins.list(slot)).context("map the list")?;
    let lines = list.values();
    let sections = Sections::unpack(lines[0].0[header::SECTIONS].load(Relaxed));
    for entry in 0..sections.entry_count {
        let line = &lines[(sections.entries + entry / ENTRIES_PER_LINE) as usize];
        line.0[2 * (entry % ENTRIES_PER_LINE) as usize + 1].fetch_add(u64::from(entry) + 1, Relaxed);
    }
    Ok(())
}

fn hits(lists: &Lists) -> Vec<(String, u64)> {
    lists.rules_with_hits().map(|(rule, hits)| (rule.prefix.to_string(), hits)).collect()
}

#[test]
fn lists_are_replaced_and_their_hits_kept() -> Result<()> {
    privileged("lists_are_replaced_and_their_hits_kept", || with_maps(replaced))
}

fn replaced(pins: &Pins, maps: &mut Maps) -> Result<()> {
    let mut lists = maps.lists(pins)?;
    ensure!(lists.loaded() == [Loaded::default(); 2]);
    let rules = [rule("192.0.2.0/24", Kind::Blocked), rule("192.0.2.9/32", Kind::Allowed)];
    let over = Rule {
        expires: Some(SystemTime::now() - Duration::from_secs(1)),
        ..rule("10.0.0.0/8", Kind::Banned)
    };
    let loaded = lists.set_runtime(pins, now(), &[&rules[..], &[over]].concat())?;
    ensure!((loaded.rules, loaded.expired) == (2, 1) && loaded.bytes >= 4096, "{loaded:?}");
    hit(pins, slot::RUNTIME)?;
    let counted = [("192.0.2.0/24".to_owned(), 1), ("192.0.2.9/32".to_owned(), 2)];
    ensure!(hits(&lists) == counted, "{:?}", hits(&lists));

    // A rule more: what was counted stays with its rules.
    lists.set_runtime(pins, now(), &[&[rule("192.0.2.8/32", Kind::Banned)], &rules[..]].concat())?;
    let more = [counted[0].clone(), ("192.0.2.8/32".to_owned(), 0), counted[1].clone()];
    ensure!(hits(&lists) == more, "{:?}", hits(&lists));
    ensure!(!Pins::next(&pins.list(slot::RUNTIME)).exists());

    // A controller that died just after a list was put in force had not renamed the pin.
    drop(lists);
    pins::rename(&pins.list(slot::RUNTIME), &Pins::next(&pins.list(slot::RUNTIME)))?;
    drop(Mapping::<Line>::write(&Pins::next(&pins.list(slot::RUNTIME)))?);
    let mut lists = Maps::adopt(pins, &kind())?.lists(pins)?;
    lists.set_runtime(pins, now(), &rules)?;
    ensure!(hits(&lists) == counted, "{:?}", hits(&lists));

    // One that died just before: what is pinned for the next is not in force.
    lists.set_configured(pins, now(), lists::Batch::of(&rules))?;
    std::fs::rename(pins.list(slot::CONFIGURED), Pins::next(&pins.list(slot::RUNTIME)))?;
    let mut lists = Maps::adopt(pins, &kind())?.lists(pins)?;
    lists.set_runtime(pins, now(), &rules)?;
    ensure!(hits(&lists) == counted, "{:?}", hits(&lists));

    let loaded = lists.set_runtime(pins, now(), &[])?;
    ensure!(loaded == Loaded::default() && hits(&lists).is_empty());
    ensure!(
        !pins.list(slot::RUNTIME).exists() && Maps::adopt(pins, &kind())?.lists(pins)?.loaded()[0].bytes == 0
    );
    Ok(())
}

#[test]
fn a_million_prefixes_are_in_force_in_time() -> Result<()> {
    privileged("a_million_prefixes_are_in_force_in_time", || with_maps(a_million))
}

fn a_million(pins: &Pins, maps: &mut Maps) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("million.netset");
    let mut text = std::io::BufWriter::new(std::fs::File::create(&file)?);
    let mut state = 1_u64;
    for number in 0..1_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let address = std::net::Ipv4Addr::from_bits((state >> 32) as u32);
        match number % 4 {
            0 => writeln!(text, "{address}/{}", 24 + (state & 7))?,
            _ => writeln!(text, "{address}")?,
        }
    }
    text.into_inner()?.sync_all()?;

    let mut lists = maps.lists(pins)?;
    let configured = policy::Lists { block_files: vec![file], ..policy::Lists::default() };
    for round in ["first", "in place of the first"] {
        let started = Instant::now();
        let batch = lists::read(&configured)?;
        let read = started.elapsed();
        let loaded = lists.set_configured(pins, now(), batch)?;
        let took = started.elapsed();
        println!(
            "{round}: {} prefixes read in {read:?}, in force after {took:?}, {} MiB of kernel memory",
            loaded.rules,
            loaded.bytes >> 20
        );
        ensure!(loaded.rules == 1_000_000);
        ensure!(took < Duration::from_secs(5) * PATIENCE, "{took:?}");
    }
    let started = Instant::now();
    let sum: u64 = lists.rules_with_hits().map(|(_, hits)| hits).sum();
    println!("all rules with their hits in {:?}", started.elapsed());
    ensure!(sum == 0);
    Ok(())
}
