//! When a client was seen, in the time of people.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::table::Entry;
use crate::jiffies::Moment;

/// When a client was seen. To the tick, which is about a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The first packet.
    #[serde(rename = "first_seen", serialize_with = "rfc_3339")]
    pub first: SystemTime,
    /// The last packet; right if that was less than four hours and a half ago.
    #[serde(rename = "last_seen", serialize_with = "rfc_3339")]
    pub last: SystemTime,
    /// The last packet that was dropped.
    #[serde(rename = "last_dropped", serialize_with = "optional_rfc_3339")]
    pub dropped: Option<SystemTime>,
}

impl Seen {
    /// What an entry says, if it was read at this moment.
    #[must_use]
    pub fn of(entry: &Entry, moment: &Moment) -> Self {
        let last = moment.last_seen(entry.state);
        Self {
            first: entry.first_seen.and_then(|tick| moment.at(tick)).map_or(last, |first| first.min(last)),
            last,
            dropped: moment.at(entry.last_dropped),
        }
    }

    /// Of a client that was seen at both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            dropped: self.dropped.max(other.dropped),
        }
    }
}

/// A time as RFC 3339 has it, to the second, UTC.
#[must_use]
pub fn text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// How long ago a time is, in words for a person.
#[must_use]
pub fn ago(time: SystemTime, now: SystemTime) -> String {
    let age = now.duration_since(time).unwrap_or_default();
    format!("{} ago", humantime::format_duration(Duration::from_secs(age.as_secs())))
}

fn rfc_3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

fn optional_rfc_3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc_3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
