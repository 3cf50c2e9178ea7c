//! A line of the journal, as JSON and as text.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Version of the JSON objects.
pub const SCHEMA_VERSION: u32 = 1;

/// Something that happened. In JSON one object, with the fields of [`What`] beside these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Number in the journal of this run of the controller, from 1; 0 for what is about one reader.
    pub sequence: u64,
    /// When; RFC 3339, UTC.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// The relay.
    pub node: Arc<str>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened: in JSON the field `event` says which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A packet was dropped.
    Drop(Dropped),
    /// This reader was too slow.
    Missed {
        /// Records it did not get.
        missed_records: u64,
    },
    /// Something else, with its `event` and whatever fields it has.
    #[serde(untagged)]
    Other(Fields),
}

/// Fields of a JSON object.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// A dropped packet. What its first bytes do not tell is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Label of the reason.
    pub reason: Cow<'static, str>,
    /// What became of it.
    pub verdict: Cow<'static, str>,
    /// The client it is from or for.
    pub client: Option<Ipv4Addr>,
    /// Name of the service.
    pub service: Option<Arc<str>>,
    /// Name or number of the IP protocol.
    pub protocol: Option<Cow<'static, str>>,
    /// Source, of the inner packet where there are two.
    pub source: Option<Ipv4Addr>,
    /// Its port.
    pub source_port: Option<u16>,
    /// Destination, likewise.
    pub destination: Option<Ipv4Addr>,
    /// Its port.
    pub destination_port: Option<u16>,
    /// Source of the tunnel's header.
    pub tunnel_source: Option<Ipv4Addr>,
    /// Destination of the tunnel's header.
    pub tunnel_destination: Option<Ipv4Addr>,
    /// Interface it came in on.
    pub interface: Option<Arc<str>>,
    /// Its index.
    pub ifindex: u32,
    /// CPU that dropped it.
    pub cpu: u32,
    /// Bytes of the frame.
    pub length_bytes: u32,
    /// Drops of the same reason on the same CPU since the one before that were not reported.
    pub suppressed_events: u32,
    /// The first bytes of the frame, in JSON as hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub start: Vec<u8>,
}

impl Record {
    /// Reads a line of JSON.
    pub fn from_json(line: &str) -> Result<Self, serde_json::Error> {
        let record: Self = serde_json::from_str(line)?;
        match &record.what {
            // Every object will do as something else, so what is wrong with it is asked of what it says it is.
            What::Other(fields) if fields.get("event").is_some_and(|event| event == "drop") => {
                serde_json::from_str(line).map(|_: Dropped| record)
            }
            _ => Ok(record),
        }
    }

    /// One line of JSON, without its end.
    #[must_use]
    pub fn json(&self) -> String {
        // Strings, numbers and addresses can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", humantime::format_rfc3339_micros(self.time))?;
        match &self.what {
            What::Drop(dropped) => dropped.fmt(f),
            What::Missed { missed_records } => {
                write!(f, "{missed_records} records were missed: they came faster than they were read")
            }
            What::Other(fields) => other(fields, f),
        }
    }
}

/// What it is, then its fields.
fn other(fields: &Fields, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(fields.get("event").and_then(serde_json::Value::as_str).unwrap_or("something"))?;
    for (name, value) in fields.iter().filter(|(name, value)| *name != "event" && !value.is_null()) {
        match value {
            serde_json::Value::String(text) if !text.contains(char::is_whitespace) => {
                write!(f, " {name}={text}")?
            }
            value => write!(f, " {name}={value}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verdict, self.reason)?;
        if let Some(protocol) = &self.protocol {
            write!(f, " {protocol}")?;
        }
        if let (Some(source), Some(destination)) = (self.source, self.destination) {
            let [source_port, destination_port] = [self.source_port, self.destination_port]
                .map(|port| port.map_or_else(String::new, |port| format!(":{port}")));
            write!(f, " {source}{source_port} > {destination}{destination_port}")?;
        }
        if let Some(service) = &self.service {
            write!(f, " service {service}")?;
        }
        if let Some(peer) = self.tunnel_source {
            write!(f, " from relay {peer}")?;
        }
        match &self.interface {
            Some(interface) => write!(f, " on {interface}")?,
            None => write!(f, " on interface {}", self.ifindex)?,
        }
        write!(f, ", {} bytes", self.length_bytes)?;
        match self.suppressed_events {
            0 => Ok(()),
            more => write!(f, " ({more} more before it)"),
        }
    }
}

/// Times as RFC 3339, UTC, for serde.
pub mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes a time.
    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_nanos(*time))
    }

    /// Reads a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text)
            .map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
    }
}

mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        text.as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(|| D::Error::custom("start is no sequence of pairs of hexadecimal digits"))
    }
}

#[cfg(test)]
pub(super) mod sample {
    //! Records for the tests of this module.

    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    pub(crate) fn dropped(reason: &'static str, client: [u8; 4]) -> Dropped {
        Dropped {
            reason: reason.into(),
            verdict: "drop".into(),
            client: Some(client.into()),
            service: Some("web".into()),
            protocol: Some("tcp".into()),
            source: Some(client.into()),
            source_port: Some(51000),
            destination: Some([192, 168, 100, 10].into()),
            destination_port: Some(443),
            tunnel_source: None,
            tunnel_destination: None,
            interface: Some("eth0".into()),
            ifindex: 2,
            cpu: 0,
            length_bytes: 1514,
            suppressed_events: 0,
            start: vec![0, 1, 0xfe, 0xff],
        }
    }

    pub(crate) fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::new(1_800_000_000 + seconds, 123_456_789)
    }

    pub(crate) fn record(sequence: u64, dropped: Dropped) -> Record {
        let what = What::Drop(dropped);
        Record { schema_version: SCHEMA_VERSION, sequence, time: at(0), node: "ingress-1".into(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{dropped, record};
    use super::*;

    #[test]
    fn json_is_read_back_as_it_was() {
        let bare = Dropped {
            client: None,
            service: None,
            protocol: None,
            source: None,
            source_port: None,
            destination: None,
            destination_port: None,
            interface: None,
            start: Vec::new(),
            ..dropped("frame_truncated", [0; 4])
        };
        for whole in [record(7, dropped("blocked", [198, 51, 100, 2])), record(u64::MAX, bare)] {
            let json = whole.json();
            assert_eq!(Record::from_json(&json).unwrap(), whole, "{json}");
            assert!(!json.contains('\n'));
        }
    }

    #[test]
    fn json_has_the_published_fields() {
        let json = record(7, dropped("blocked", [198, 51, 100, 2])).json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["schema_version"], &value["event"]), (&1.into(), &"drop".into()));
        assert_eq!(value["time"], "2027-01-15T08:00:00.123456789Z");
        assert_eq!((&value["client"], &value["service"]), (&"198.51.100.2".into(), &"web".into()));
        assert_eq!((&value["start"], &value["length_bytes"]), (&"0001feff".into(), &1514.into()));
    }

    #[test]
    fn a_line_says_what_a_person_wants_to_know() {
        let mut some = dropped("blocked", [198, 51, 100, 2]);
        let line = |dropped: &Dropped| record(1, dropped.clone()).to_string();
        assert_eq!(
            line(&some),
            "2027-01-15T08:00:00.123456Z drop blocked tcp 198.51.100.2:51000 > 192.168.100.10:443 service web on eth0, \
             1514 bytes"
        );
        (some.suppressed_events, some.interface, some.service) = (12, None, None);
        assert!(
            line(&some).ends_with(":443 on interface 2, 1514 bytes (12 more before it)"),
            "{}",
            line(&some)
        );
    }

    #[test]
    fn what_others_write_is_kept_whole() {
        let moon = r#"{"schema_version":1,"sequence":1,"time":"2026-01-01T00:00:00.000000000Z","node":"a","#
            .to_owned()
            + r#""event":"moon","phase":"first quarter","moons":1}"#;
        let record = Record::from_json(&moon).unwrap();
        let same: serde_json::Value = serde_json::from_str(&record.json()).unwrap();
        assert_eq!(same, serde_json::from_str::<serde_json::Value>(&moon).unwrap());
        assert_eq!(record.to_string(), r#"2026-01-01T00:00:00.000000Z moon moons=1 phase="first quarter""#);
    }

    #[test]
    fn what_is_no_record_is_an_error_that_says_why() {
        assert!(Record::from_json("{}").unwrap_err().to_string().contains("schema_version"));
        let odd = record(1, dropped("a", [0; 4])).json().replace("feff", "fef");
        assert!(Record::from_json(&odd).unwrap_err().to_string().contains("hexadecimal"));
    }
}
