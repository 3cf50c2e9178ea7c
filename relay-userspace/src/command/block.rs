//! `xdp-relay block`: prefixes whose packets are dropped.

use clap::{Args, Subcommand};

use crate::actions::Verdict;
use crate::api::client::Selection;
use crate::command::output;
use crate::command::rules::{Add, List, Remove};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay block add 192.0.2.7 --for 1h --reason 'floods the login page'
  xdp-relay block add 192.0.2.0/24
  xdp-relay block remove 192.0.2.0/24
  xdp-relay block list --json | jq '.rules[] | select(.hit_packets > 0)'

It takes effect before the command ends, holds while no controller runs, and ends by itself. What the configuration
or its files block cannot be removed here; `xdp-relay allow add` wins over it. Of two prefixes that hold at run time
the longer one counts. Ends with 4 if no controller runs, 5 if the prefix was not blocked at run time.";

/// Block clients: drop what they send, at once
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Block {
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
    /// Block a prefix; once more with other terms changes them
    #[command(after_help = EXAMPLES)]
    Add(Add),
    /// Block a prefix no longer that was blocked at run time
    #[command(after_help = EXAMPLES)]
    Remove(Remove),
    /// Show what is blocked: by the configuration, by its files, at run time
    #[command(after_help = EXAMPLES)]
    List(List),
}

impl Block {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let client = self.selection.client()?;
            match &self.action {
                Action::Add(add) => add.run(Verdict::Block, &client, self.json),
                Action::Remove(remove) => remove.run(Verdict::Block, &client, self.json),
                Action::List(list) => list.run(Verdict::Block, &client, self.json),
            }
        })
    }
}
