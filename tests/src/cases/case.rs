//! What a case file says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use relay_abi::{Reason, Tally, Verdict, reason::Action};
use serde::Deserialize;

use super::flow::Flow;
use super::packet;
use super::relay::With;
use super::world::EDGE;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "case")]
    cases: Vec<Case>,
}

/// One case: a relay, its state, and one or more packets in turn.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence: what it shows.
    pub name: String,
    /// Numbers of the protocol rules it shows.
    #[serde(default)]
    pub rules: Vec<u8>,
    /// A file in `tests/cases/relays`.
    pub relay: String,
    /// In what the relay differs from that file.
    #[serde(default)]
    pub with: With,
    /// Flows that exist already, and those in the spill table.
    #[serde(default)]
    pub flows: Vec<String>,
    #[serde(default)]
    pub spilled: Vec<String>,
    /// Clients on the edge's link whose last known station the controller has written: `name station`.
    #[serde(default)]
    pub last_known: Vec<String>,
    /// Clients that have a place in the client table, see [`super::accounts`].
    #[serde(default)]
    pub clients: Vec<String>,
    /// Prefixes that have one in theirs.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// What is listed, see [`super::lists`].
    #[serde(default)]
    pub lists: Vec<String>,
    /// Fair shares in force: packets a second, or bytes where the service's capacity is in bytes, by service.
    #[serde(default)]
    pub fair: BTreeMap<String, u64>,
    /// Why it cannot run in the kernel; if set, it runs on the host alone.
    #[serde(default)]
    pub host_only: Option<String>,
    /// The packets.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    /// The file it stands in.
    #[serde(skip)]
    pub theme: String,
}

/// One packet and what becomes of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The interface it comes in on.
    #[serde(default = "edge", rename = "in")]
    pub device: String,
    /// The packet in words, see [`packet`].
    pub packet: String,
    /// How often it comes, with the same end each time.
    #[serde(default = "once")]
    pub times: usize,
    /// `drop REASON`, `pass REASON`, `transmit REASON` or `redirect DEVICE REASON`.
    pub end: String,
    /// What goes out; a packet that is passed or dropped stays as it came.
    #[serde(default)]
    pub out: Option<String>,
    /// Tallies that move, each by one for each time it is named.
    #[serde(default)]
    pub tallies: Vec<String>,
    /// Flows afterwards, and those in the spill table; by default as before.
    #[serde(default)]
    pub flows: Option<Vec<String>>,
    #[serde(default)]
    pub spilled: Option<Vec<String>>,
    /// Clients that have a place in the client table afterwards; without it they are not looked at.
    #[serde(default)]
    pub clients: Option<Vec<String>>,
    /// Prefixes that have one in theirs, likewise.
    #[serde(default)]
    pub prefixes: Option<Vec<String>>,
    /// What clients without a place account for afterwards, by service, likewise.
    #[serde(default)]
    pub gone: Option<Vec<String>>,
    /// Next hops on the edge that are reported to the controller.
    #[serde(default)]
    pub reports: Vec<String>,
}

fn edge() -> String {
    EDGE.to_owned()
}

const fn once() -> usize {
    1
}

/// How a packet ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub verdict: Verdict,
    pub reason: Reason,
    /// The interface it leaves through.
    pub to: Option<String>,
}

impl Case {
    /// A case without packets: a relay and its flows.
    #[must_use]
    pub fn plain(relay: &str, with: &With, flows: &[&str]) -> Self {
        Self {
            name: format!("a plain {relay} relay"),
            rules: Vec::new(),
            relay: relay.to_owned(),
            with: with.clone(),
            flows: if relay == "egress" {
                flows.iter().map(|flow| (*flow).to_owned()).collect()
            } else {
                Vec::new()
            },
            spilled: Vec::new(),
            last_known: Vec::new(),
            clients: Vec::new(),
            prefixes: Vec::new(),
            lists: Vec::new(),
            fair: BTreeMap::new(),
            host_only: None,
            steps: Vec::new(),
            theme: String::new(),
        }
    }
}

impl Step {
    /// The end, as the case wants it.
    pub fn wanted_end(&self) -> Result<End> {
        let words: Vec<&str> = self.end.split_whitespace().collect();
        let (verdict, to, label) = match words.as_slice() {
            ["drop", label] => (Verdict::Drop, None, label),
            ["pass", label] => (Verdict::Pass, None, label),
            ["transmit", label] => (Verdict::Transmit, Some(self.device.clone()), label),
            ["redirect", to, label] => (Verdict::Redirect, Some((*to).to_owned()), label),
            _ => {
                bail!("an end is `drop REASON`, `pass REASON`, `transmit REASON` or `redirect DEVICE REASON`")
            }
        };
        let reason = Reason::ALL.iter().copied().find(|reason| reason.label() == *label);
        let reason = reason.with_context(|| format!("there is no reason `{label}`"))?;
        let fits = match reason.action() {
            Action::Send => to.is_some(),
            Action::Pass => verdict == Verdict::Pass,
            Action::Drop => verdict == Verdict::Drop,
        };
        if !fits {
            bail!("`{}`: a packet does not end so for that reason", self.end);
        }
        if to.is_some() != self.out.is_some() {
            bail!("`{}`: what is sent, and only that, needs `out`", self.end);
        }
        Ok(End { verdict, reason, to })
    }

    /// The tallies that move.
    pub fn wanted_tallies(&self) -> Result<Vec<Tally>> {
        let tally = |label: &String| {
            let found = Tally::ALL.iter().copied().find(|tally| tally.label() == *label);
            found.with_context(|| format!("there is no tally `{label}`"))
        };
        self.tallies.iter().map(tally).collect()
    }

    /// The bytes that come in.
    pub fn frame(&self) -> Result<Vec<u8>> {
        packet::frame(&self.packet)
    }

    /// The bytes that go out.
    pub fn wanted_frame(&self) -> Result<Vec<u8>> {
        packet::frame(self.out.as_ref().unwrap_or(&self.packet))
    }
}

/// Flows in words.
pub fn flows(texts: &[String]) -> Result<Vec<Flow>> {
    texts.iter().map(|text| Flow::read(text)).collect()
}

/// All cases of the repository.
pub fn load() -> Result<Vec<Case>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases = Vec::new();
    let entries = std::fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file: File = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        let theme = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        cases.extend(file.cases.into_iter().map(|case| Case { theme: theme.clone(), ..case }));
    }
    Ok(cases)
}
