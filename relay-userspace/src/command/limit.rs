//! `xdp-relay limit`: what clients may send, and other limits for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::actions::{Done, Key, Value};
use crate::api::client::{Client, Selection};
use crate::api::query;
use crate::api::view::{Limit as Row, Limits};
use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay limit show
  xdp-relay limit show --service web --json | jq '.limits[] | select(.origin == \"runtime\")'
  xdp-relay limit set --service web client_packets=500 total_bytes=50M --for 30m --reason 'campaign'
  xdp-relay limit set --service dns client_packets=none --for 5m
  xdp-relay limit reset --service web client_packets
  xdp-relay limit reset

Limits have the names and units of [limits] in the configuration: rates are a second, bytes are those of IPv4 packets.
A changed limit takes effect before the command ends, and the configured one holds again after the time given, or
when the controller runs again if it does not run then. What is to stay belongs into the configuration. Ends with 4 if
no controller runs, 5 if there is no such service.";

/// Show limits, and change them for a while
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Limit {
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
    /// Show limits: configured, in force, and who changed them
    #[command(after_help = EXAMPLES)]
    Show {
        /// Name of the service; without it all
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// Change limits of a service for a while
    #[command(after_help = EXAMPLES)]
    Set(Set),
    /// Let the configured limits hold again
    #[command(after_help = EXAMPLES)]
    Reset {
        /// Name of the service; without it all
        #[arg(long, value_name = "NAME")]
        service: Option<String>,

        /// Which limits; without any all
        #[arg(value_name = "LIMIT")]
        limits: Vec<String>,

        /// Why: one line for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Args, Debug)]
struct Set {
    /// Name of the service
    #[arg(long, value_name = "NAME")]
    service: String,

    /// Limits: a number like 2000, 50k or 10M, `none`, or for `burst` a time like 200ms
    #[arg(value_name = "LIMIT=VALUE", required = true)]
    limits: Vec<String>,

    /// For how long, like 10m or 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Duration,

    /// Why: one line, kept with it and in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Limit {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let client = self.selection.client()?;
            match &self.action {
                Action::Show { service } => {
                    let limits: Limits =
                        client.get(&query("/v1/limits", &[("service", service.as_deref())]))?;
                    if self.json {
                        output::object(&limits)?;
                    } else {
                        output::text(&text(&limits))?;
                    }
                    Ok(Exit::Ok)
                }
                Action::Set(set) => set.run(&client, self.json),
                Action::Reset { service, limits, reason } => {
                    for name in limits {
                        name.parse::<Key>()?;
                    }
                    let names = (!limits.is_empty()).then(|| limits.join(","));
                    let route = service.as_ref().map_or("/v1/limits".to_owned(), |name| path_of(name));
                    let terms = [("limits", names.as_deref()), ("reason", reason.as_deref())];
                    let done: Done = client.delete(&query(&route, &terms))?;
                    let which =
                        if limits.is_empty() { "every limit".to_owned() } else { limits.join(" and ") };
                    output::done(&done, self.json, &format!("{which} of {} is as configured", done.target))
                }
            }
        })
    }
}

impl Set {
    fn run(&self, client: &Client, as_json: bool) -> Result<Exit, Failure> {
        let limits = assignments(&self.limits)?;
        let lasts = output::whole_seconds(self.lasts)?;
        let body = json!({ "limits": limits, "duration_seconds": lasts, "reason": self.reason });
        let done: Done = client.put(&path_of(&self.service), &body)?;
        let values: Vec<String> = limits.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let until = done.expires.map(|end| format!(" until {end}")).unwrap_or_default();
        output::done(&done, as_json, &format!("{}: {}{until}", self.service, values.join(" ")))
    }
}

fn path_of(service: &str) -> String {
    format!("/v1/limits/{}", crate::api::escaped(service))
}

fn assignments(texts: &[String]) -> Result<BTreeMap<Key, Value>, Failure> {
    let mut limits = BTreeMap::new();
    for text in texts {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{text:?} is no limit and value"))
                .hint("write them like client_packets=2000")
        })?;
        let key: Key = key.parse()?;
        if limits.insert(key, key.read(value)?).is_some() {
            return Err(Failure::new(Exit::Usage, format!("{key} is given twice")).hint("give it once"));
        }
    }
    Ok(limits)
}

fn text(limits: &Limits) -> String {
    let mut table = Table::new(&["service", "limit", ">configured", ">in force", "until", "by", "reason"]);
    for limit in &limits.limits {
        table.row(row(limit));
    }
    table.text()
}

fn row(limit: &Row) -> [String; 7] {
    [
        limit.service.clone(),
        limit.limit.to_string(),
        limit.configured.to_string(),
        limit.in_force.to_string(),
        limit.expires.map(|end| end.to_string()).unwrap_or_default(),
        limit.by.as_ref().map(ToString::to_string).unwrap_or_default(),
        limit.reason.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_one_by_one() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = assignments(&texts(&["client_packets=500", "burst=1s"])).unwrap();
        assert_eq!(read[&Key::ClientPackets], Value::Rate(Some(500)));
        assert_eq!(read[&Key::Burst], Value::Time(Duration::from_secs(1)));
        for bad in [&["client_packets"][..], &["packets=1"], &["burst=1s", "burst=2s"], &["client_packets="]]
        {
            let failure = assignments(&texts(bad)).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad:?}");
            assert!(failure.hint.is_some(), "{failure}");
        }
    }
}
