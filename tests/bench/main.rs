//! What a packet costs: nanoseconds of each of the relay's ways over a program that only sends the packet back, or drops it.
//!
//! Run by `cargo xtask bench`. Needs root; everything happens in a network namespace that ends with the process.
//!
//! Method: live-frame test runs, durations as the kernel reports them; before and after each sample a fixed calibration
//! loop, and samples taken while the machine was slow are thrown away; the programs and their baselines take turns; reported is
//! the 25th percentile.

mod calibration;
mod case;
mod exact;
mod report;
mod sample;
mod subject;

use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use relay_tests::drive::Stage;
use relay_tests::drive::sources::NUMBERED;
use relay_tests::drive::stage::{stay_on, this_cpu};

use crate::calibration::Calibration;
use crate::case::{Case, Sources};
use crate::report::Line;
use crate::sample::{Pair, Sampler};

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
    let only = options.only.as_deref();
    let cases = case::cases(only, options.sources.as_deref());
    let exact = only.is_none_or(|only| only == exact::NAME);
    if cases.is_empty() && !exact {
        bail!("nothing to measure: the names are {}, {}", case::names().join(", "), exact::NAME);
    }
    let stage = Stage::build().context("cannot build the namespace to measure in")?;
    // The check is worth having where the machine was too busy to measure.
    let measured = if cases.is_empty() { Ok(()) } else { measure(&stage, &cases, &options) };
    if exact {
        let sources = options.sources.as_deref().unwrap_or(case::ALL);
        exact::run(&stage, sources, options.repetitions, options.packets, options.json)?;
    }
    measured
}

/// Runs on a thread of its own: it stays on one CPU.
fn measure(stage: &Stage, cases: &[Case], options: &Options) -> Result<()> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            stay_on(this_cpu()?)?;
            let mut calibration = Calibration::start();
            let mut sampler = Sampler::new(stage, options.packets)?;
            let mut results: Vec<Pair> = cases.iter().map(|_| Pair::default()).collect();
            for _ in 0..options.repetitions {
                for (case, pair) in cases.iter().zip(&mut results) {
                    sampler.sample(case, &mut calibration, pair)?;
                }
            }
            let (mut lines, mut few) = (Vec::new(), Vec::new());
            for (case, pair) in cases.iter().zip(&results) {
                match Line::new(case, pair, &calibration) {
                    Some(line) => lines.push(line),
                    None => few.push(case.name),
                }
            }
            report::compare(&mut lines);
            report::print(&lines, options.json)?;
            few.dedup();
            ensure!(
                few.is_empty(),
                "too few samples were taken at full speed of {}: run again on a quieter machine or with more \
                 --repetitions",
                few.join(", ")
            );
            Ok(())
        });
        thread.join().map_err(|_panic| anyhow!("the benchmark panicked"))?
    })
}

struct Options {
    json: bool,
    only: Option<String>,
    sources: Option<Vec<Sources>>,
    repetitions: u32,
    packets: u32,
}

impl Options {
    /// The arguments that xtask hands over; people give them to xtask, which explains them.
    fn parse() -> Result<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut options = Self { json: false, only: None, sources: None, repetitions: 24, packets: 150_000 };
        while let Some(name) = arguments.next() {
            if name == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--only" => options.only = Some(value),
                "--sources" => options.sources = Some(sources(&value)?),
                "--repetitions" => options.repetitions = value.parse().context("--repetitions")?,
                "--packets" => options.packets = value.parse().context("--packets")?,
                _ => bail!("unknown argument {name}: run `cargo xtask bench --help`"),
            }
        }
        Ok(options)
    }
}

fn sources(value: &str) -> Result<Vec<Sources>> {
    let one = |each: &str| {
        if each == "fresh" {
            return Ok(Sources::Fresh);
        }
        let number: u32 =
            each.parse().with_context(|| format!("--sources {each}: neither a number nor `fresh`"))?;
        if !number.is_power_of_two() || number > NUMBERED {
            bail!("--sources {number}: give powers of two up to {NUMBERED}, or `fresh`");
        }
        Ok(Sources::Number(number))
    };
    value.split(',').map(one).collect()
}
