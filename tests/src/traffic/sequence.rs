//! Numbered packets: which arrived, which did not, which came twice or late.

use std::ops::RangeInclusive;

/// What became of the packets numbered 0 to `sent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub expected: u64,
    pub received: u64,
    pub missing: u64,
    pub duplicates: u64,
    /// Arrived after one with a higher number.
    pub reordered: u64,
    /// The first missing stretches.
    #[serde(skip)]
    pub gaps: Vec<RangeInclusive<u64>>,
}

/// Stretches that are kept to be shown.
const GAPS_SHOWN: usize = 10;

/// Remembers which numbers were seen.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    seen: Vec<bool>,
    next: u64,
    duplicates: u64,
    reordered: u64,
}

impl Tracker {
    pub fn see(&mut self, number: u64) {
        // Numbers come from our own sender: small enough to index by.
        let Ok(index) = usize::try_from(number) else { return };
        if index >= self.seen.len() {
            self.seen.resize(index + 1, false);
        }
        if self.seen[index] {
            self.duplicates += 1;
            return;
        }
        self.seen[index] = true;
        if number < self.next {
            self.reordered += 1;
        } else {
            self.next = number + 1;
        }
    }

    pub fn received(&self) -> u64 {
        self.seen.iter().filter(|seen| **seen).count() as u64
    }

    /// Judges what was seen against the `expected` first numbers.
    pub fn tally(&self, expected: u64) -> Tally {
        let mut gaps: Vec<RangeInclusive<u64>> = Vec::new();
        let mut missing = 0;
        let seen = |number: u64| usize::try_from(number).ok().and_then(|index| self.seen.get(index)).copied();
        for number in (0..expected).filter(|number| !seen(*number).unwrap_or(false)) {
            missing += 1;
            let shown = gaps.len();
            match gaps.last_mut() {
                Some(gap) if *gap.end() + 1 == number => *gap = *gap.start()..=number,
                Some(_) if shown >= GAPS_SHOWN => {}
                Some(_) | None => gaps.push(number..=number),
            }
        }
        Tally {
            expected,
            received: self.received(),
            missing,
            duplicates: self.duplicates,
            reordered: self.reordered,
            gaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: &[u64], expected: u64) -> Tally {
        let mut tracker = Tracker::default();
        numbers.iter().for_each(|number| tracker.see(*number));
        tracker.tally(expected)
    }

    #[test]
    fn all_in_order_is_no_news() {
        let expected = Tally { expected: 4, received: 4, ..Tally::default() };
        assert_eq!(tally(&[0, 1, 2, 3], 4), expected);
    }

    #[test]
    fn tells_missing_twice_and_late_apart() {
        let found = tally(&[0, 4, 3, 3, 8], 10);
        assert_eq!((found.received, found.missing, found.duplicates, found.reordered), (4, 6, 1, 1));
        assert_eq!(found.gaps, [1..=2, 5..=7, 9..=9]);
    }
}
