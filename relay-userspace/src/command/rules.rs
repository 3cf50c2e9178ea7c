//! What `block` and `allow` have in common.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::actions::{Done, Verdict, parse_prefix};
use crate::api::client::Client;
use crate::api::query;
use crate::api::view::{Rule, Rules};
use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};

/// A prefix to list.
#[derive(Args, Debug)]
pub(super) struct Add {
    /// Address, or prefix like 192.0.2.0/24 (IPv4)
    prefix: String,

    /// Why: one line, kept with it and in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// For how long, like 10m, 2h or 7days; without it until it is removed
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
}

/// A prefix to list no longer.
#[derive(Args, Debug)]
pub(super) struct Remove {
    /// Address or prefix, as it was added
    prefix: String,

    /// Why: one line for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Which of the listed prefixes.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Show every prefix that files list as well, not only those that decided about a packet
    #[arg(long)]
    all: bool,
}

/// The routes of a kind.
const fn route(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Block => "/v1/blocks",
        Verdict::Allow => "/v1/allows",
    }
}

impl Add {
    pub(super) fn run(&self, verdict: Verdict, client: &Client, as_json: bool) -> Result<Exit, Failure> {
        let prefix = parse_prefix(&self.prefix)?;
        let lasts = self.lasts.map(output::whole_seconds).transpose()?;
        let terms = json!({ "reason": self.reason, "duration_seconds": lasts });
        let done: Done = client.put(&format!("{}/{prefix}", route(verdict)), &terms)?;
        let until =
            done.expires.map_or_else(|| "until it is removed".to_owned(), |end| format!("until {end}"));
        output::done(&done, as_json, &format!("{prefix} is {} {until}", verdict.participle()))
    }
}

impl Remove {
    pub(super) fn run(&self, verdict: Verdict, client: &Client, as_json: bool) -> Result<Exit, Failure> {
        let prefix = parse_prefix(&self.prefix)?;
        let path = query(&format!("{}/{prefix}", route(verdict)), &[("reason", self.reason.as_deref())]);
        let done: Done = client.delete(&path)?;
        output::done(&done, as_json, &format!("{prefix} is no longer {} at run time", verdict.participle()))
    }
}

impl List {
    pub(super) fn run(&self, verdict: Verdict, client: &Client, as_json: bool) -> Result<Exit, Failure> {
        let all = self.all.then_some("true");
        let rules: Rules = client.get(&query(route(verdict), &[("all", all)]))?;
        if as_json {
            output::object(&rules)?;
        } else {
            output::text(&text(verdict, &rules))?;
        }
        Ok(Exit::Ok)
    }
}

fn text(verdict: Verdict, rules: &Rules) -> String {
    let mut text = String::new();
    if rules.rules.is_empty() {
        text.push_str(&format!("no prefix is {}\n", verdict.participle()));
    } else {
        let mut table = Table::new(&["prefix", "origin", ">packets", "until", "by", "reason"]);
        for rule in &rules.rules {
            table.row(row(rule));
        }
        text = table.text();
    }
    if rules.left_out > 0 {
        let left_out = rules.left_out;
        text.push_str(&format!(
            "{left_out} more from files have decided about no packet: --all shows them\n"
        ));
    }
    text
}

fn row(rule: &Rule) -> [String; 6] {
    [
        rule.prefix.to_string(),
        rule.origin.clone(),
        rule.hit_packets.map_or_else(|| "-".to_owned(), |hits| hits.to_string()),
        rule.expires.map_or_else(|| "removed".to_owned(), |end| end.to_string()),
        rule.by.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        rule.reason.clone().unwrap_or_default(),
    ]
}
