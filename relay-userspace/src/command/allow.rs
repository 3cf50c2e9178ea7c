//! `xdp-relay allow`: prefixes whose clients are neither limited nor banned.

use clap::{Args, Subcommand};

use crate::actions::Verdict;
use crate::api::client::Selection;
use crate::command::output;
use crate::command::rules::{Add, List, Remove};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay allow add 198.51.100.0/24 --reason 'the office' --for 8h
  xdp-relay allow add 192.0.2.7            also if a list in the configuration blocks it
  xdp-relay allow remove 192.0.2.7
  xdp-relay allow list

Allowed clients pass filters, proofs, limits and bans, but not the limits of a service in total. It takes effect
before the command ends, holds while no controller runs, and ends by itself. It wins over what the configuration and
its files block, and over bans; of two prefixes that hold at run time the longer one counts. Ends with 4 if no
controller runs, 5 if the prefix was not allowed at run time.";

/// Allow clients: neither limit nor ban them, whatever lists say
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Allow {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    selection: Selection,

    /// Print one JSON object
    #[arg(short, long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Allow a prefix; once more with other terms changes them
    #[command(after_help = EXAMPLES)]
    Add(Add),
    /// Allow a prefix no longer that was allowed at run time
    #[command(after_help = EXAMPLES)]
    Remove(Remove),
    /// Show what is allowed: by the configuration, by its files, at run time
    #[command(after_help = EXAMPLES)]
    List(List),
}

impl Allow {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let client = self.selection.client()?;
            match &self.action {
                Action::Add(add) => add.run(Verdict::Allow, &client, self.json),
                Action::Remove(remove) => remove.run(Verdict::Allow, &client, self.json),
                Action::List(list) => list.run(Verdict::Allow, &client, self.json),
            }
        })
    }
}
