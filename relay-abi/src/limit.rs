//! Limits as the packet path applies them: virtual scheduling (the generic cell rate algorithm, ITU-T I.371), one word a limit.
//!
//! A word says when everything admitted so far would be through at exactly the limit's rate: it is *due*. A packet is admitted
//! while that is no more than the burst ahead of now, and moves it on by its cost. So a limit is a number and needs no timer, and a word in the past
//! holds nothing: it may be forgotten. Time is in jiffies times 2^[`DUE_SHIFT`].

use core::sync::atomic::AtomicU64;

use bytemuck::{Pod, Zeroable};

use crate::limits::PREFIX_WAYS;

/// Bits of fraction in a due time.
pub const DUE_SHIFT: u32 = 24;
/// Bits of fraction in the cost of a byte beyond those of a due time.
pub const BYTE_SHIFT: u32 = 16;

/// What a packet costs at a limit's rate; zero for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Costs {
    /// A packet: [`packet_cost`] of packets a second.
    pub packet: u64,
    /// A byte of IPv4 packet, in units of 2^-[`BYTE_SHIFT`]: [`byte_cost`] of bytes a second.
    pub byte: u64,
    /// A new connection: [`packet_cost`] of connections a second.
    pub connection: u64,
}

impl Costs {
    /// No limit.
    pub const NONE: Self = Self { packet: 0, byte: 0, connection: 0 };
}

/// The cost of one of `rate` a second at `hz` jiffies a second, at least 1; 0 for a rate of 0, no limit.
pub const fn packet_cost(rate: u64, hz: u32) -> u64 {
    scaled(rate, hz, DUE_SHIFT)
}

/// The cost of a byte, as in [`Costs::byte`].
pub const fn byte_cost(rate: u64, hz: u32) -> u64 {
    scaled(rate, hz, DUE_SHIFT + BYTE_SHIFT)
}

const fn scaled(rate: u64, hz: u32, shift: u32) -> u64 {
    if rate == 0 {
        return 0;
    }
    let cost = ((hz as u64) << shift) / rate;
    if cost == 0 { 1 } else { cost }
}

/// What a prefix of clients has used of a service's limits for prefixes.
///
/// `key`: the prefix's address (bits 0-31, as it stands in memory), service (32-39); zero where there is none.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Prefix {
    /// Which prefix of which service.
    pub key: AtomicU64,
    /// As [`crate::client::Client::dues`]: of packets and of bytes.
    pub dues: [AtomicU64; 2],
    /// The same of new connections.
    pub connections_due: AtomicU64,
}

/// Prefixes whose keys hash to the same place.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PrefixSet(pub [Prefix; PREFIX_WAYS]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact_enough() {
        for hz in [100, 250, 300, 1000] {
            for rate in [1, 7, 1000, 100_000, 1_000_000] {
                let got = ((hz as u64) << DUE_SHIFT) as f64 / packet_cost(rate, hz) as f64;
                assert!((got / rate as f64 - 1.0).abs() < 0.001, "{rate} at {hz}: {got}");
            }
            for rate in [1_000, 125_000_000, 12_500_000_000] {
                let cost = byte_cost(rate, hz) as f64 / (1 << BYTE_SHIFT) as f64;
                let got = ((hz as u64) << DUE_SHIFT) as f64 / cost;
                assert!((got / rate as f64 - 1.0).abs() < 0.001, "{rate} at {hz}: {got}");
            }
        }
        assert_eq!((packet_cost(0, 250), byte_cost(0, 250)), (0, 0));
    }
}
