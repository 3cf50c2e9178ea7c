//! `xdp-relay clients`: the clients of an ingress relay, the largest first or all of them.

use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;

use clap::Args;
use ipnet::Ipv4Net;
use relay_abi::client::DropClass;
use relay_abi::limits::SERVICES;
use serde::Serialize;

use crate::clients::{Clients as Tables, Counts, Entry, Filter, Seen, Sort, Top, ago};
use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};
use crate::jiffies::Moment;
use crate::pinned::{Node, Selection};

const EXAMPLES: &str = "\
Examples:
  xdp-relay clients                                     the 20 that sent the most bytes
  xdp-relay clients --sort drops --top 5                whom most was dropped of
  xdp-relay clients --filter 198.51.100.0/24 --service \"tcp 203.0.113.10:443\"
  xdp-relay clients --json | jq -r '.clients[] | select(.drop_packets > 1000) | .address'
  xdp-relay clients --json-lines | gzip > clients.gz    every client of every service

Packets and bytes are those that were forwarded, bytes those of IPv4 packets; \"back\" is what the service sent. A client is
verified when it has proved that it receives at its address. When a client was last seen is kept for four hours and a half;
longer ago looks like less. Only IPv4 clients are kept. Works while no controller runs. Ends with 4 if no relay has pins, 5
if there is no such service, 8 if the pins may not be read.";

/// Show the clients of an ingress relay: what they sent, what was dropped of it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Clients {
    #[command(flatten)]
    selection: Selection,

    /// How many to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,

    /// What to sort by, the largest first
    #[arg(long, value_enum, default_value_t = Sort::Bytes)]
    sort: Sort,

    /// Only clients in this prefix
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    filter: Option<Ipv4Net>,

    /// Only clients of this service, such as "tcp 203.0.113.10:443"
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,

    /// Print one JSON object
    #[arg(short, long)]
    json: bool,

    /// Print all clients, one JSON object a line for each client of a service, in no order
    #[arg(long, conflicts_with_all = ["json", "top", "sort"])]
    json_lines: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    schema_version: u32,
    node: &'a str,
    sort: Sort,
    /// Clients of services that were asked for, shown or not.
    matching_clients: u64,
    verified_clients: u64,
    clients: Vec<Row>,
}

/// A client, summed over its services.
#[derive(Serialize)]
struct Row {
    address: Ipv4Addr,
    services: Vec<String>,
    verified: bool,
    #[serde(flatten)]
    seen: Seen,
    #[serde(flatten)]
    counts: Counts,
}

/// A client of a service.
#[derive(Serialize)]
struct Line<'a> {
    address: Ipv4Addr,
    service: &'a str,
    verified: bool,
    #[serde(flatten)]
    seen: Seen,
    #[serde(flatten)]
    counts: Counts,
}

impl Clients {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json || self.json_lines, || {
            let node = self.selection.open()?;
            let tables = Tables::open(&node)?;
            let service = self.service.as_deref().map(|name| tables.services().find(name)).transpose()?;
            let filter = Filter { prefix: self.filter, service };
            if self.json_lines {
                lines(&tables, &filter, std::io::stdout().lock())?;
                return Ok(Exit::Ok);
            }
            let top = tables.table().top(&filter, self.sort, self.top, tables.services().several());
            let moment = tables.moment();
            let rows: Vec<Row> =
                top.addresses.iter().filter_map(|address| row(&tables, &filter, *address, &moment)).collect();
            if self.json {
                output::object(&self.object(&node, &top, rows))?;
            } else {
                output::text(&self.text(&top, &rows, &moment))?;
            }
            Ok(Exit::Ok)
        })
    }

    fn object<'a>(&self, node: &'a Node, top: &Top, clients: Vec<Row>) -> Output<'a> {
        Output {
            schema_version: 1,
            node: node.pins().node(),
            sort: self.sort,
            matching_clients: top.matching,
            verified_clients: top.verified,
            clients,
        }
    }

    fn text(&self, top: &Top, rows: &[Row], moment: &Moment) -> String {
        if rows.is_empty() {
            return "no such client has been seen yet\n".to_owned();
        }
        let headings = [
            "client",
            "verified",
            ">packets",
            ">bytes",
            ">back",
            ">back bytes",
            ">connections",
            ">dropped",
            "mostly",
            "last seen",
            "service",
        ];
        let mut table = Table::new(&headings);
        for row in rows {
            let counts = &row.counts;
            table.row([
                row.address.to_string(),
                if row.verified { "yes" } else { "no" }.into(),
                counts.packets.to_string(),
                counts.bytes.to_string(),
                counts.return_packets.to_string(),
                counts.return_bytes.to_string(),
                counts.connections.to_string(),
                counts.dropped().to_string(),
                mostly(counts).into(),
                ago(row.seen.last, moment.time),
                match &row.services[..] {
                    [only] => only.clone(),
                    several => format!("{} services", several.len()),
                },
            ]);
        }
        let (shown, matching, verified) = (rows.len(), top.matching, top.verified);
        format!("{}\n{shown} shown of {matching} clients of services, {verified} verified\n", table.text())
    }
}

/// Writes a line for every client of a service that `filter` takes.
pub fn lines(tables: &Tables, filter: &Filter, to: impl Write) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io("write to standard output", &error);
    let names: Vec<String> =
        (0..SERVICES).map(|index| tables.services().name(u8::try_from(index).unwrap_or(u8::MAX))).collect();
    let moment = tables.moment();
    let mut to = BufWriter::with_capacity(1 << 16, to);
    for entry in tables.table().entries().filter(|entry| filter.takes(entry.state)) {
        let line = Line {
            address: entry.address(),
            service: &names[usize::from(entry.service())],
            verified: entry.verified(),
            seen: Seen::of(&entry, &moment),
            counts: entry.counts,
        };
        serde_json::to_writer(&mut to, &line).map_err(|error| failed(error.into()))?;
        to.write_all(b"\n").map_err(failed)?;
    }
    to.flush().map_err(failed)
}

/// A client summed over those of its services that are meant; `None` if it has lost its places since.
fn row(tables: &Tables, filter: &Filter, address: Ipv4Addr, moment: &Moment) -> Option<Row> {
    let mut entries = tables.of(address);
    entries.retain(|entry| filter.takes(entry.state));
    let seen = |entry: &Entry| Seen::of(entry, moment);
    let mut counts = Counts::default();
    for entry in &entries {
        counts += entry.counts;
    }
    Some(Row {
        address,
        services: entries.iter().map(|entry| tables.services().name(entry.service())).collect(),
        verified: entries.iter().any(Entry::verified),
        seen: entries.iter().map(seen).reduce(Seen::and)?,
        counts,
    })
}

/// The class that most packets were dropped for.
fn mostly(counts: &Counts) -> &'static str {
    let largest = DropClass::ALL.iter().zip(counts.drops).max_by_key(|(_, drops)| *drops);
    largest.filter(|(_, drops)| *drops > 0).map_or("", |(class, _)| class.label())
}

/// A prefix, or an address alone.
pub(super) fn prefix(text: &str) -> Result<Ipv4Net, String> {
    if text.contains(':') {
        return Err("only IPv4 clients are kept: name an IPv4 prefix such as 198.51.100.0/24".to_owned());
    }
    let address = || text.parse::<Ipv4Addr>().map(Ipv4Net::from);
    let prefix = text.parse::<Ipv4Net>().or_else(|_| address());
    prefix
        .map(|prefix| prefix.trunc())
        .map_err(|error| format!("{error}: name an IPv4 prefix such as 198.51.100.0/24"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_addresses_are_filters() {
        assert_eq!(prefix("198.51.100.7/24").unwrap().to_string(), "198.51.100.0/24");
        assert_eq!(prefix("198.51.100.7").unwrap().to_string(), "198.51.100.7/32");
        assert!(prefix("2001:db8::/32").unwrap_err().contains("only IPv4"));
        assert!(prefix("198.51.100.0/33").is_err());
    }

    #[test]
    fn the_class_with_most_drops_is_named() {
        let mut counts = Counts::default();
        assert_eq!(mostly(&counts), "");
        counts.drops[DropClass::LimitBytes as usize] = 7;
        counts.drops[DropClass::Other as usize] = 3;
        assert_eq!(mostly(&counts), "limit_bytes");
    }
}
