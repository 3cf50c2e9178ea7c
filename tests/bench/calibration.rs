//! Whether the machine ran at full speed: it flips between a fast and a slow state for seconds.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The best time the loop ever took.
pub(crate) struct Calibration {
    best: Duration,
}

impl Calibration {
    /// Takes a first look.
    pub(crate) fn start() -> Self {
        let mut calibration = Self { best: Duration::MAX };
        for _ in 0..64 {
            calibration.measure();
        }
        calibration
    }

    /// Times the loop once.
    pub(crate) fn measure(&mut self) -> Duration {
        let start = Instant::now();
        let mut sum = 1_u64;
        for step in 0..ADDITIONS {
            sum = black_box(sum.wrapping_add(step));
        }
        black_box(sum);
        let taken = start.elapsed();
        self.best = self.best.min(taken);
        taken
    }

    /// Whether a loop time tells of full speed.
    pub(crate) fn at_full_speed(&self, taken: Duration) -> bool {
        taken.as_secs_f64() <= self.best.as_secs_f64() * TOLERANCE
    }
}

const ADDITIONS: u64 = 60_000;
const TOLERANCE: f64 = 1.12;
