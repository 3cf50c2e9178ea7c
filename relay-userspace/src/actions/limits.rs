//! Limits that an operator changed for a while.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::policy::{Capacity, Limits, OverLimit};
use crate::config::valid::{Config, IngressService, Role};
use crate::config::{self, defaults};
use crate::exit::{Exit, Failure};
use crate::timestamp::Timestamp;
use crate::who::Who;

/// What may be set, as in the configuration.
const PACKETS: RangeInclusive<u64> = 1..=defaults::PACKET_RATE_MAX.unsigned_abs();
const BYTES: RangeInclusive<u64> =
    defaults::BYTE_RATE_MIN.unsigned_abs()..=defaults::BYTE_RATE_MAX.unsigned_abs();
const BURST: RangeInclusive<Duration> =
    Duration::from_millis(defaults::BURST_MS_MIN)..=Duration::from_millis(defaults::BURST_MS_MAX);

macro_rules! keys {
    ($($key:ident $name:literal $doc:literal,)*) => {
        /// Which limit of a service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Key {
            $( #[doc = $doc] #[serde(rename = $name)] $key, )*
        }

        impl Key {
            /// Every key.
            pub const ALL: &'static [Self] = &[$(Self::$key),*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$key => $name, )* }
            }
        }
    };
}

keys! {
    ClientPackets "client_packets" "Packets a second of each client.",
    ClientBytes "client_bytes" "Bytes of IPv4 packets a second of each client.",
    ClientConnections "client_connections" "New connections a second of each client.",
    PrefixPackets "prefix_packets" "Packets a second of each prefix of clients.",
    PrefixBytes "prefix_bytes" "Bytes of IPv4 packets a second of each prefix of clients.",
    PrefixConnections "prefix_connections" "New connections a second of each prefix of clients.",
    TotalPackets "total_packets" "Packets a second of all clients together.",
    TotalBytes "total_bytes" "Bytes of IPv4 packets a second of all clients together.",
    TotalConnections "total_connections" "New connections a second of all clients together.",
    CapacityPackets "capacity_packets" "Packets a second that the service can take, shared fairly.",
    CapacityBytes "capacity_bytes" "Bytes of IPv4 packets a second that the service can take, shared fairly.",
    Burst "burst" "How long at full rate a limit may be exceeded.",
}

/// What a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Value {
    /// So many a second; `None` is no limit.
    Rate(Option<u64>),
    /// So long.
    Time(Duration),
}

impl Value {
    /// A rate as the configuration writes it: 0 is no limit.
    #[must_use]
    pub const fn rate(rate: u64) -> Self {
        Self::Rate(if rate == 0 { None } else { Some(rate) })
    }
}

/// A value in JSON: a number, null (or 0) for no limit, or a time as in the configuration.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Rate(Option<u64>),
    Time(String),
}

impl From<Value> for Written {
    fn from(value: Value) -> Self {
        match value {
            Value::Rate(rate) => Self::Rate(rate),
            Value::Time(_) => Self::Time(value.to_string()),
        }
    }
}

impl TryFrom<Written> for Value {
    type Error = humantime::DurationError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Rate(rate) => Ok(Self::rate(rate.unwrap_or(0))),
            Written::Time(text) => humantime::parse_duration(&text).map(Self::Time),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(Some(rate)) => write!(f, "{rate}"),
            Self::Rate(None) => f.write_str("none"),
            Self::Time(time) => humantime::format_duration(*time).fmt(f),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Key {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        Self::ALL.iter().copied().find(|key| key.name() == text).ok_or_else(|| {
            let failure = Failure::new(Exit::Usage, format!("there is no limit {text:?}"));
            let names: Vec<&str> = Self::ALL.iter().map(|key| key.name()).collect();
            let meant = config::did_you_mean(text, names.iter().copied());
            failure.hint(meant.unwrap_or_else(|| format!("there are {}", names.join(", "))))
        })
    }
}

impl Key {
    /// Reads a value as an operator writes it: `2000`, `50k`, `none`, for the burst `200ms`.
    pub fn read(self, text: &str) -> Result<Value, Failure> {
        let value = match self {
            Self::Burst => humantime::parse_duration(text).ok().map(Value::Time),
            _ if text == "none" => Some(Value::Rate(None)),
            _ => rate(text).map(Value::rate),
        };
        let refused = || Failure::new(Exit::Usage, format!("{text:?} is no value for {self}"));
        let value = value.ok_or_else(|| refused().hint(self.expects()))?;
        self.check(value).map(|()| value)
    }

    /// Whether a value fits.
    pub fn check(self, value: Value) -> Result<(), Failure> {
        let fits = match (self, value) {
            (Self::Burst, Value::Time(time)) => BURST.contains(&time),
            (Self::Burst, Value::Rate(_)) | (_, Value::Time(_)) => false,
            (_, Value::Rate(None)) => true,
            (_, Value::Rate(Some(rate))) if self.is_of_bytes() => BYTES.contains(&rate),
            (_, Value::Rate(Some(rate))) => PACKETS.contains(&rate),
        };
        if fits {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, format!("{self} cannot be {value}")).hint(self.expects()))
    }

    const fn expects(self) -> &'static str {
        match self {
            Self::Burst => "write a time between 20ms and 10s, such as 200ms",
            _ if self.is_of_bytes() => {
                "write bytes a second, 1000 to 125G, such as 50M, or none for no limit"
            }
            _ => "write a number a second, 1 to 16M, such as 2000 or 50k, or none for no limit",
        }
    }

    const fn is_of_bytes(self) -> bool {
        matches!(self, Self::ClientBytes | Self::PrefixBytes | Self::TotalBytes | Self::CapacityBytes)
    }

    /// What the limits of a service say.
    #[must_use]
    pub fn of(self, limits: &Limits) -> Value {
        match self {
            Self::ClientPackets => Value::Rate(limits.client.packets),
            Self::ClientBytes => Value::Rate(limits.client.bytes),
            Self::ClientConnections => Value::Rate(limits.client.connections),
            Self::PrefixPackets => Value::Rate(limits.prefix.packets),
            Self::PrefixBytes => Value::Rate(limits.prefix.bytes),
            Self::PrefixConnections => Value::Rate(limits.prefix.connections),
            Self::TotalPackets => Value::Rate(limits.total.packets),
            Self::TotalBytes => Value::Rate(limits.total.bytes),
            Self::TotalConnections => Value::Rate(limits.total.connections),
            Self::CapacityPackets => Value::Rate(match limits.fair {
                Some(Capacity::Packets(rate)) => Some(rate),
                _ => None,
            }),
            Self::CapacityBytes => Value::Rate(match limits.fair {
                Some(Capacity::Bytes(rate)) => Some(rate),
                _ => None,
            }),
            Self::Burst => Value::Time(limits.burst),
        }
    }

    /// Makes the limits of a service say something else. A value of the wrong kind changes nothing.
    fn put(self, limits: &mut Limits, value: Value) {
        let rate = match value {
            Value::Time(time) => {
                if self == Self::Burst {
                    limits.burst = time;
                }
                return;
            }
            Value::Rate(rate) => rate,
        };
        match self {
            Self::ClientPackets => limits.client.packets = rate,
            Self::ClientBytes => limits.client.bytes = rate,
            Self::ClientConnections => limits.client.connections = rate,
            Self::PrefixPackets => limits.prefix.packets = rate,
            Self::PrefixBytes => limits.prefix.bytes = rate,
            Self::PrefixConnections => limits.prefix.connections = rate,
            Self::TotalPackets => limits.total.packets = rate,
            Self::TotalBytes => limits.total.bytes = rate,
            Self::TotalConnections => limits.total.connections = rate,
            // A capacity in one unit takes the place of one in the other.
            Self::CapacityPackets if rate.is_some() => limits.fair = rate.map(Capacity::Packets),
            Self::CapacityBytes if rate.is_some() => limits.fair = rate.map(Capacity::Bytes),
            Self::CapacityPackets | Self::CapacityBytes => {
                if self.of(limits) != Value::Rate(None) {
                    limits.fair = None;
                }
            }
            Self::Burst => {}
        }
    }
}

/// Reads a number with an optional `k`, `M` or `G`.
fn rate(text: &str) -> Option<u64> {
    let (digits, factor) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1_000),
        (at, 'M') => (&text[..at], 1_000_000),
        (at, 'G') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let digits = digits.replace('_', "");
    // `parse` would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A limit that an operator changed for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Number of this action on this relay.
    pub id: u64,
    /// Name of the service.
    pub service: String,
    /// Which limit.
    pub key: Key,
    /// What it is.
    pub value: Value,
    /// Why.
    pub reason: Option<String>,
    /// Who changed it.
    pub by: Who,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub expires: Timestamp,
}

/// The configuration with limits changed. Of a service that is not there, nothing is changed.
pub(super) fn effective<'a>(config: &Config, overrides: impl Iterator<Item = &'a Override>) -> Config {
    let mut config = config.clone();
    if let Role::Ingress(ingress) = &mut config.role {
        for changed in overrides {
            let named = ingress.services.iter_mut().find(|service| service.name == changed.service);
            if let Some(service) = named {
                changed.key.put(&mut service.policy.limits, changed.value);
            }
        }
    }
    config
}

/// Refuses limits that cannot hold together.
pub fn check(service: &IngressService) -> Result<(), Failure> {
    let limits = &service.policy.limits;
    if limits.over == OverLimit::MarkDown && limits.total == Default::default() {
        let message = format!(
            "service {} passes what is over a limit while its total has room, so it needs a limit in total",
            service.name
        );
        return Err(Failure::new(Exit::Usage, message)
            .hint("leave one of total_packets, total_bytes, total_connections"));
    }
    Ok(())
}
