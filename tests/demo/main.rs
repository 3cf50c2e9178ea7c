//! `cargo xtask demo`: the published topology with real programs around the relay; shows what a client, the tunnel and
//! the service see of one another, and judges it.

mod browse;
mod client_view;
mod counters;
mod findings;
mod interrupt;
mod journey;
mod look_around;
mod resolver;
mod screen;
mod service_view;
mod stage;
mod standing;
mod traffic;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use serde_json::json;

use findings::{Findings, SCHEMA_VERSION, Summary};
use screen::Screen;
use stage::Stage;

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                       a few seconds; removes everything it made
  cargo xtask demo --keep                leaves it up and says how to look around
  cargo xtask demo --down                removes what was left up, also after a crash
  cargo xtask demo --json | jq .ok

Ends with 0 if all is as promised, 1 if anything is wrong, 2 on wrong usage.";

/// Show the relay at work: a client, two relays and a hidden service in network namespaces
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", after_help = EXAMPLES)]
struct Options {
    /// Leave everything up and say how to look around
    #[arg(long)]
    keep: bool,
    /// Remove what was left up
    #[arg(long, conflicts_with = "keep")]
    down: bool,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let screen = Screen::new(options.json);
    match run(&options, &screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if options.json {
                screen.object(
                    &json!({"schema_version": SCHEMA_VERSION, "ok": false, "error": {"message": format!("{error:#}")}}),
                );
            }
            eprintln!("error: {error:#}");
            interrupt::signal().map_or(ExitCode::FAILURE, |signal| ExitCode::from(128 + signal as u8))
        }
    }
}

/// Whether all is as promised.
fn run(options: &Options, screen: &Screen) -> Result<bool> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("the demo needs root, for network namespaces and XDP; run `cargo xtask demo` as root");
    }
    if options.down {
        return down(screen);
    }
    let start = Instant::now();
    standing::remove_abandoned()?;
    let alone = if options.keep { Some(standing::only_one_kept()?) } else { None };
    let name = if options.keep { standing::KEPT.to_owned() } else { standing::passing_name() };
    interrupt::remember();
    if options.keep && standing::remove(&name)? {
        screen.line("removed the demo that was left up before");
    }

    screen.text(stage::DIAGRAM);
    let mut stage = Stage::build(&name)?;
    screen.line(&format!("\nup after {:.1} s", start.elapsed().as_secs_f64()));
    let mut findings = examine(&mut stage, screen)?;
    interrupt::check()?;
    let how_to_look_around = if options.keep {
        let text = look_around::text(&stage)?;
        stage.leave_up();
        Some(text)
    } else {
        if let Err(error) = stage.remove() {
            findings.note(&error);
        }
        None
    };
    drop(alone);
    findings.seconds = (start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
    let summary = Summary::of(findings);
    if options.json {
        screen.object(&summary);
    } else {
        screen.verdict(&summary);
        screen.text(&how_to_look_around.unwrap_or_default());
    }
    Ok(summary.ok)
}

/// The traffic, and what each place saw of it.
fn examine(stage: &mut Stage, screen: &Screen) -> Result<Findings> {
    let mut findings = Findings::default();
    traffic::run_all(stage, screen, &mut findings)?;
    let captures = stage.end_captures()?;
    journey::show(&captures, screen, &mut findings);
    service_view::show(stage, screen, &mut findings);
    counters::show(stage, screen, &mut findings);
    client_view::show(&captures, screen, &mut findings);
    stage.check_relays(&mut findings);
    Ok(findings)
}

fn down(screen: &Screen) -> Result<bool> {
    let _alone = standing::only_one_kept()?;
    let abandoned = standing::remove_abandoned()?;
    let removed = standing::remove(standing::KEPT)? || abandoned;
    screen.line(if removed { "removed the demo" } else { "no demo is up" });
    if screen.is_json() {
        screen.object(&json!({"schema_version": SCHEMA_VERSION, "ok": true, "removed": removed}));
    }
    Ok(true)
}
