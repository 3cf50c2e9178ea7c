//! Cases on the host: the packet path over memory.

use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, bail};
use bytemuck::Zeroable;
use relay_abi::bucket::{Bucket, TOKEN};
use relay_abi::counters::Counters;
use relay_abi::event::EventBudget;
use relay_abi::flow::FlowKey;
use relay_abi::limits::{CHALLENGE_BUCKET, ICMP_BUCKETS};
use relay_abi::list::Line;
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::{Ipv4, Mac, Verdict, maps};
use relay_core::{Apart as _, Outcome};
use relay_userspace::lists::compiled::Compiled;

use super::accounts::Words;
use super::case::{Case, flows};
use super::flow::{self, Flow, Words as FlowWords};
use super::frame::MemFrame;
use super::judge::{Observed, Runner};
use super::lists;
use super::relay::{Machine, Relay};
use super::tables::{MemTables, NOW};
use super::world::{self, EDGE};

/// Interfaces and clock of a machine that is not there.
pub const MACHINE: Machine = Machine { edge: 2, tunnel: 3, jiffies_per_second: 250 };

/// Runs cases over memory.
#[derive(Debug, Default)]
pub struct Host {
    tables: Option<MemTables>,
}

impl Runner for Host {
    fn machine(&self) -> Machine {
        MACHINE
    }

    fn prepare(&mut self, case: &Case, relay: &Relay) -> Result<()> {
        let words = flow_words(case, relay, NOW)?;
        let mut tables = MemTables::new(relay.image.clone(), MACHINE.edge, &words);
        tables.forwarding = !relay.with.forwarding_off;
        tables.contended = relay.with.contended;
        tables.spill_refuses = relay.with.spill_refuses;
        tables.events_lost = relay.with.events_lost;
        Words::of_case(case, relay, relay.clock(NOW))?.store(&tables);
        for (cost, now) in tables.fair_costs.iter_mut().zip(relay.fair_costs(&case.fair)?) {
            *cost = now;
        }
        tables.lists = lists::compiled(&case.lists, tick(relay, NOW))?.map(|list| lines(&list));
        tables.neighbours = last_known(case, relay)?.into_iter().collect();
        tables.spilled =
            spilled_words(case, relay, NOW)?.into_iter().collect::<std::collections::HashMap<_, _>>().into();
        for (index, bucket) in buckets(relay, NOW) {
            tables.buckets.borrow_mut()[index as usize] = bucket;
        }
        self.tables = Some(tables);
        Ok(())
    }

    fn run(&mut self, relay: &Relay, device: &str, frame: &[u8]) -> Result<Observed> {
        let Some(tables) = &self.tables else { bail!("a packet before its case") };
        let ifindex = relay.ifindex(device)?;
        let mut memory = MemFrame::new(frame, ifindex).stiff(relay.with.no_head_room, relay.with.no_trim);
        tables.tallies.borrow_mut().fill(0);
        tables.reports.borrow_mut().clear();
        tables.events.borrow_mut().clear();
        tables.event_budgets.borrow_mut().fill(EventBudget::default());
        let outcome = match relay.program() {
            maps::PROGRAM_INGRESS => relay_core::ingress(&mut memory, tables),
            _ => relay_core::egress(&mut memory, tables),
        };
        let mut counters = Box::new(Counters::zeroed());
        let verdict = count(&mut counters, outcome, &memory, ifindex);
        if verdict == Verdict::Drop {
            tables.report(outcome.code(), memory.bytes().len());
        }
        counters.tallies = *tables.tallies.borrow();
        let mut faults = Vec::new();
        if outcome.sent().is_none() && memory.writes() > 0 {
            faults.push(format!("it was written to {} times and not sent", memory.writes()));
        }
        if !memory.kept_its_bounds() {
            faults.push("something was written outside the frame".to_owned());
        }
        let tick = tick(relay, NOW);
        let spilled = tables.spilled.borrow();
        Ok(Observed {
            verdict: Some(verdict),
            to: outcome.sent().map(|(ifindex, _)| relay.device(ifindex)),
            bytes: memory.bytes().to_vec(),
            counters,
            flows: flow::flows(&tables.flow_words(), &relay.config, tick),
            spilled: spilled
                .iter()
                .map(|(key, state)| Flow::from_words(key.addresses, *state, &relay.config, tick))
                .collect(),
            accounts: Words::load(tables).seen(relay, relay.clock(NOW)),
            events: tables.events.borrow().clone(),
            reports: tables.reports.borrow().iter().map(|key| report(relay, key)).collect(),
            faults,
        })
    }
}

/// A list as tables in memory have it.
#[must_use]
pub fn lines(list: &Compiled) -> Vec<Line> {
    list.lines().iter().map(|line| Line(line.map(AtomicU64::new))).collect()
}

/// Counts the end of a packet as the kernel's side does.
fn count(counters: &mut Counters, outcome: Outcome, frame: &MemFrame, ifindex: u32) -> Verdict {
    let (verdict, bytes) = match outcome.sent() {
        Some((to, total_length)) => {
            let verdict = if to == ifindex { Verdict::Transmit } else { Verdict::Redirect };
            (verdict, 14 + u64::from(total_length))
        }
        None if outcome.passed() => (Verdict::Pass, frame.bytes().len() as u64),
        None => (Verdict::Drop, frame.bytes().len() as u64),
    };
    let row = &mut counters.rows[Counters::row(verdict, outcome.code())];
    row.packets += 1;
    row.bytes += bytes;
    verdict
}

/// The tick that the relay's clock shows at a time in jiffies.
#[must_use]
pub fn tick(relay: &Relay, jiffies: u64) -> u64 {
    relay.image.as_ref().map_or(0, |image| jiffies >> image.globals.tick_shift)
}

/// The flow table a case starts with.
pub fn flow_words(case: &Case, relay: &Relay, jiffies: u64) -> Result<Vec<FlowWords>> {
    let Some(image) = &relay.image else { return Ok(vec![FlowWords::default()]) };
    let tick = tick(relay, jiffies);
    flow::table(&flows(&case.flows)?, relay.with.busy_entries, &image.globals, &relay.config, tick)
}

/// The spill table a case starts with.
pub fn spilled_words(case: &Case, relay: &Relay, jiffies: u64) -> Result<Vec<(FlowKey, u64)>> {
    let tick = tick(relay, jiffies);
    flows(&case.spilled)?.iter().map(|flow| Ok((flow.key(), flow.state(&relay.config, tick)?))).collect()
}

/// The token buckets of a case that says how many tokens are left.
#[must_use]
pub fn buckets(relay: &Relay, jiffies: u64) -> Vec<(u32, Bucket)> {
    let bucket = |tokens: u64| Bucket { refilled: jiffies, tokens: tokens * TOKEN };
    let own = relay.with.relay_tokens.map(|tokens| (0, bucket(tokens)));
    let challenges = relay.with.challenge_tokens.map(|tokens| (CHALLENGE_BUCKET, bucket(tokens)));
    let prefixes = relay.with.prefix_tokens.into_iter();
    own.into_iter()
        .chain(challenges)
        .chain(prefixes.flat_map(|tokens| (1..ICMP_BUCKETS).map(move |index| (index, bucket(tokens)))))
        .collect()
}

/// The last known ways to clients that a case starts with.
pub fn last_known(case: &Case, relay: &Relay) -> Result<Vec<(NeighbourKey, Neighbour)>> {
    let read = |text: &String| {
        let (name, station) =
            text.split_once(' ').with_context(|| format!("`{text}` is not `NAME STATION`"))?;
        let key =
            NeighbourKey { ifindex: relay.ifindex(EDGE)?, address: Ipv4(world::address(name)?.octets()) };
        let neighbour = Neighbour {
            destination: Mac(world::station(station)?),
            source: Mac(world::station("edge_mac")?),
        };
        Ok((key, neighbour))
    };
    case.last_known.iter().map(read).collect()
}

/// A reported next hop in words.
#[must_use]
pub fn report(relay: &Relay, key: &NeighbourKey) -> (String, std::net::Ipv4Addr) {
    (relay.device(key.ifindex), std::net::Ipv4Addr::from(key.address.0))
}
