//! The counters, summed over the CPUs.

use bytemuck::Zeroable;
use relay_abi::counters::{Counter, Counters};
use relay_abi::reason::Action;
use relay_abi::{Reason, Tally, Verdict, maps};

use super::Node;
use crate::exit::Failure;

/// The counters of a node over all CPUs.
#[derive(Debug)]
pub struct Totals(Box<Counters>);

impl Node {
    /// Reads the counters.
    pub fn counters(&self) -> Result<Totals, Failure> {
        let mut totals = Totals::zero();
        for cpu in self.map(maps::COUNTERS)?.read_per_cpu::<Counters>(0)? {
            totals.add(&cpu);
        }
        Ok(totals)
    }
}

impl Totals {
    fn zero() -> Self {
        Self(Box::new(Counters::zeroed()))
    }

    fn add(&mut self, cpu: &Counters) {
        for (sum, row) in self.0.rows.iter_mut().zip(&cpu.rows) {
            sum.packets = sum.packets.wrapping_add(row.packets);
            sum.bytes = sum.bytes.wrapping_add(row.bytes);
        }
        for (sum, tally) in self.0.tallies.iter_mut().zip(cpu.tallies) {
            *sum = sum.wrapping_add(tally);
        }
    }

    /// Every verdict a reason can come with, in order of the reasons.
    pub fn rows(&self) -> impl Iterator<Item = (Verdict, Reason, Counter)> + '_ {
        Reason::ALL.iter().flat_map(move |reason| {
            verdicts(*reason)
                .iter()
                .map(move |verdict| (*verdict, *reason, self.0.counter(*verdict, *reason)))
        })
    }

    /// Every tally.
    pub fn tallies(&self) -> impl Iterator<Item = (Tally, u64)> + '_ {
        Tally::ALL.iter().map(|tally| (*tally, self.0.tally(*tally)))
    }
}

const fn verdicts(reason: Reason) -> &'static [Verdict] {
    match reason.action() {
        Action::Send => &[Verdict::Transmit, Verdict::Redirect],
        Action::Pass => &[Verdict::Pass],
        Action::Drop => &[Verdict::Drop],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_summed_into_every_row() {
        let mut cpu = Counters::zeroed();
        cpu.rows[Counters::row(Verdict::Drop, Reason::Land as u8)] = Counter { packets: 2, bytes: 120 };
        cpu.tallies[Tally::MssClamped as usize] = 5;
        let mut totals = Totals::zero();
        totals.add(&cpu);
        totals.add(&cpu);
        let land = totals.rows().find(|(_, reason, _)| *reason == Reason::Land).unwrap();
        assert_eq!(land, (Verdict::Drop, Reason::Land, Counter { packets: 4, bytes: 240 }));
        assert_eq!(totals.tallies().find(|(tally, _)| *tally == Tally::MssClamped).unwrap().1, 10);
        assert_eq!(totals.tallies().count(), Tally::ALL.len());
    }

    #[test]
    fn every_reason_has_its_verdicts() {
        let totals = Totals::zero();
        let sent = Reason::ALL.iter().filter(|reason| reason.action() == Action::Send).count();
        assert_eq!(totals.rows().count(), Reason::ALL.len() + sent);
    }
}
