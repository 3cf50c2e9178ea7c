//! Whether what happened is what the case says, and nothing else.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use relay_abi::counters::{Counter, Counters};
use relay_abi::{Reason, Tally, Verdict};

use super::accounts::{self, Client, Gone, Prefix, Seen};
use super::case::{Case, Step, flows};
use super::flow::Flow;
use super::relay::{Machine, Relay};
use super::world;

/// What a run saw of one packet.
#[derive(Clone, Debug)]
pub struct Observed {
    pub verdict: Option<Verdict>,
    /// The interface it left through, where the run can see that.
    pub to: Option<String>,
    pub bytes: Vec<u8>,
    pub counters: Box<Counters>,
    pub flows: Vec<Flow>,
    pub spilled: Vec<Flow>,
    /// What the relay keeps of clients.
    pub accounts: Seen,
    /// Code, length and earlier events left out, of each packet that was reported as dropped.
    pub events: Vec<(u8, usize, u64)>,
    /// Next hops reported, as device and address.
    pub reports: Vec<(String, Ipv4Addr)>,
    /// What went wrong that no case can want.
    pub faults: Vec<String>,
}

/// Something that runs packets through a relay.
pub trait Runner {
    /// What this machine has.
    fn machine(&self) -> Machine;

    /// Sets up a case: its relay, its state.
    fn prepare(&mut self, case: &Case, relay: &Relay) -> Result<()>;

    /// Runs one packet.
    fn run(&mut self, relay: &Relay, device: &str, frame: &[u8]) -> Result<Observed>;
}

/// Runs a case; gives what was seen of each packet, or all that is wrong.
pub fn judge(runner: &mut impl Runner, case: &Case) -> Result<Vec<Observed>, String> {
    let mut problems = String::new();
    let mut seen = Vec::new();
    if let Err(error) = play(runner, case, &mut seen, &mut problems) {
        let _ = writeln!(problems, "  cannot judge it: {error:#}");
    }
    if problems.is_empty() { Ok(seen) } else { Err(format!("{}: {}\n{problems}", case.theme, case.name)) }
}

fn play(
    runner: &mut impl Runner,
    case: &Case,
    seen: &mut Vec<Observed>,
    problems: &mut String,
) -> Result<()> {
    let relay = Relay::new(&case.relay, &case.with, runner.machine())?;
    runner.prepare(case, &relay)?;
    let (mut before, mut spilled) = (flows(&case.flows)?, flows(&case.spilled)?);
    for (number, step) in case.steps.iter().enumerate() {
        let context = || format!("packet {}", number + 1);
        let frame = step.frame().with_context(context)?;
        for _ in 0..step.times {
            let observed = runner.run(&relay, &step.device, &frame).with_context(context)?;
            let after = step.flows.as_ref().map(|texts| flows(texts)).transpose()?.unwrap_or(before);
            let spilled_after =
                step.spilled.as_ref().map(|texts| flows(texts)).transpose()?.unwrap_or(spilled);
            let mut wrong = compare(step, &frame, &observed, &after, &spilled_after).with_context(context)?;
            let reported = event(step, &frame, case.with.events_lost).with_context(context)?;
            if observed.events != reported {
                wrong.push(format!("events: {:?}; wanted: {reported:?}", observed.events));
            }
            wrong.extend(kept(step, &observed.accounts).with_context(context)?);
            for problem in wrong {
                let _ = writeln!(problems, "  packet {}: {problem}", number + 1);
            }
            seen.push(observed);
            (before, spilled) = (after, spilled_after);
        }
    }
    Ok(())
}

fn compare(
    step: &Step,
    frame: &[u8],
    observed: &Observed,
    after: &[Flow],
    spilled: &[Flow],
) -> Result<Vec<String>> {
    let end = step.wanted_end()?;
    let mut problems = observed.faults.clone();
    if observed.verdict != Some(end.verdict) {
        problems.push(format!("the verdict is {:?}, not {:?}", observed.verdict, end.verdict));
    }
    if observed.to.is_some() && observed.to != end.to {
        problems.push(format!("it leaves through {:?}, not {:?}", observed.to, end.to));
    }
    let counted = if end.to.is_some() { sent_bytes(frame) } else { frame.len() as u64 };
    let rows = BTreeMap::from([((end.verdict as u8, end.reason as u8), (1, counted))]);
    if moved(&observed.counters) != rows {
        problems.push(format!(
            "counters moved: {}; wanted: {}",
            rows_in_words(&moved(&observed.counters)),
            rows_in_words(&rows)
        ));
    }
    let mut tallies = BTreeMap::new();
    for tally in step.wanted_tallies()? {
        *tallies.entry(tally.label()).or_insert(0) += 1;
    }
    if tallied(&observed.counters) != tallies {
        problems.push(format!("tallies moved: {:?}; wanted: {tallies:?}", tallied(&observed.counters)));
    }
    problems.extend(unlike("flows", &observed.flows, after));
    problems.extend(unlike("spilled flows", &observed.spilled, spilled));
    let mut reports = Vec::new();
    for name in &step.reports {
        reports.push((world::EDGE.to_owned(), world::address(name)?));
    }
    if observed.reports != reports {
        problems.push(format!("reported next hops: {:?}; wanted: {reports:?}", observed.reports));
    }
    problems.extend(bytes(&observed.bytes, &step.wanted_frame()?));
    Ok(problems)
}

/// What the relay keeps of clients, where the step says so; and whether it adds up.
fn kept(step: &Step, seen: &Seen) -> Result<Vec<String>> {
    let mut problems = accounts::wrong(seen);
    if let Some(texts) = &step.clients {
        let wanted: Vec<Client> = texts.iter().map(|text| Client::read(text)).collect::<Result<_>>()?;
        problems.extend(unlike("clients", &seen.clients, &wanted));
    }
    if let Some(texts) = &step.prefixes {
        let wanted: Vec<Prefix> = texts.iter().map(|text| Prefix::read(text)).collect::<Result<_>>()?;
        problems.extend(unlike("prefixes", &seen.prefixes, &wanted));
    }
    if let Some(texts) = &step.gone {
        let wanted: Vec<Gone> = texts.iter().map(|text| Gone::read(text)).collect::<Result<_>>()?;
        problems.extend(unlike("gone", &seen.gone(), &wanted));
    }
    Ok(problems)
}

/// Every dropped packet is reported, whole, unless there is no room.
fn event(step: &Step, frame: &[u8], lost: bool) -> Result<Vec<(u8, usize, u64)>> {
    let end = step.wanted_end()?;
    let reported = end.verdict == Verdict::Drop && !lost;
    Ok(reported.then_some((end.reason as u8, frame.len(), 0)).into_iter().collect())
}

/// What of two collections is in one alone.
fn unlike<T: PartialEq + Display>(what: &str, seen: &[T], wanted: &[T]) -> Option<String> {
    let missing = |of: &[T], from: &[T]| -> Vec<String> {
        of.iter().filter(|one| !from.contains(one)).map(T::to_string).collect()
    };
    let (lacks, more) = (missing(wanted, seen), missing(seen, wanted));
    let same = seen.len() == wanted.len() && lacks.is_empty() && more.is_empty();
    (!same).then(|| format!("{what}: missing {lacks:?}, unwanted {more:?}, {} in all", seen.len()))
}

/// Bytes that a sent packet is counted with: those of the packet as it came in, without padding.
fn sent_bytes(frame: &[u8]) -> u64 {
    let total_length = frame.get(16..18).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
    14 + u64::from(total_length)
}

type Rows = BTreeMap<(u8, u8), (u64, u64)>;

/// The rows that are not zero.
fn moved(counters: &Counters) -> Rows {
    let mut rows = Rows::new();
    for verdict in Verdict::ALL {
        for code in 0..relay_abi::limits::REASON_CODES as u8 {
            let Counter { packets, bytes } = counters.rows[Counters::row(verdict, code)];
            if packets != 0 || bytes != 0 {
                rows.insert((verdict as u8, code), (packets, bytes));
            }
        }
    }
    rows
}

fn rows_in_words(rows: &Rows) -> String {
    let words = rows.iter().map(|((verdict, code), (packets, bytes))| {
        let verdict = Verdict::ALL[usize::from(*verdict)].label();
        let reason = Reason::from_code(*code).map_or("no such reason", Reason::label);
        format!("{verdict} {reason} by {packets} packets, {bytes} bytes")
    });
    words.collect::<Vec<_>>().join(", ")
}

fn tallied(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let mut tallies = BTreeMap::new();
    for (code, count) in counters.tallies.iter().enumerate().filter(|(_, count)| **count != 0) {
        let tally = Tally::ALL.iter().find(|tally| **tally as usize == code);
        tallies.insert(tally.map_or("no such tally", |tally| tally.label()), *count);
    }
    tallies
}

/// Where two frames differ, in rows of sixteen bytes.
pub fn bytes(seen: &[u8], wanted: &[u8]) -> Option<String> {
    if seen == wanted {
        return None;
    }
    let mut text = format!("the frame has {} bytes, wanted {}", seen.len(), wanted.len());
    let rows = seen.len().max(wanted.len()).div_ceil(16);
    for row in (0..rows).map(|row| row * 16) {
        let part = |bytes: &[u8]| {
            let part = bytes.get(row..bytes.len().min(row + 16)).unwrap_or_default();
            part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        let (seen, wanted) = (part(seen), part(wanted));
        if seen != wanted {
            let _ = write!(text, "\n      at {row:4}: {seen}\n      wanted: {wanted}");
        }
    }
    Some(text)
}

/// What differs between two runs of the same packet; the host's comes first.
#[must_use]
pub fn difference(host: &Observed, kernel: &Observed) -> Vec<String> {
    let mut problems = Vec::new();
    if host.verdict != kernel.verdict {
        problems.push(format!("the host says {:?}, the kernel {:?}", host.verdict, kernel.verdict));
    }
    if moved(&host.counters) != moved(&kernel.counters)
        || tallied(&host.counters) != tallied(&kernel.counters)
    {
        problems.push("host and kernel count differently".to_owned());
    }
    let words = |flows: &[Flow]| flows.iter().map(Flow::to_string).collect::<Vec<_>>();
    let missing = |of: &[Flow], from: &[Flow]| -> Vec<Flow> {
        of.iter().filter(|flow| !from.contains(flow)).cloned().collect()
    };
    for (host, kernel) in [(&host.flows, &kernel.flows), (&host.spilled, &kernel.spilled)] {
        let (lacks, more) = (missing(host, kernel), missing(kernel, host));
        if host.len() != kernel.len() || !lacks.is_empty() || !more.is_empty() {
            problems.push(format!("the host alone keeps {:?}, the kernel {:?}", words(&lacks), words(&more)));
        }
    }
    problems.extend(accounts::difference(&host.accounts, &kernel.accounts));
    if host.events != kernel.events {
        problems.push(format!("the host reports {:?}, the kernel {:?}", host.events, kernel.events));
    }
    if let Some(bytes) = bytes(&kernel.bytes, &host.bytes) {
        problems.push(format!("host and kernel write differently: {bytes}"));
    }
    problems
}
