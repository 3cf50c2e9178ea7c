//! The fair share: the rate above which clients are limited when they ask for more than a service can take.
//!
//! The level L is such that the sum of min(rate, L) over all clients is the capacity: who asks for less than L notices nothing. At
//! peace there is none.

use relay_abi::limit::{BYTE_SHIFT, DUE_SHIFT};

use super::meter::{SCALE, Unit};

/// Exact values below this, and so many steps between powers of two above.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = (STEPS as usize) * (64 - STEP_BITS as usize + 1);
/// Share of the capacity above which clients are measured, so that it is known what each of them sends when it is exceeded.
const WATCHED: f64 = 0.75;
/// Share of the capacity that clients which are never limited leave to the others.
const LEFT: f64 = 0.01;
/// Measurements in a row within the capacity after which there is peace.
const CALM: u32 = 10;
/// What the level is multiplied by at each of these, so that who has slowed down for it can speed up.
const RELIEF: f64 = 1.25;

/// How much was asked for by how many clients: sums for each size, to half a percent.
#[derive(Clone, Debug)]
pub struct Demand {
    buckets: Vec<Bucket>,
    clients: u64,
    total: u64,
    /// Of the total, what no level changes.
    exempt: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    clients: u64,
    sum: u64,
}

impl Default for Demand {
    fn default() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS], clients: 0, total: 0, exempt: 0 }
    }
}

impl Demand {
    /// Adds a client that asked for so much.
    pub fn add(&mut self, amount: u64) {
        self.add_equal(amount, 1);
    }

    /// Adds clients that asked for so much each.
    pub fn add_equal(&mut self, amount: u64, clients: u64) {
        let sum = amount.saturating_mul(clients);
        if sum == 0 {
            return;
        }
        let bucket = &mut self.buckets[bucket_of(amount)];
        bucket.clients += clients;
        bucket.sum = bucket.sum.saturating_add(sum);
        self.clients += clients;
        self.total = self.total.saturating_add(sum);
    }

    /// Adds a client that is never limited and was given so much.
    pub fn add_exempt(&mut self, amount: u64) {
        self.exempt = self.exempt.saturating_add(amount);
        self.total = self.total.saturating_add(amount);
    }

    /// Forgets all clients.
    pub fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
        (self.clients, self.total, self.exempt) = (0, 0, 0);
    }

    /// What all asked for.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The level above which clients ask for too much; `None` if all that is asked for is there.
    #[must_use]
    pub fn level(&self, capacity: f64) -> Option<f64> {
        if self.total as f64 <= capacity {
            return None;
        }
        // Something is left for the others in any case.
        let capacity = (capacity - self.exempt as f64).max(capacity * LEFT);
        let (mut below, mut above) = (0.0, self.clients as f64);
        for bucket in self.buckets.iter().filter(|bucket| bucket.clients > 0) {
            let (clients, sum) = (bucket.clients as f64, bucket.sum as f64);
            if below + sum / clients * above >= capacity {
                return Some((capacity - below) / above);
            }
            below += sum;
            above -= clients;
        }
        None
    }
}

/// The word of `FAIR_COSTS` for a level: what one of the unit costs a client (see [`relay_abi::limit`]). 0 for none.
#[must_use]
pub fn cost_of(level: Option<f64>, unit: Unit, hz: u32) -> u64 {
    // Never 0, which would be peace.
    level.map_or(0, |level| (second(unit, hz) / level).clamp(1.0, MOST) as u64)
}

/// The level that a word of `FAIR_COSTS` stands for.
#[must_use]
pub fn level_of(cost: u64, unit: Unit, hz: u32) -> Option<f64> {
    (cost != 0).then(|| second(unit, hz) / cost as f64)
}

/// The highest cost of one, so that sums of costs stay far from running over: one in some days.
const MOST: f64 = (1_u64 << 48) as f64;

/// A second, in the units of costs.
fn second(unit: Unit, hz: u32) -> f64 {
    let shift = match unit {
        Unit::Packets => DUE_SHIFT,
        Unit::Bytes => DUE_SHIFT + BYTE_SHIFT,
    };
    f64::from(hz) * (1_u64 << shift) as f64
}

/// Rising with the amount.
fn bucket_of(amount: u64) -> usize {
    let bits = 64 - amount.leading_zeros();
    let shift = bits.saturating_sub(STEP_BITS + 1);
    (u64::from(shift) * STEPS + (amount >> shift)) as usize
}

/// The fair share of one service, from measurement to measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    capacity: f64,
    level: Option<f64>,
    calm: u32,
}

impl Share {
    /// Of a service that can take `capacity` a second; with the level that is in force.
    #[must_use]
    pub fn new(capacity: u64, level: Option<f64>) -> Self {
        Self { capacity: capacity as f64, level, calm: 0 }
    }

    /// The level in force, a second.
    #[must_use]
    pub const fn level(&self) -> Option<f64> {
        self.level
    }

    /// Whether clients have to be measured, when so much was forwarded a second.
    #[must_use]
    pub fn wants_measurement(&self, forwarded: f64) -> bool {
        self.level.is_some() || forwarded > self.capacity * WATCHED
    }

    /// Takes what clients asked for in so many seconds, in parts of [`SCALE`].
    pub fn settle(&mut self, demand: &Demand, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        let scaled = seconds * SCALE as f64;
        let Some(level) = demand.level(self.capacity * scaled) else {
            self.calm += 1;
            self.level = self.level.filter(|_| self.calm < CALM).map(|level| level * RELIEF);
            return;
        };
        let level = level / scaled;
        self.calm = 0;
        // Down at once; up by halves, for what is asked for may be less for a moment only.
        self.level = Some(match self.level {
            Some(before) if before < level => f64::midpoint(before, level),
            _ => level,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand(amounts: &[u64]) -> Demand {
        let mut demand = Demand::default();
        amounts.iter().for_each(|amount| demand.add(*amount));
        demand
    }

    fn scaled(amounts: &[u64]) -> Demand {
        demand(&amounts.iter().map(|amount| amount * SCALE).collect::<Vec<u64>>())
    }

    /// What is let through at a level.
    fn admitted(amounts: &[u64], level: Option<f64>) -> f64 {
        amounts.iter().map(|amount| level.map_or(*amount as f64, |level| level.min(*amount as f64))).sum()
    }

    #[test]
    fn buckets_rise_with_the_amount_and_are_narrow() {
        let mut last = 0;
        for amount in (0..5000).chain((13..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, 3 << (bit - 1)])) {
            let bucket = bucket_of(amount);
            assert!(bucket >= last && bucket < BUCKETS, "{amount}");
            last = bucket;
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
        assert_ne!(bucket_of(1000), bucket_of(1010));
    }

    #[test]
    fn only_those_above_the_level_are_cut() {
        // 10 + 20 + 2 * 35 = 100
        assert_eq!(demand(&[10, 20, 100, 500]).level(100.0), Some(35.0));
        assert_eq!(demand(&[10, 20, 30]).level(60.0), None);
        assert_eq!(demand(&[100]).level(60.0), Some(60.0));
        assert_eq!(demand(&[]).level(0.0), None);
    }

    #[test]
    fn many_equal_clients_count_as_many() {
        let mut many = demand(&[1000]);
        many.add_equal(1, 50);
        assert_eq!((many.total(), many.level(100.0)), (1050, Some(50.0)));
    }

    #[test]
    fn what_exempt_clients_take_is_not_there_for_the_others() {
        let mut demand = demand(&[10, 500]);
        demand.add_exempt(60);
        assert_eq!(demand.level(100.0), Some(30.0));
        demand.add_exempt(500);
        assert_eq!(demand.level(100.0), Some(0.5));
        assert_eq!(demand.total(), 1070);
    }

    #[test]
    fn words_of_costs_stand_for_levels() {
        use relay_abi::limit::{byte_cost, packet_cost};
        assert_eq!(cost_of(Some(1000.0), Unit::Packets, 250), packet_cost(1000, 250));
        assert_eq!(cost_of(Some(125_000.0), Unit::Bytes, 250), byte_cost(125_000, 250));
        assert_eq!((cost_of(None, Unit::Bytes, 250), level_of(0, Unit::Bytes, 250)), (0, None));
        assert_eq!(cost_of(Some(1e-12), Unit::Packets, 250), 1 << 48);
        for level in [0.5, 12.0, 12_345.6] {
            let back = level_of(cost_of(Some(level), Unit::Packets, 1000), Unit::Packets, 1000).unwrap();
            assert!((back / level - 1.0).abs() < 0.001, "{back}");
        }
    }

    #[test]
    fn peace_comes_back_some_time_after_the_flood() {
        let mut share = Share::new(1000, None);
        assert!(!share.wants_measurement(700.0) && share.wants_measurement(800.0));
        share.settle(&scaled(&[10, 5000]), 0.1);
        assert_eq!(share.level(), Some(900.0));
        assert!(share.wants_measurement(0.0));
        for _ in 1..CALM {
            share.settle(&scaled(&[10, 20]), 0.1);
            assert!(share.level().is_some_and(|level| level > 900.0));
        }
        share.settle(&scaled(&[10, 20]), 0.1);
        assert_eq!(share.level(), None);
    }

    #[test]
    fn a_level_from_before_a_restart_is_worked_out_anew_at_once() {
        let mut share = Share::new(1000, Some(5000.0));
        assert!(share.wants_measurement(0.0));
        share.settle(&scaled(&[10, 5000]), 0.1);
        assert_eq!(share.level(), Some(900.0));
    }

    proptest! {
        #[test]
        fn what_is_let_through_is_the_capacity(
            amounts in prop::collection::vec(prop_oneof![0_u64..50, 0_u64..5_000, 0_u64..2_000_000_000], 1..300),
            share in 0.01_f64..1.5,
        ) {
            let total: u64 = amounts.iter().sum();
            let capacity = total as f64 * share;
            let level = demand(&amounts).level(capacity);
            let wanted = capacity.min(total as f64);
            prop_assert!((admitted(&amounts, level) - wanted).abs() <= wanted * 0.01, "{level:?}");
            prop_assert_eq!(level.is_none(), total as f64 <= capacity);
        }

        #[test]
        fn a_steady_flood_gives_a_steady_level(
            amounts in prop::collection::vec(1_u64..10_000, 2..200),
            start in prop::option::of(0.1_f64..1e6),
        ) {
            let total: u64 = amounts.iter().sum();
            let mut share = Share::new(total.div_ceil(2), start);
            // A second each; from far below it takes some halves to come near.
            for _ in 0..30 {
                share.settle(&scaled(&amounts), 1.0);
            }
            let settled = share.level().unwrap();
            let wanted = total.div_ceil(2) as f64;
            prop_assert!((admitted(&amounts, Some(settled)) - wanted).abs() <= wanted * 0.01);
            for _ in 0..5 {
                share.settle(&scaled(&amounts), 1.0);
                prop_assert!((share.level().unwrap() / settled - 1.0).abs() < 1e-6);
            }
        }

        #[test]
        fn who_asks_for_less_than_an_equal_part_is_never_cut(
            amounts in prop::collection::vec(1_u64..100_000, 1..200),
            share in 0.01_f64..1.0,
        ) {
            let capacity = amounts.iter().sum::<u64>() as f64 * share;
            if let Some(level) = demand(&amounts).level(capacity) {
                prop_assert!(level >= capacity / amounts.len() as f64 * 0.9999);
            }
        }
    }
}
