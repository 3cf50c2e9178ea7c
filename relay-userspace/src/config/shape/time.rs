//! Times: how long, and when.

use std::time::{Duration, SystemTime};

use toml::de::DeValue;

use super::{Refusal, Scalar, quoted, text};

/// A time with its unit, such as `"5m"` or `"200ms"`; bounds in milliseconds.
pub(in crate::config) struct Lasting<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Scalar for Lasting<MIN, MAX> {
    type Output = Duration;

    fn allowed() -> String {
        let bound = |milliseconds| Self::toml(&Duration::from_millis(milliseconds));
        format!("duration {} to {}", bound(MIN), bound(MAX))
    }

    fn parse(value: &DeValue<'_>) -> Result<Duration, Refusal> {
        let text = text(value).map_err(|refusal| match value {
            DeValue::Integer(number) => {
                refusal.hint(format!("write the unit: \"{}s\" or \"{0}ms\"", number.as_str()))
            }
            _ => refusal,
        })?;
        let duration = humantime::parse_duration(text).map_err(|error| {
            Refusal::new(format!("not a duration: {error}")).hint("such as \"30s\" or \"5m\"")
        })?;
        if duration < Duration::from_millis(MIN) || duration > Duration::from_millis(MAX) {
            return Err(Refusal::new("out of range"));
        }
        Ok(duration)
    }

    fn toml(value: &Duration) -> String {
        quoted(&humantime::format_duration(*value).to_string())
    }
}

/// The same, or `"0s"` for never.
pub(in crate::config) struct LastingOrNever<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Scalar for LastingOrNever<MIN, MAX> {
    type Output = Duration;

    fn allowed() -> String {
        format!("{}, or \"0s\" for never", Lasting::<MIN, MAX>::allowed())
    }

    fn parse(value: &DeValue<'_>) -> Result<Duration, Refusal> {
        let duration = Lasting::<0, MAX>::parse(value)?;
        if !duration.is_zero() && duration < Duration::from_millis(MIN) {
            return Err(Refusal::new("out of range"));
        }
        Ok(duration)
    }

    fn toml(value: &Duration) -> String {
        Lasting::<MIN, MAX>::toml(value)
    }
}

/// A moment in UTC: RFC 3339 in a string, or TOML's own.
pub(in crate::config) struct Instant;

impl Scalar for Instant {
    type Output = SystemTime;

    fn allowed() -> String {
        "time in UTC such as \"2030-01-31T12:00:00Z\" (RFC 3339)".to_owned()
    }

    fn parse(value: &DeValue<'_>) -> Result<SystemTime, Refusal> {
        let text = match value {
            DeValue::Datetime(datetime) => datetime.to_string(),
            other => text(other)?.to_owned(),
        };
        humantime::parse_rfc3339(&text).map_err(|error| {
            let refusal = Refusal::new(format!("not a time in UTC: {error}"));
            let zone = text.get(10..).is_some_and(|time| time.contains(['+', '-']));
            if zone { refusal.hint("write the time in UTC, with a Z at its end") } else { refusal }
        })
    }

    fn toml(value: &SystemTime) -> String {
        quoted(&humantime::format_rfc3339(*value).to_string())
    }
}
