//! How much of its limits a client has used.

use relay_abi::image::{Service, option};
use relay_abi::limit::{BYTE_SHIFT, Costs, DUE_SHIFT};
use serde::Serialize;

use super::table::Entry;
use crate::jiffies::Moment;

/// One limit of a client, and what of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    /// `packets`, `bytes` or `connections`.
    pub of: &'static str,
    /// What the limit lets through a second.
    pub per_second: u64,
    /// Whether this is the fair share of the moment, which is below what is configured.
    pub fair_share: bool,
    /// How long at full rate the limit may be exceeded.
    pub burst_microseconds: u64,
    /// How far the client is ahead of the limit's rate; more than the burst: the next packet is over the limit.
    pub used_microseconds: u64,
}

impl Used {
    /// Whether the next packet is over the limit.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used_microseconds > self.burst_microseconds
    }
}

/// The limits of the clients of a service.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    costs: Costs,
    fair: [bool; 2],
    burst: u64,
    moment: Moment,
}

impl Quota {
    /// As they hold at a moment, when `fair_cost` is the word of `FAIR_COSTS`.
    #[must_use]
    pub const fn of(service: &Service, fair_cost: u64, moment: Moment) -> Self {
        let mut costs = service.client;
        let mut fair = [false; 2];
        if service.options & option::FAIR_BYTES != 0 {
            if fair_cost > costs.byte {
                (costs.byte, fair[1]) = (fair_cost, true);
            }
        } else if fair_cost > costs.packet {
            (costs.packet, fair[0]) = (fair_cost, true);
        }
        Self { costs, fair, burst: service.burst, moment }
    }

    /// Limits of others than clients, which have no fair share.
    #[must_use]
    pub const fn plain(costs: Costs, burst: u64, moment: Moment) -> Self {
        Self { costs, fair: [false; 2], burst, moment }
    }

    /// What a client has used; nothing where there is no limit.
    pub fn used(&self, entry: &Entry) -> impl Iterator<Item = Used> + use<> {
        self.used_by(entry.due)
    }

    /// What is used when packets, bytes and connections are due then.
    pub fn used_by(&self, due: [u64; 3]) -> impl Iterator<Item = Used> + use<> {
        let Self { costs, fair, burst, moment } = *self;
        let rows = [
            ("packets", costs.packet, 0, fair[0], due[0]),
            ("bytes", costs.byte, BYTE_SHIFT, fair[1], due[1]),
            ("connections", costs.connection, 0, false, due[2]),
        ];
        rows.into_iter().filter(|(_, cost, ..)| *cost != 0).map(move |(of, cost, shift, fair_share, due)| {
            Used {
                of,
                per_second: rate(cost, shift, moment.hz()),
                fair_share,
                burst_microseconds: microseconds(burst, moment.hz()),
                used_microseconds: microseconds(due.saturating_sub(moment.jiffies << DUE_SHIFT), moment.hz()),
            }
        })
    }
}

/// The rate of which this is the cost; of those that have the same one, the roundest.
fn rate(cost: u64, shift: u32, hz: u32) -> u64 {
    let second = u128::from(hz) << (DUE_SHIFT + shift);
    let cost = u128::from(cost);
    // Costs are rounded down.
    let (least, most) = (second / (cost + 1) + 1, second / cost);
    let rounded = (0..20).rev().map(|digits| 10_u128.pow(digits)).map(|unit| most / unit * unit);
    let roundest = rounded.into_iter().find(|rate| (least..=most).contains(rate)).unwrap_or(most);
    u64::try_from(roundest).unwrap_or(u64::MAX)
}

fn microseconds(due: u64, hz: u32) -> u64 {
    u64::try_from((u128::from(due) * 1_000_000 / u128::from(hz)) >> DUE_SHIFT).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytemuck::Zeroable;
    use relay_abi::limit::{byte_cost, packet_cost};

    use super::*;

    fn moment() -> Moment {
        Moment::new(5_000_000_000, SystemTime::UNIX_EPOCH, 250, 8)
    }

    fn service() -> Service {
        let client = Costs { packet: packet_cost(1000, 250), byte: 0, connection: packet_cost(10, 250) };
        Service { client, burst: 50 << DUE_SHIFT, ..Service::zeroed() }
    }

    #[test]
    fn what_is_due_beyond_now_is_used() {
        let now = moment().jiffies << DUE_SHIFT;
        let entry = Entry { due: [now + (25 << DUE_SHIFT), 7, now - 1], ..Entry::default() };
        let used: Vec<Used> = Quota::of(&service(), 0, moment()).used(&entry).collect();
        let packets = Used {
            of: "packets",
            per_second: 1000,
            fair_share: false,
            burst_microseconds: 200_000,
            used_microseconds: 100_000,
        };
        assert_eq!(used[0], packets);
        assert_eq!((used[1].of, used[1].per_second, used[1].used_microseconds), ("connections", 10, 0));
        assert_eq!(used.len(), 2);
        assert!(!used[0].is_over());
    }

    #[test]
    fn rates_are_told_as_they_were_set() {
        for set in [1, 7, 300, 1000, 12_345, 250_000, 1_000_000] {
            assert_eq!(rate(packet_cost(set, 250), 0, 250), set);
            assert_eq!(rate(packet_cost(set, 1000), 0, 1000), set);
            assert_eq!(rate(byte_cost(set * 125, 250), BYTE_SHIFT, 250), set * 125);
        }
        assert_eq!(rate(u64::MAX, 0, 250), 0);
        assert_eq!(rate(1, 0, 250), 4_000_000_000);
    }

    #[test]
    fn a_fair_share_is_a_limit_where_it_is_the_lower_one() {
        let entry = Entry::default();
        let used = |service: &Service, cost| -> Vec<(&str, u64, bool)> {
            let used = Quota::of(service, cost, moment()).used(&entry);
            used.map(|used| (used.of, used.per_second, used.fair_share)).collect()
        };
        assert_eq!(used(&service(), packet_cost(300, 250))[0], ("packets", 300, true));
        assert_eq!(used(&service(), packet_cost(3000, 250))[0], ("packets", 1000, false));
        let bytes = Service { options: option::FAIR_BYTES, ..service() };
        assert_eq!(used(&bytes, byte_cost(1_250_000, 250))[1], ("bytes", 1_250_000, true));
    }
}
