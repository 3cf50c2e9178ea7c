//! From the kernel's monotonic clock to the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both clocks, read one after the other. Short-lived: the time of day may be set.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    monotonic: Duration,
    day: SystemTime,
}

impl Clock {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: monotonic(), day: SystemTime::now() }
    }

    /// When it was, at `nanoseconds` of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn at(&self, nanoseconds: u64) -> SystemTime {
        let then = Duration::from_nanos(nanoseconds);
        let time = match self.monotonic.checked_sub(then) {
            Some(ago) => self.day.checked_sub(ago),
            None => self.day.checked_add(then - self.monotonic),
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_either_side_of_now_is_told() {
        let clock =
            Clock { monotonic: Duration::from_secs(100), day: UNIX_EPOCH + Duration::from_secs(5000) };
        assert_eq!(clock.at(99_000_000_000), UNIX_EPOCH + Duration::from_secs(4999));
        assert_eq!(clock.at(100_000_000_001), clock.day + Duration::from_nanos(1));
        assert_eq!(clock.at(0), UNIX_EPOCH + Duration::from_secs(4900));
    }

    #[test]
    fn now_is_now() {
        let (monotonic, before) = (monotonic(), SystemTime::now());
        let told = Clock::now().at(u64::try_from(monotonic.as_nanos()).unwrap());
        let off = told.duration_since(before).unwrap_or_else(|early| early.duration());
        assert!(off < Duration::from_secs(1), "{off:?}");
    }
}
