//! `xdp-relay client show`: all that an ingress relay knows of one client.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, Subcommand};
use relay_abi::client::DropClass;
use serde::Serialize;

use crate::clients::{Clients as Tables, Counts, Entry, Seen, Used, ago, text as rfc_3339};
use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};
use crate::jiffies::Moment;
use crate::pinned::{Node, Selection};

const EXAMPLES: &str = "\
Examples:
  xdp-relay client show 198.51.100.2
  xdp-relay client show 198.51.100.2 --json | jq '.services[] | {service, drops}'

\"used\" is how far the client is ahead of a limit's rate: beyond the burst its packets are over the limit. Works while no
controller runs. Ends with 4 if no relay has pins, 5 if the client has no place in the table: it never sent to a service, or
gave its place to another one; 8 if the pins may not be read.";

/// Show one client
#[derive(Args, Debug)]
pub struct Client {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(Show),
}

/// Show all that an ingress relay knows of one client: counts, drops, how much of its limits it has used
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct Show {
    /// The client's IPv4 address
    address: Ipv4Addr,

    #[command(flatten)]
    selection: Selection,

    /// Print one JSON object
    #[arg(short, long)]
    json: bool,
}

impl Client {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        match &self.command {
            Command::Show(show) => show.run(),
        }
    }
}

#[derive(Serialize)]
struct Output {
    schema_version: u32,
    node: String,
    address: Ipv4Addr,
    services: Vec<Row>,
}

/// The client of one service.
#[derive(Serialize)]
struct Row {
    service: String,
    verified: bool,
    #[serde(flatten)]
    seen: Seen,
    #[serde(flatten)]
    counts: Counts,
    limits: Vec<Used>,
}

impl Show {
    fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let node = self.selection.open()?;
            let tables = Tables::open(&node)?;
            // The clock first: what is due by then is due.
            let moment = tables.moment();
            let found = self.found(&node, &tables, moment)?;
            if self.json {
                output::object(&found)?;
            } else {
                output::text(&found.text(&moment))?;
            }
            Ok(Exit::Ok)
        })
    }

    fn found(&self, node: &Node, tables: &Tables, moment: Moment) -> Result<Output, Failure> {
        let entries = tables.of(self.address);
        if entries.is_empty() {
            let message =
                format!("{} has no place in the client table of {}", self.address, node.pins().node());
            return Err(Failure::new(Exit::NotFound, message).hint(
                "it has sent nothing to a service, or has given its place to another client: see `xdp-relay clients`",
            ));
        }
        let row = |entry: &Entry| Row {
            service: tables.services().name(entry.service()),
            verified: entry.verified(),
            seen: Seen::of(entry, &moment),
            counts: entry.counts,
            limits: tables
                .quota(entry.service(), moment)
                .map_or_else(Vec::new, |quota| quota.used(entry).collect()),
        };
        Ok(Output {
            schema_version: 1,
            node: node.pins().node().to_owned(),
            address: self.address,
            services: entries.iter().map(row).collect(),
        })
    }
}

impl Output {
    fn text(&self, moment: &Moment) -> String {
        let mut text = format!("client     {}\n", self.address);
        if let Some(seen) = self.services.iter().map(|row| row.seen).reduce(Seen::and) {
            let [first, last] = [seen.first, seen.last].map(|time| (rfc_3339(time), ago(time, moment.time)));
            text.push_str(&format!(
                "first seen {} ({})\nlast seen  {} ({})\n",
                first.0, first.1, last.0, last.1
            ));
        }
        let headings =
            ["service", "verified", ">packets", ">bytes", ">back", ">back bytes", ">connections", ">dropped"];
        let mut table = Table::new(&headings);
        for row in &self.services {
            let counts = &row.counts;
            table.row([
                row.service.clone(),
                if row.verified { "yes" } else { "no" }.into(),
                counts.packets.to_string(),
                counts.bytes.to_string(),
                counts.return_packets.to_string(),
                counts.return_bytes.to_string(),
                counts.connections.to_string(),
                counts.dropped().to_string(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.text());
        for section in [self.drops(moment), self.limits()].into_iter().flatten() {
            text.push('\n');
            text.push_str(&section.text());
        }
        text
    }

    fn drops(&self, moment: &Moment) -> Option<Table> {
        let mut table = Table::new(&["dropped from", "class", ">packets", "last"]);
        let mut any = false;
        for row in &self.services {
            for (class, packets) in DropClass::ALL.iter().zip(row.counts.drops).filter(|(_, n)| *n > 0) {
                any = true;
                let last = row.seen.dropped.map_or_else(String::new, |time| ago(time, moment.time));
                table.row([row.service.clone(), class.label().into(), packets.to_string(), last]);
            }
        }
        any.then_some(table)
    }

    fn limits(&self) -> Option<Table> {
        let mut table = Table::new(&["limited by", "of", ">a second", ">burst", ">used", "state"]);
        let mut any = false;
        for row in &self.services {
            for used in &row.limits {
                any = true;
                let by = if used.fair_share {
                    format!("{}, fair share", row.service)
                } else {
                    row.service.clone()
                };
                table.row([
                    by,
                    used.of.into(),
                    used.per_second.to_string(),
                    duration(used.burst_microseconds),
                    duration(used.used_microseconds),
                    if used.is_over() { "over" } else { "within" }.into(),
                ]);
            }
        }
        any.then_some(table)
    }
}

fn duration(microseconds: u64) -> String {
    humantime::format_duration(Duration::from_millis(microseconds.div_ceil(1000))).to_string()
}
