//! `xdp-relay events`: which packets a relay drops and why, and what else happens to it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::client::Selection;
use crate::command::output;
use crate::events::{Filter, Record};
use crate::exit::{Exit, Failure};

/// Records shown unless told otherwise.
const SHOWN: usize = 100;
/// The same before those that are followed.
const SHOWN_FIRST: usize = 10;
/// Bytes of a line that is read back; what the relay writes is a hundredth of this.
const LINE_BYTES: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  xdp-relay events --follow --client 198.51.100.0/24
  xdp-relay events --reason blocked --reason banned --limit 1000
  xdp-relay events --follow --json > events.jsonl      and later:  xdp-relay events -r events.jsonl --client 198.51.100.2
  xdp-relay events --json | jq 'select(.event == \"drop\") | .service'

Dropped packets are sampled, so many a second for each reason and CPU ([events] rate in the configuration): what was left out since the
sample before is said with each one. `xdp-relay counters` and `xdp-relay clients` have exact numbers. The controller remembers
10,000 records, shared out among the reasons, until it ends. Ends with 4 if no controller runs, 8 if its socket may not be used.";

/// Show which packets were dropped and why, and what else happened
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Events {
    #[command(flatten)]
    selection: Selection,

    /// Only drops for this reason; may be given several times
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,

    /// Only what is about clients in this prefix
    #[arg(long, value_name = "PREFIX")]
    client: Option<String>,

    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,

    /// Show the last N [default: 100, with --follow 10, with -r all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Read the JSON lines of an earlier `events --json`; - for standard input
    #[arg(short = 'r', long = "read", value_name = "FILE", conflicts_with_all = ["follow", "node"])]
    read: Option<PathBuf>,

    /// Print a JSON object for each record, one a line
    #[arg(short, long)]
    json: bool,
}

impl Events {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let filter = Filter::new(&self.reason, self.client.as_deref())?;
            match &self.read {
                Some(file) => self.read_back(file, &filter)?,
                None => self.ask(&filter)?,
            }
            Ok(Exit::Ok)
        })
    }

    fn ask(&self, filter: &Filter) -> Result<(), Failure> {
        let limit = self.limit.unwrap_or(if self.follow { SHOWN_FIRST } else { SHOWN });
        let path = path(filter, self.follow, limit);
        self.selection.client()?.lines(&path, |line| {
            if self.json {
                output::line(line)?;
            } else {
                output::line(&parsed(line)?.to_string())?;
            }
            Ok(true)
        })
    }

    fn read_back(&self, file: &Path, filter: &Filter) -> Result<(), Failure> {
        let name =
            if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
        let failed = |error: std::io::Error| Failure::io(format!("read {name}"), &error);
        let input: Box<dyn Read> = if file == Path::new("-") {
            Box::new(stdin())
        } else {
            Box::new(File::open(file).map_err(failed)?)
        };
        let mut input = BufReader::new(input);
        let show =
            |record: &Record| output::line(&if self.json { record.json() } else { record.to_string() });
        let mut last = VecDeque::new();
        for number in 1.. {
            let mut line = String::new();
            if (&mut input).take(LINE_BYTES).read_line(&mut line).map_err(failed)? == 0 {
                break;
            }
            let record = Record::from_json(line.trim_end()).map_err(|error| {
                Failure::new(Exit::Failed, format!("line {number} of {name} is no event: {error}"))
                    .hint("it takes the lines that `xdp-relay events --json` prints")
            })?;
            if !filter.admits(&record) {
                continue;
            }
            match self.limit {
                None => show(&record)?,
                Some(limit) => {
                    last.push_back(record);
                    if last.len() > limit {
                        last.pop_front();
                    }
                }
            }
        }
        last.iter().try_for_each(show)
    }
}

/// What to ask the controller for.
pub(super) fn path(filter: &Filter, follow: bool, limit: usize) -> String {
    let mut path = format!("/v1/events?follow={follow}&limit={limit}");
    if !filter.reasons.is_empty() {
        path.push_str(&format!("&reasons={}", filter.reasons.join(",")));
    }
    if let Some(client) = filter.client {
        path.push_str(&format!("&client={client}"));
    }
    path
}

/// Reads a line of the controller.
pub(super) fn parsed(line: &str) -> Result<Record, Failure> {
    Record::from_json(line).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot understand the controller: {error}"))
            .hint("use the xdp-relay that runs this node")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_asked_for_what_is_wanted() {
        let filter = Filter::new(&["land".into(), "blocked".into()], Some("198.51.100.0/24")).unwrap();
        let wanted = "/v1/events?follow=true&limit=10&reasons=land,blocked&client=198.51.100.0/24";
        assert_eq!(path(&filter, true, 10), wanted);
        assert_eq!(path(&Filter::default(), false, 5), "/v1/events?follow=false&limit=5");
    }
}
