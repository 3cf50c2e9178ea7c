//! What a service asks of its clients, as the packet path reads it.

use bytemuck::Zeroable;
use relay_abi::image::filter::{self, Mode};
use relay_abi::image::{Service, option, proof};
use relay_abi::limit::{Costs, DUE_SHIFT, byte_cost, packet_cost};

use super::globals::tick_shift;
use crate::config::policy::{Capacity, FilterMode, Filters, OverLimit, Policy, Proof, Rates};

/// A service's row with what the policy says, and nothing else.
pub(super) fn row(policy: &Policy, hz: u32) -> Service {
    let hz = hz.max(1);
    let limits = &policy.limits;
    let (proof, proof_threshold) = match policy.proof {
        Proof::Off => (proof::OFF, 0),
        Proof::Above(rate) => (proof::THRESHOLD, per_tick(rate, hz)),
        Proof::Always => (proof::ALWAYS, 0),
    };
    Service {
        client: costs(&limits.client, hz),
        prefix: costs(&limits.prefix, hz),
        total: costs(&limits.total, hz),
        burst: due_units(limits.burst, hz),
        filters: filters(&policy.filters),
        proof,
        options: options(policy),
        proof_threshold,
        ..Service::zeroed()
    }
}

/// The filters of a service that concern what has no service: packets to its VIP without ports. See
/// [`Kind::VIP`](relay_abi::endpoint::Kind::VIP).
pub(super) fn vip_filters(filters: &Filters) -> Filters {
    Filters {
        reflector_ports: FilterMode::Off,
        tcp_flags: FilterMode::Off,
        source_port_zero: FilterMode::Off,
        fragments: filters.fragments,
        protocols: filters.protocols,
    }
}

/// Of two services' filters the stricter ones.
pub(super) fn strictest(a: &Filters, b: &Filters) -> Filters {
    Filters {
        reflector_ports: a.reflector_ports.max(b.reflector_ports),
        tcp_flags: a.tcp_flags.max(b.tcp_flags),
        source_port_zero: a.source_port_zero.max(b.source_port_zero),
        fragments: a.fragments.max(b.fragments),
        protocols: a.protocols.max(b.protocols),
    }
}

/// The bits of all modes, as in [`Service::filters`].
pub(super) fn filters(filters: &Filters) -> u16 {
    [
        (filter::REFLECTOR_PORTS, filters.reflector_ports),
        (filter::TCP_FLAGS, filters.tcp_flags),
        (filter::SOURCE_PORT_ZERO, filters.source_port_zero),
        (filter::FRAGMENTS, filters.fragments),
        (filter::PROTOCOLS, filters.protocols),
    ]
    .into_iter()
    .fold(0, |bits, (filter, mode)| {
        let Mode(mode) = match mode {
            FilterMode::Off => Mode::OFF,
            FilterMode::Shadow => Mode::SHADOW,
            FilterMode::Enforce => Mode::ENFORCE,
        };
        bits | mode << (2 * filter)
    })
}

fn costs(rates: &Rates, hz: u32) -> Costs {
    Costs {
        packet: packet_cost(rates.packets.unwrap_or(0), hz),
        byte: byte_cost(rates.bytes.unwrap_or(0), hz),
        connection: packet_cost(rates.connections.unwrap_or(0), hz),
    }
}

fn options(policy: &Policy) -> u8 {
    let limits = &policy.limits;
    [
        (option::MARK_DOWN, limits.over == OverLimit::MarkDown),
        (option::FAIR_BYTES, matches!(limits.fair, Some(Capacity::Bytes(_)))),
        (option::ANSWERS_VERIFY, policy.answers_verify),
    ]
    .into_iter()
    .fold(0, |bits, (bit, set)| if set { bits | bit } else { bits })
}

/// A time in the units of due times.
#[must_use]
pub fn due_units(time: std::time::Duration, hz: u32) -> u64 {
    let units = ((time.as_nanos() * u128::from(hz)) << DUE_SHIFT) / 1_000_000_000;
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// A rate a second as a count in a tick, at least 1.
fn per_tick(rate: u32, hz: u32) -> u32 {
    let count = (u64::from(rate) << tick_shift(hz)) / u64::from(hz);
    u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::policy::Limits;

    const HZ: u32 = 250;

    #[test]
    fn without_a_policy_of_its_own_a_service_has_the_filters_and_no_limit() {
        let row = row(&Policy::default(), HZ);
        assert_eq!((row.client, row.prefix, row.total), (Costs::NONE, Costs::NONE, Costs::NONE));
        assert_eq!((row.proof, row.options, row.proof_threshold), (proof::OFF, 0, 0));
        for filter in
            [filter::REFLECTOR_PORTS, filter::TCP_FLAGS, filter::SOURCE_PORT_ZERO, filter::FRAGMENTS]
        {
            assert_eq!(filter::mode(row.filters, filter), Mode::ENFORCE, "{filter}");
        }
        assert_eq!(filter::mode(row.filters, filter::PROTOCOLS), Mode::SHADOW);
        // 200 ms are 50 ticks.
        assert_eq!(row.burst, 50 << DUE_SHIFT);
    }

    #[test]
    fn rates_become_costs_of_their_own() {
        let rates = |packets| Rates { packets: Some(packets), bytes: Some(1000), connections: None };
        let limits = Limits {
            client: rates(1000),
            prefix: rates(2000),
            total: Rates { connections: Some(7), ..Rates::default() },
            burst: Duration::from_millis(20),
            over: OverLimit::MarkDown,
            fair: Some(Capacity::Bytes(1_000_000)),
            ban: None,
        };
        let policy = Policy { limits, answers_verify: true, ..Policy::default() };
        let row = row(&policy, HZ);
        let costs = Costs { packet: packet_cost(1000, HZ), byte: byte_cost(1000, HZ), connection: 0 };
        assert_eq!(row.client, costs);
        assert_eq!(row.prefix, Costs { packet: packet_cost(2000, HZ), ..costs });
        assert_eq!(row.total, Costs { connection: packet_cost(7, HZ), ..Costs::NONE });
        assert_eq!(row.burst, 5 << DUE_SHIFT);
        assert_eq!(row.options, option::MARK_DOWN | option::FAIR_BYTES | option::ANSWERS_VERIFY);
        let limits = Limits { fair: Some(Capacity::Packets(1)), ..Limits::default() };
        assert_eq!(super::row(&Policy { limits, ..Policy::default() }, HZ).options, 0);
    }

    #[test]
    fn a_threshold_counts_in_ticks_that_are_longer_than_a_second() {
        let threshold = |rate, hz| {
            let row = row(&Policy { proof: Proof::Above(rate), ..Policy::default() }, hz);
            assert_eq!(row.proof, proof::THRESHOLD);
            row.proof_threshold
        };
        // A tick at 250 Hz is 256 jiffies, at 100 Hz 128.
        assert_eq!((threshold(1000, 250), threshold(1000, 100), threshold(1000, 1000)), (1024, 1280, 1024));
        assert_eq!((threshold(1, 250), threshold(16_000_000, 300)), (1, 27_306_666));
        assert_eq!(row(&Policy { proof: Proof::Always, ..Policy::default() }, HZ).proof, proof::ALWAYS);
    }

    #[test]
    fn bursts_are_in_the_units_of_due_times_at_every_tick() {
        for hz in [100, 250, 300, 1000] {
            for milliseconds in [20, 200, 10_000] {
                let jiffies =
                    due_units(Duration::from_millis(milliseconds), hz) as f64 / (1 << DUE_SHIFT) as f64;
                let expected = milliseconds as f64 * f64::from(hz) / 1000.0;
                assert!((jiffies - expected).abs() < 1e-6, "{milliseconds} ms at {hz}: {jiffies}");
            }
        }
    }

    #[test]
    fn the_highest_limits_are_exact_to_one_percent_and_the_lowest_fit() {
        use crate::config::defaults::{BYTE_RATE_MAX, BYTE_RATE_MIN, PACKET_RATE_MAX};
        for hz in [100, 250, 300, 1000] {
            let units = f64::from(hz) * f64::from(1 << DUE_SHIFT);
            let packets = PACKET_RATE_MAX as u64;
            let admitted = units / packet_cost(packets, hz) as f64;
            assert!((admitted / packets as f64 - 1.0).abs() < 0.01, "{admitted} packets at {hz}");
            let bytes = BYTE_RATE_MAX as u64;
            let admitted = units * 65_536.0 / byte_cost(bytes, hz) as f64;
            assert!((admitted / bytes as f64 - 1.0).abs() < 0.01, "{admitted} bytes at {hz}");
            assert!(byte_cost(BYTE_RATE_MIN as u64, hz).checked_mul(65_535).is_some());
        }
    }

    #[test]
    fn what_concerns_the_vip_is_told_apart_and_the_strictest_counts() {
        let modes = |fragments, protocols| Filters { fragments, protocols, ..Filters::default() };
        let a = vip_filters(&modes(FilterMode::Off, FilterMode::Enforce));
        let b = vip_filters(&modes(FilterMode::Shadow, FilterMode::Off));
        let bits = filters(&strictest(&a, &b));
        assert_eq!(filter::mode(bits, filter::FRAGMENTS), Mode::SHADOW);
        assert_eq!(filter::mode(bits, filter::PROTOCOLS), Mode::ENFORCE);
        assert_eq!(filter::mode(bits, filter::REFLECTOR_PORTS), Mode::OFF);
    }
}
