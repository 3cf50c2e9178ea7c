//! `xdp-relay check`: says everything that is wrong with a configuration file. Needs no root, touches nothing.

use std::path::PathBuf;

use clap::Args;

use crate::command::output;
use crate::compile::{self, Clock, Link, Links, NextHops};
use crate::config::valid::Config;
use crate::config::{self, Secrets};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay check /etc/xdp-relay/ingress.toml
  xdp-relay check --json ingress.toml | jq -r '.problems[] | \"\\(.line): \\(.key): \\(.message)\"'

Ends with 0 if the file is valid, 3 if it has problems, 1 or 8 if it cannot be read.";

/// Check a configuration file and say everything that is wrong with it
///
/// Needs no root and looks at nothing but the file, the hash key and the files of prefixes it names: interfaces need not exist. A hash key
/// that this user may not read is left out of the check, and that is said; so it is of files of prefixes, of which nothing but that
/// they can be read is checked. Says how much memory the tables of clients or flows will take.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// Configuration file
    file: PathBuf,

    /// Print the result as JSON on standard output; text goes to standard error all the same
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        match config::examine(&self.file, Secrets::IfReadable) {
            Ok(mut report) => {
                if let Some(Err(error)) = report.config().map(fits) {
                    report.refuse_services(&error);
                }
                for note in report.notes() {
                    eprintln!("note: {note}");
                }
                let memory = report.config().map(compile::table_memory);
                if self.json {
                    let mut json = report.json();
                    json["table_bytes"] = memory.map(|memory| memory.0).into();
                    output::json(&json)?;
                }
                if !report.is_ok() {
                    return Err(report.failure(output::stderr_style()));
                }
                if !self.json {
                    output::line(&report.summary())?;
                    if let Some(memory) = memory {
                        output::line(&format!("its tables take {memory} of memory"))?;
                    }
                }
                Ok(Exit::Ok)
            }
            Err(failure) => {
                if self.json {
                    output::json(&failure.json())?;
                }
                Err(failure)
            }
        }
    }
}

/// Whether the configuration fits the tables of the packet path, by making the image as far as that can be done
/// without looking at this host.
fn fits(config: &Config) -> Result<(), compile::Error> {
    let link = || Link { ifindex: 1, mac: [0; 6], mtu: 1500, name: String::new() };
    let links = Links {
        edge: link(),
        tunnel: link(),
        own_addresses: Vec::new(),
        edge_address: config.tunnel.local,
        clock: Clock { jiffies_per_second: 250, epoch_offset: 0 },
    };
    compile::compile(config, &links, &NextHops::default(), 0, 1).map(|_| ())
}
