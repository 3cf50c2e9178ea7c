//! Who changed a running relay, and why: `<state_directory>/<node>.audit.jsonl`, a JSON object a line, only ever added to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::actions::{Ban, Cause, Done, Order, What};
use crate::exit::Failure;
use crate::timestamp::Timestamp;
use crate::who::Who;

/// Bytes after which a file is put aside.
const FILE_BYTES: u64 = 4 << 20;
/// Files that are kept beside the one that is written: `.1` is the latest.
const KEPT: usize = 4;

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    time: Timestamp,
    node: String,
    #[serde(flatten)]
    who: Who,
    action: &'static str,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_seconds: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, serde_json::Value>,
    /// Of a ban: the client, so that events about it can be picked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Ipv4Addr>,
    /// Of a ban: what the client did, and which ban of it this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    ban: Option<Offender>,
    reason: Option<String>,
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Why a client was banned, in numbers.
#[derive(Clone, Debug, Serialize)]
struct Offender {
    service: String,
    cause: Cause,
    verified: bool,
    count: u32,
}

impl Record {
    /// An order, before it is known what it came to.
    #[must_use]
    pub fn new(node: &str, order: &Order) -> Self {
        let limits = match &order.what {
            What::SetLimits(_, values, _) => values
                .iter()
                .map(|(key, value)| (key.to_string(), serde_json::to_value(value).unwrap_or_default()))
                .collect(),
            What::ResetLimits(_, keys) => {
                keys.iter().map(|key| (key.to_string(), serde_json::Value::Null)).collect()
            }
            What::Add(..) | What::Remove(..) | What::Lift(_) => BTreeMap::new(),
        };
        Self {
            time: Timestamp::now(),
            node: node.to_owned(),
            who: order.who.clone(),
            action: order.what.action(),
            target: order.what.target(),
            for_seconds: order.what.lasts().map(|lasts| lasts.as_secs()),
            limits,
            client: None,
            ban: None,
            reason: order.reason.clone(),
            result: String::new(),
            message: None,
        }
    }

    /// A client that the relay has banned by itself.
    #[must_use]
    pub fn banned(node: &str, ban: &Ban) -> Self {
        let Cause { limit, measured_per_second, limit_per_second, over_milliseconds } = &ban.cause;
        let reason = format!(
            "{limit} of {}: {measured_per_second} a second for {:.1} s where {limit_per_second} are allowed",
            ban.service,
            *over_milliseconds as f64 / 1000.0,
        );
        Self { reason: Some(reason), ..Self::of_ban(node, ban, "ban.add", "added") }
    }

    /// A client whose ban has lasted as long as it was to.
    #[must_use]
    pub fn unbanned(node: &str, ban: &Ban) -> Self {
        Self {
            reason: Some("it has lasted as long as it was to".to_owned()),
            ..Self::of_ban(node, ban, "ban.end", "ended")
        }
    }

    fn of_ban(node: &str, ban: &Ban, action: &'static str, result: &str) -> Self {
        let lasts = ban.expires.0.duration_since(ban.since.0).unwrap_or_default();
        Self {
            time: Timestamp::now(),
            node: node.to_owned(),
            who: Who::relay(),
            action,
            target: ban.address.to_string(),
            for_seconds: Some(lasts.as_secs()),
            limits: BTreeMap::new(),
            client: Some(ban.address),
            ban: Some(Offender {
                service: ban.service.clone(),
                cause: ban.cause.clone(),
                verified: ban.verified,
                count: ban.count,
            }),
            reason: None,
            result: result.to_owned(),
            message: None,
        }
    }

    /// Adds what it came to.
    #[must_use]
    pub fn ended(mut self, result: Option<&Result<Done, Failure>>) -> Self {
        match result {
            Some(Ok(done)) => self.result.clone_from(&done.result),
            Some(Err(failure)) => {
                self.result = failure.exit.label().to_owned();
                self.message = Some(failure.message.clone());
            }
            None => {}
        }
        self
    }
}

/// The log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file_bytes: u64,
}

impl Log {
    /// The log of a node. Touches nothing.
    #[must_use]
    pub fn new(state_directory: &Path, node: &str) -> Self {
        Self { path: state_directory.join(format!("{node}.audit.jsonl")), file_bytes: FILE_BYTES }
    }

    /// Adds a line. That it cannot be written is an error in the log; what was done stays done.
    pub fn write(&mut self, record: &Record) {
        let for_whom = record.reason.as_deref().unwrap_or("no reason given");
        tracing::info!(
            "{} {} by {}: {} ({for_whom})",
            record.action,
            record.target,
            record.who,
            record.result
        );
        if let Err(error) = self.append(record) {
            tracing::error!("cannot write {}: {error}", self.path.display());
        }
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut file = self.open()?;
        if file.metadata()?.len() + line.len() as u64 > self.file_bytes {
            self.rotate()?;
            file = self.open()?;
        }
        // One write, so that no line is half there when the process ends.
        file.write_all(&line)?;
        file.sync_data()
    }

    fn open(&self) -> io::Result<File> {
        let mut options = File::options();
        options.create(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&self.path)
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..KEPT).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests;
