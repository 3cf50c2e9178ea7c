//! Taking samples: one test run of the program measured and one of the baseline, each between two calibrations.

use std::time::Duration;

use anyhow::{Result, bail};
use aya::programs::ProgramFd;
use relay_tests::drive::{Driver, Stage};

use crate::calibration::Calibration;
use crate::case::{Case, Subject};
use crate::subject::Subjects;

/// Nanoseconds a packet, and the slower of the two calibrations around them.
pub(crate) type Samples = Vec<(f64, Duration)>;

/// Samples of a case and of its baseline.
#[derive(Default)]
pub(crate) struct Pair {
    pub(crate) measured: Samples,
    pub(crate) baseline: Samples,
}

pub(crate) struct Sampler {
    driver: Driver,
    subjects: Subjects,
    packets: u32,
}

impl Sampler {
    pub(crate) fn new(stage: &Stage, packets: u32) -> Result<Self> {
        let mut driver = Driver::load(stage)?;
        driver.open_link()?;
        Ok(Self { driver, subjects: Subjects::new(stage), packets })
    }

    pub(crate) fn sample(
        &mut self,
        case: &Case,
        calibration: &mut Calibration,
        pair: &mut Pair,
    ) -> Result<()> {
        let baseline = self.driver.baseline(case.baseline())?;
        self.timed(case, &baseline, calibration, &mut pair.baseline)?;

        let program = self.subjects.prepare(case, &mut self.driver)?;
        let before = self.subjects.ended(case)?;
        let runs = self.timed(case, &program, calibration, &mut pair.measured)?;
        let ended = self.subjects.ended(case)? - before;
        let sent = runs * u64::from(self.packets);
        if case.subject == Subject::Limited && ended < sent {
            // A second went by since they were brought over their limits.
            for (_, calibrated) in pair.measured.iter_mut().rev().take(runs as usize) {
                *calibrated = Duration::MAX;
            }
        } else if ended != sent {
            bail!(
                "{}: {ended} packets of {runs} runs of {} ended as {}: the benchmark measures something else",
                case.name,
                self.packets,
                case.reason.label()
            );
        }
        Ok(())
    }

    /// Takes samples until one was taken at full speed, but not forever; how many it took.
    fn timed(
        &mut self,
        case: &Case,
        program: &ProgramFd,
        calibration: &mut Calibration,
        samples: &mut Samples,
    ) -> Result<u64> {
        for run in 1..=TRIES {
            let before = calibration.measure();
            let taken = self.driver.run(program, case.packet, case.sources.order(), self.packets)?;
            let slower = before.max(calibration.measure());
            samples.push((taken.as_secs_f64() * 1e9, slower));
            if calibration.at_full_speed(slower) {
                return Ok(run);
            }
        }
        Ok(TRIES)
    }
}

/// The 25th percentile of the samples taken at full speed, their number, and the number of the others.
pub(crate) fn quartile(samples: &Samples, calibration: &Calibration) -> (f64, usize, usize) {
    let mut kept: Vec<f64> = samples
        .iter()
        .filter(|(_, taken)| calibration.at_full_speed(*taken))
        .map(|(nanoseconds, _)| *nanoseconds)
        .collect();
    kept.sort_by(f64::total_cmp);
    let quartile = kept.get(kept.len() / 4).copied().unwrap_or(f64::NAN);
    (quartile, kept.len(), samples.len() - kept.len())
}

/// Samples taken at most for one that counts.
const TRIES: u64 = 24;
