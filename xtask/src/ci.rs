//! `cargo xtask ci`: what must pass before a change lands, step by step, stopping at the first that fails.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::{generate, links, lint, process, setup, size, test, workspace};

/// Check everything: format, lints, documents, tests, the size of the BPF programs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

struct Step {
    name: &'static str,
    /// What a person types to see the same again.
    repeat: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "setup", repeat: "cargo xtask setup", run: || setup::run(&setup::Options::default()) },
    Step { name: "format", repeat: "cargo fmt --all --check", run: format },
    Step { name: "lint, host", repeat: "cargo xtask lint --host", run: lint::host },
    Step { name: "lint, BPF", repeat: "cargo xtask lint --bpf", run: lint::bpf },
    Step {
        name: "documents",
        repeat: "cargo xtask generate --check",
        run: || generate::run(&generate::Options::CHECK),
    },
    Step { name: "links", repeat: "cargo xtask ci", run: links::check },
    Step { name: "size", repeat: "cargo xtask size --check", run: || size::run(&size::Options::CHECK) },
    Step { name: "test", repeat: "cargo xtask test", run: || test::run(&test::Options::default()) },
];

pub(crate) fn run(_: &Options) -> Result<()> {
    let start = Instant::now();
    let mut durations = Vec::new();
    for step in STEPS {
        eprintln!("\n==> {}: {}", step.name, step.repeat);
        let began = Instant::now();
        let result = (step.run)();
        durations.push((step.name, began.elapsed()));
        if let Err(error) = result {
            summary(&durations, start.elapsed());
            return Err(anyhow!("{error:#}\nstep `{}` failed; to repeat it: {}", step.name, step.repeat));
        }
    }
    summary(&durations, start.elapsed());
    Ok(())
}

fn format() -> Result<()> {
    process::run(workspace::cargo("fmt").args(["--all", "--check"]))
}

fn summary(durations: &[(&str, Duration)], total: Duration) {
    eprintln!();
    for (name, duration) in durations.iter().copied().chain([("all", total)]) {
        eprintln!("{name:<12} {:>7.1} s", duration.as_secs_f64());
    }
}
