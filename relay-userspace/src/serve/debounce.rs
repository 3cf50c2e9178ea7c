//! When to act on changes that come in bursts.

use std::time::{Duration, Instant};

/// One event seldom comes alone: a link that goes down takes its routes and neighbours along.
const DELAY: Duration = Duration::from_millis(5);
/// Least time between two rounds, however many events come: a full routing table may be loading.
const PAUSE: Duration = Duration::from_millis(50);

/// Collects changes until it is time to act.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    due: Option<Instant>,
    acted: Option<Instant>,
}

impl Debounce {
    /// Something changed.
    pub(super) fn note(&mut self, now: Instant) {
        let earliest = self.acted.map_or(now, |acted| acted + PAUSE);
        self.due.get_or_insert((now + DELAY).max(earliest));
    }

    /// When to act, if something changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Acting now.
    pub(super) fn act(&mut self, now: Instant) {
        self.due = None;
        self.acted = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_change_is_acted_on_after_the_delay() {
        let mut debounce = Debounce::default();
        let now = Instant::now();
        assert_eq!(debounce.due(), None);
        debounce.note(now);
        assert_eq!(debounce.due(), Some(now + DELAY));
    }

    #[test]
    fn later_changes_do_not_put_it_off() {
        let mut debounce = Debounce::default();
        let now = Instant::now();
        debounce.note(now);
        debounce.note(now + Duration::from_millis(4));
        assert_eq!(debounce.due(), Some(now + DELAY));
    }

    #[test]
    fn a_storm_gives_one_round_a_pause() {
        let mut debounce = Debounce::default();
        let now = Instant::now();
        debounce.act(now);
        debounce.note(now + Duration::from_millis(1));
        assert_eq!(debounce.due(), Some(now + PAUSE));
        debounce.act(now + PAUSE);
        assert_eq!(debounce.due(), None);
        let quiet = now + Duration::from_secs(1);
        debounce.note(quiet);
        assert_eq!(debounce.due(), Some(quiet + DELAY));
    }
}
