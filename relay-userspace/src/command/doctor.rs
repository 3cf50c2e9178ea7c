//! `xdp-relay doctor`: what is wrong with this machine, and which command mends it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::command::output;
use crate::config::valid::Config;
use crate::config::{self, Secrets};
use crate::doctor::facts::Complaint;
use crate::doctor::finding::{self, Finding, Level};
use crate::doctor::gather::{self, Sending};
use crate::exit::{Exit, Failure};
use crate::pins::DEFAULT_PIN_DIRECTORY;

const EXAMPLES: &str = "\
Examples:
  xdp-relay doctor
  xdp-relay doctor --config /etc/xdp-relay/ingress.toml
  xdp-relay doctor --config ingress.toml --json | jq -r '.findings[] | select(.level == \"fail\") | .fix'

Ends with 0 if nothing failed, else with 1. Changes nothing.";

/// Examine this machine: what would break the relay, and the command that mends it
///
/// With a configuration it examines the interfaces, addresses, routes and peers that it names as well: it asks for the
/// link-layer addresses of next hops by ARP and sends the peers echo requests, unless --offline forbids it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Configuration file; without it only the machine is examined
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Send nothing: judge by what the kernel knows already
    #[arg(long)]
    offline: bool,

    /// Print one JSON object
    #[arg(short, long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    schema_version: u32,
    /// Whether nothing failed.
    ok: bool,
    failed_count: usize,
    warned_count: usize,
    findings: &'a [Finding],
}

/// Reads the configuration, or says each thing that is wrong with it.
fn configuration(file: &Path) -> Result<Config, Vec<Complaint>> {
    let check = || format!("xdp-relay check {} shows the place", file.display());
    let report = config::examine(file, Secrets::Required).map_err(|failure| {
        let fix = failure.hint.unwrap_or_else(|| "name a file that can be read".to_owned());
        vec![Complaint { message: failure.message, fix }]
    })?;
    report.config().cloned().ok_or_else(|| {
        let problems = report.complaints();
        problems
            .map(|(message, fix)| Complaint { message, fix: fix.map_or_else(check, str::to_owned) })
            .collect()
    })
}

impl Doctor {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let config = self.config.as_deref().map(configuration);
            let sending = if self.offline { Sending::Forbidden } else { Sending::Allowed };
            let facts = gather::facts(config, DEFAULT_PIN_DIRECTORY.as_ref(), sending)?;
            let findings = crate::doctor::examine(&facts);
            let count = |level| findings.iter().filter(|finding| finding.level == level).count();
            let (failed, warned) = (count(Level::Fail), count(Level::Warn));
            if self.json {
                output::object(&Output {
                    schema_version: 1,
                    ok: failed == 0,
                    failed_count: failed,
                    warned_count: warned,
                    findings: &findings,
                })?;
            } else {
                output::text(&finding::text(&findings))?;
            }
            Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
        })
    }
}
