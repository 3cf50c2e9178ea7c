//! `xdp-relay counters`: what became of every packet, by verdict and reason.

use clap::Args;
use serde::Serialize;

use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};
use crate::pinned::{Node, Selection, Totals};

const EXAMPLES: &str = "\
Examples:
  xdp-relay counters
  xdp-relay counters --json | jq '.counters[] | select(.verdict == \"drop\" and .packets > 0)'

Every packet is in exactly one row. The numbers count from the moment the pins were made, over restarts of the
controller. Ends with 4 if no relay has pins, 8 if they may not be read.";

/// Show what became of every packet, by verdict and reason
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Counters {
    #[command(flatten)]
    selection: Selection,

    /// Show the rows that are zero as well
    #[arg(long)]
    all: bool,

    /// Print one JSON object, with every row
    #[arg(short, long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    schema_version: u32,
    node: &'a str,
    role: &'static str,
    counters: Vec<Row>,
    tallies: Vec<TallyRow>,
}

#[derive(Serialize)]
struct Row {
    verdict: &'static str,
    reason: &'static str,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct TallyRow {
    name: &'static str,
    value: u64,
}

impl Counters {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let node = self.selection.open()?;
            let totals = node.counters()?;
            if self.json {
                output::object(&object(&node, &totals))?;
            } else {
                output::text(&text(&totals, self.all))?;
            }
            Ok(Exit::Ok)
        })
    }
}

fn object<'a>(node: &'a Node, totals: &Totals) -> Output<'a> {
    Output {
        schema_version: 1,
        node: node.pins().node(),
        role: node.role(),
        counters: totals
            .rows()
            .map(|(verdict, reason, counter)| Row {
                verdict: verdict.label(),
                reason: reason.label(),
                packets: counter.packets,
                bytes: counter.bytes,
            })
            .collect(),
        tallies: totals.tallies().map(|(tally, value)| TallyRow { name: tally.label(), value }).collect(),
    }
}

fn text(totals: &Totals, all: bool) -> String {
    let mut table = Table::new(&["verdict", "reason", ">packets", ">bytes", "meaning"]);
    let mut seen = false;
    for (verdict, reason, counter) in totals.rows() {
        if all || counter.packets > 0 {
            seen = true;
            table.row([
                verdict.label().into(),
                reason.label().into(),
                counter.packets.to_string(),
                counter.bytes.to_string(),
                reason.help().into(),
            ]);
        }
    }
    let mut text = if seen { table.text() } else { "no packet has been seen yet\n".to_owned() };
    let mut table = Table::new(&["event", ">times", "meaning"]);
    let mut seen = false;
    for (tally, value) in totals.tallies().filter(|(_, value)| all || *value > 0) {
        seen = true;
        table.row([tally.label().into(), value.to_string(), tally.help().into()]);
    }
    if seen {
        text.push('\n');
        text.push_str(&table.text());
    }
    text
}
