//! Pick tables: a Maglev table for each set of choices (Eisenbud et al., NSDI 2016, section 3.4), with weights.
//!
//! A table's length must stay when a choice comes or goes, or every flow would move; so lengths rise in coarse steps.

use super::mix::mix;

/// One thing to pick: a backend, or a relay of the other tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Choice {
    /// What it is known by on every relay.
    pub(super) identity: u64,
    /// Its row, here.
    pub(super) index: u16,
    /// Its share; at least 1.
    pub(super) weight: u16,
}

/// Slots that the smallest share should get, so that shares come out within about one percent.
const SLOTS_PER_SHARE: u64 = 100;

/// A share smaller than the mean by more than this gets fewer slots than [`SLOTS_PER_SHARE`].
const MOST_UNEVEN: u64 = 16;

/// The largest primes below the powers of two from 2^3 to 2^16.
const LENGTHS: [usize; 14] = [7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521];

/// How long the table of these choices is; `shrink` halves it so many times, while every choice still gets a slot.
pub(super) fn length(choices: &[Choice], shrink: usize) -> usize {
    if choices.len() < 2 {
        return choices.len();
    }
    let wanted = slots_for(shares(choices));
    // Every second step from 509 (five choices) up: a service grows fourfold before its flows are dealt anew.
    let step = LENGTHS
        .iter()
        .enumerate()
        .skip(6)
        .step_by(2)
        .find(|(_, slots)| **slots >= wanted)
        .map_or(LENGTHS.len() - 1, |(step, _)| step);
    let least = LENGTHS.iter().position(|slots| *slots >= choices.len()).unwrap_or(LENGTHS.len() - 1);
    LENGTHS[step.saturating_sub(shrink).max(least)]
}

/// The number of smallest shares that make up the whole.
fn shares(choices: &[Choice]) -> u64 {
    let total: u64 = choices.iter().map(|choice| u64::from(choice.weight)).sum();
    let least = choices.iter().map(|choice| u64::from(choice.weight)).min().unwrap_or(1).max(1);
    (total / least).min(choices.len() as u64 * MOST_UNEVEN)
}

fn slots_for(shares: u64) -> usize {
    // A step's prime is a little short of its power of two: five choices still fit 509 slots.
    usize::try_from(shares.saturating_mul(SLOTS_PER_SHARE)).unwrap_or(usize::MAX)
}

/// Fills a table of `length` slots with the rows of the choices. The order of `choices` does not matter.
pub(super) fn fill(choices: &[Choice], length: usize) -> Vec<u16> {
    let mut choices = choices.to_vec();
    choices.sort_unstable();
    let heaviest = choices.iter().map(|choice| u32::from(choice.weight)).max().unwrap_or(0);
    let mut walks: Vec<Walk> = choices.iter().map(|choice| Walk::new(choice, heaviest, length)).collect();
    let mut slots: Vec<Option<u16>> = vec![None; length];
    let mut filled = 0;
    while filled < length && heaviest > 0 {
        for walk in &mut walks {
            // In the first round everyone takes a slot, then the heaviest one each round and the others one every
            // `heaviest / weight` rounds.
            walk.credit += walk.weight;
            if walk.credit < heaviest {
                continue;
            }
            walk.credit -= heaviest;
            let slot = walk.next_free(&slots);
            slots[slot] = Some(walk.index);
            filled += 1;
            if filled == length {
                break;
            }
        }
    }
    slots.into_iter().flatten().collect()
}

/// A choice's own order of all slots.
struct Walk {
    at: usize,
    skip: usize,
    length: usize,
    weight: u32,
    credit: u32,
    index: u16,
}

impl Walk {
    fn new(choice: &Choice, heaviest: u32, length: usize) -> Self {
        let modulo = |value: u64, bound: usize| (value % bound.max(1) as u64) as usize;
        Self {
            at: modulo(mix(choice.identity), length),
            skip: 1 + modulo(mix(!choice.identity), length.saturating_sub(1)),
            length,
            weight: u32::from(choice.weight),
            credit: heaviest - u32::from(choice.weight),
            index: choice.index,
        }
    }

    /// The next slot nobody has. The length is prime, so the walk visits every slot; the caller knows that one is free.
    fn next_free(&mut self, slots: &[Option<u16>]) -> usize {
        loop {
            let slot = self.at;
            self.at = (self.at + self.skip) % self.length;
            if slots[slot].is_none() {
                return slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::compile::mix::identity;

    fn choices(weights: &[u16]) -> Vec<Choice> {
        let number = |index: usize| u16::try_from(index).unwrap();
        weights
            .iter()
            .enumerate()
            .map(|(index, weight)| Choice {
                identity: identity(Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number(index))), 443),
                index: number(index),
                weight: *weight,
            })
            .collect()
    }

    fn share(ring: &[u16], index: u16) -> f64 {
        ring.iter().filter(|slot| **slot == index).count() as f64 / ring.len() as f64
    }

    #[test]
    fn lengths_are_prime_below_powers_of_two() {
        for (exponent, length) in (3..).zip(LENGTHS) {
            let prime = |n: usize| (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
            assert!(prime(length) && length < 1 << exponent);
            assert!((length + 1..1 << exponent).all(|larger| !prime(larger)));
        }
    }

    #[test]
    fn a_single_choice_takes_one_slot_and_none_takes_none() {
        assert_eq!(length(&choices(&[7]), 0), 1);
        assert_eq!(fill(&choices(&[7]), 1), [0]);
        assert_eq!(length(&[], 0), 0);
        assert!(fill(&[], 0).is_empty());
    }

    #[test]
    fn lengths_stay_while_choices_come_and_go() {
        let length_of = |count: usize| length(&choices(&vec![1; count]), 0);
        assert_eq!((length_of(2), length_of(5)), (509, 509));
        assert_eq!((length_of(6), length_of(20)), (2039, 2039));
        assert_eq!(length_of(81), 8191);
        assert_eq!(length_of(1000), 65521);
        assert_eq!(length(&choices(&[1; 5]), 1), 251);
        // Never shorter than the choices are many.
        assert_eq!(length(&choices(&[1; 200]), 20), 251);
    }

    #[test]
    fn the_order_in_the_file_does_not_matter() {
        let there = choices(&[1, 2, 3]);
        let back: Vec<Choice> = there.iter().rev().copied().collect();
        assert_eq!(fill(&there, 1021), fill(&back, 1021));
    }

    proptest! {
        #[test]
        fn shares_follow_the_weights(weights in prop::collection::vec(1u16..=20, 2..40)) {
            let choices = choices(&weights);
            let ring = fill(&choices, length(&choices, 0));
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for choice in &choices {
                let wanted = f64::from(choice.weight) / total;
                // Two percent of the share; what a slot more or less makes is allowed in any case.
                let allowed = (wanted * 0.02).max(1.5 / ring.len() as f64);
                prop_assert!((share(&ring, choice.index) - wanted).abs() <= allowed);
            }
        }

        #[test]
        fn every_choice_gets_a_slot(
            weights in prop::collection::vec(1u16..=1000, 2..300),
            shrink in 0usize..10,
        ) {
            let choices = choices(&weights);
            let ring = fill(&choices, length(&choices, shrink));
            for choice in &choices {
                prop_assert!(ring.contains(&choice.index));
            }
        }

        #[test]
        fn taking_one_away_moves_few_others(count in 6usize..20, gone in 0usize..6) {
            let all = choices(&vec![1; count]);
            let mut left = all.clone();
            let gone = left.remove(gone);
            let length = length(&all, 0);
            prop_assume!(length == super::length(&left, 0));
            let (before, after) = (fill(&all, length), fill(&left, length));
            let moved = before.iter().zip(&after).filter(|(was, is)| **was != gone.index && was != is).count();
            prop_assert!((moved as f64) < 0.06 * length as f64, "{} of {} slots moved", moved, length);
        }
    }
}
