//! What a packet costs: nanoseconds of each of the relay's ways over a program that only sends the packet back.
//!
//! Run by `cargo xtask bench`, which builds the two BPF objects and hands their paths over. Needs root; everything happens in a
//! network namespace that ends with the process.
//!
//! Method: live-frame test runs, durations as the kernel reports them; before and after each sample a fixed calibration
//! loop, and samples taken while the machine was slow are thrown away; the program and its baseline take turns; reported is the
//! 25th percentile.

mod calibration;
mod packets;
mod relay;
mod sample;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::calibration::Calibration;
use crate::packets::Scenario;
use crate::sample::Sampler;

/// One line of the report.
#[derive(Serialize)]
struct Line {
    /// What was measured.
    name: &'static str,
    /// Clients that the packets came from or went to, chosen at random.
    sources: u32,
    /// Nanoseconds a packet, driver and transmission included.
    ns: f64,
    /// The same of the program that only returns `XDP_TX`.
    baseline_ns: f64,
    /// The difference: what the relay costs.
    over_baseline_ns: f64,
    /// Samples of the program that counted.
    samples: usize,
    /// Samples of program and baseline that were thrown away.
    discarded: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::parse()?;
    let stage = stage::Stage::build().context("cannot build the namespace to measure in")?;
    let mut calibration = Calibration::start();
    let mut sampler = Sampler::load(&stage, &options.relay, &options.bench)?;
    let cases: Vec<(Scenario, u32)> = Scenario::ALL
        .into_iter()
        .flat_map(|scenario| options.sources.iter().map(move |&sources| (scenario, sources)))
        .filter(|(scenario, _)| options.only.as_deref().is_none_or(|only| scenario.name() == only))
        .collect();
    if cases.is_empty() {
        bail!("nothing to measure: the names are {}", Scenario::ALL.map(Scenario::name).join(", "));
    }
    let mut results: Vec<sample::Pair> = cases.iter().map(|_| sample::Pair::default()).collect();
    for _ in 0..options.repetitions {
        for (&(scenario, sources), pair) in cases.iter().zip(&mut results) {
            sampler.sample(scenario, sources, options.packets, &mut calibration, pair)?;
        }
    }
    if !options.json {
        println!("name              sources      ns  baseline    over  samples  discarded");
    }
    for (&(scenario, sources), pair) in cases.iter().zip(&results) {
        report(&line(scenario, sources, pair, &calibration)?, options.json)?;
    }
    Ok(())
}

fn line(scenario: Scenario, sources: u32, pair: &sample::Pair, calibration: &Calibration) -> Result<Line> {
    let (ns, samples, lost) = sample::quartile(&pair.measured, calibration);
    let (baseline_ns, _, lost_too) = sample::quartile(&pair.baseline, calibration);
    if samples < FEWEST {
        bail!(
            "{} at {sources} sources: only {samples} samples were taken at full speed; run again on a quieter \
             machine or with more --repetitions",
            scenario.name()
        );
    }
    Ok(Line {
        name: scenario.name(),
        sources,
        ns,
        baseline_ns,
        over_baseline_ns: ns - baseline_ns,
        samples,
        discarded: lost + lost_too,
    })
}

fn report(line: &Line, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(line)?);
        return Ok(());
    }
    let Line { name, sources, ns, baseline_ns, over_baseline_ns, samples, discarded } = line;
    println!(
        "{name:<16} {sources:>8} {ns:>7.1} {baseline_ns:>9.1} {over_baseline_ns:>7.1} {samples:>8} {discarded:>10}"
    );
    Ok(())
}

/// Fewer samples than this say nothing.
const FEWEST: usize = 8;

struct Options {
    relay: PathBuf,
    bench: PathBuf,
    json: bool,
    only: Option<String>,
    sources: Vec<u32>,
    repetitions: u32,
    packets: u32,
}

impl Options {
    /// The arguments that xtask hands over; people give them to xtask, which explains them.
    fn parse() -> Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut options = Self {
            relay: PathBuf::new(),
            bench: PathBuf::new(),
            json: false,
            only: None,
            sources: vec![1, 1024],
            repetitions: 24,
            packets: 150_000,
        };
        while let Some(name) = arguments.next() {
            if name == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--relay" => options.relay = value.into(),
                "--bench" => options.bench = value.into(),
                "--only" => options.only = Some(value),
                "--sources" => options.sources = sources(&value)?,
                "--repetitions" => options.repetitions = value.parse().context("--repetitions")?,
                "--packets" => options.packets = value.parse().context("--packets")?,
                _ => bail!("unknown argument {name}: run `cargo xtask bench --help`"),
            }
        }
        Ok(options)
    }
}

fn sources(value: &str) -> Result<Vec<u32>> {
    let one = |each: &str| {
        let number: u32 = each.parse().with_context(|| format!("--sources {each}: not a number"))?;
        if !number.is_power_of_two() || number > packets::MOST_CLIENTS {
            bail!("--sources {number}: give powers of two up to {}", packets::MOST_CLIENTS);
        }
        Ok(number)
    };
    value.split(',').map(one).collect()
}
