//! What is printed of a case.

use anyhow::Result;
use serde::Serialize;

use crate::calibration::Calibration;
use crate::case::{ACCOUNTED, Case, KERNEL_LRU};
use crate::sample::{Pair, quartile};

/// One line of the report.
#[derive(Serialize)]
pub(crate) struct Line {
    /// What was measured.
    name: &'static str,
    /// Clients that the packets came from or went to, chosen at random; none: each packet from a new one.
    sources: Option<u32>,
    /// Prefixes in the list of blocked clients, where that is what differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefixes: Option<usize>,
    /// Nanoseconds a packet, driver and transmission included.
    ns: f64,
    /// The same of the program that only returns `XDP_TX`, or `XDP_DROP` where packets are dropped.
    baseline_ns: f64,
    /// The difference: what the relay costs.
    over_baseline_ns: f64,
    /// The same over what `ingress_forward_accounted` costs at as many sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    times_accounted: Option<f64>,
    /// Samples of the program that counted.
    samples: usize,
    /// Samples of program and baseline that were thrown away.
    discarded: usize,
}

/// Fewer samples than this say nothing.
const FEWEST: usize = 8;

impl Line {
    /// The line of a case; none if too few samples of it count.
    pub(crate) fn new(case: &Case, pair: &Pair, calibration: &Calibration) -> Option<Self> {
        let (ns, samples, lost) = quartile(&pair.measured, calibration);
        let (baseline_ns, _, lost_too) = quartile(&pair.baseline, calibration);
        (samples >= FEWEST).then(|| Self {
            name: case.name,
            sources: case.sources.number(),
            prefixes: case.prefixes,
            ns,
            baseline_ns,
            over_baseline_ns: ns - baseline_ns,
            times_accounted: None,
            samples,
            discarded: lost + lost_too,
        })
    }
}

/// Fills in how the program to compare with compares.
pub(crate) fn compare(lines: &mut [Line]) {
    let accounted: Vec<(Option<u32>, f64)> = lines
        .iter()
        .filter(|line| line.name == ACCOUNTED)
        .map(|line| (line.sources, line.over_baseline_ns))
        .collect();
    for line in lines.iter_mut().filter(|line| line.name == KERNEL_LRU) {
        let same = accounted.iter().find(|(sources, _)| *sources == line.sources);
        line.times_accounted = same.map(|(_, ns)| line.over_baseline_ns / ns);
    }
}

pub(crate) fn print(lines: &[Line], json: bool) -> Result<()> {
    if json {
        return lines.iter().try_for_each(|line| {
            println!("{}", serde_json::to_string(line)?);
            Ok(())
        });
    }
    println!(
        "{:<26} {:>8} {:>8} {:>7} {:>8} {:>7} {:>7} {:>7} {:>9}",
        "name", "sources", "prefixes", "ns", "baseline", "over", "times", "samples", "discarded"
    );
    for line in lines {
        let sources = line.sources.map_or("fresh".to_owned(), |sources| sources.to_string());
        let prefixes = line.prefixes.map_or(String::new(), |prefixes| prefixes.to_string());
        let times = line.times_accounted.map_or(String::new(), |times| format!("{times:.1}"));
        println!(
            "{:<26} {sources:>8} {prefixes:>8} {:>7.1} {:>8.1} {:>7.1} {times:>7} {:>7} {:>9}",
            line.name, line.ns, line.baseline_ns, line.over_baseline_ns, line.samples, line.discarded
        );
    }
    Ok(())
}
