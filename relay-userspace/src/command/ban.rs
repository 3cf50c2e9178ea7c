//! `xdp-relay ban`: the clients that the relay banned by itself.

use clap::{Args, Subcommand};

use crate::actions::{Done, parse_address};
use crate::api::client::Selection;
use crate::api::query;
use crate::api::view::{Ban as Banned, Bans};
use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay ban list
  xdp-relay ban list --json | jq -r '.bans[] | \"\\(.address) \\(.cause.limit) \\(.expires)\"'
  xdp-relay ban lift 192.0.2.7 --reason 'a mirror, was asked to be gentle'

The relay bans a client by itself when it stays over a limit (`ban_after` in the configuration). To keep a client from
being banned use `xdp-relay allow add`, to drop one for good `xdp-relay block add`. Ends with 4 if no controller runs,
5 if the client is not banned.";

/// Show and lift the bans of clients that stayed over their limit
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Ban {
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
    /// Show who is banned, why and until when
    #[command(after_help = EXAMPLES)]
    List,
    /// End the ban of a client, at once
    #[command(after_help = EXAMPLES)]
    Lift {
        /// Address of the client
        address: String,

        /// Why: one line for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

impl Ban {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let client = self.selection.client()?;
            match &self.action {
                Action::List => {
                    let bans: Bans = client.get("/v1/bans")?;
                    if self.json {
                        output::object(&bans)?;
                    } else {
                        output::text(&text(&bans))?;
                    }
                    Ok(Exit::Ok)
                }
                Action::Lift { address, reason } => {
                    let address = parse_address(address)?;
                    let path = query(&format!("/v1/bans/{address}"), &[("reason", reason.as_deref())]);
                    let done: Done = client.delete(&path)?;
                    output::done(&done, self.json, &format!("{address} is no longer banned"))
                }
            }
        })
    }
}

fn text(bans: &Bans) -> String {
    if bans.bans.is_empty() {
        return "no client is banned\n".to_owned();
    }
    let mut table = Table::new(&["address", "until", ">times", ">packets", "verified", "service", "cause"]);
    for ban in &bans.bans {
        table.row(row(ban));
    }
    table.text()
}

fn row(ban: &Banned) -> [String; 7] {
    [
        ban.address.to_string(),
        ban.expires.to_string(),
        ban.count.to_string(),
        ban.hit_packets.map_or_else(|| "-".to_owned(), |hits| hits.to_string()),
        if ban.verified { "yes" } else { "no" }.to_owned(),
        ban.service.clone(),
        ban.cause.to_string(),
    ]
}
