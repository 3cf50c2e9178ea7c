//! From which addresses a flood claims to come.

use std::net::Ipv4Addr;

use crate::topology::addresses::SPOOFED;

/// Sources of a flood, in the order of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// All packets from one address.
    One(Ipv4Addr),
    /// So many neighbouring addresses from [`SPOOFED`] on, which take turns, those of one prefix far apart.
    Spoofed(u32),
    /// Addresses from all over 32.0.0.0/3, a new one with each packet.
    Fresh,
    /// The same, each address again [`RETURN`] packets later, and then never again.
    FreshTwice,
}

/// New sources between the first and the second packet of a source.
const RETURN: u32 = 256;

/// A prime: it puts so many addresses in another order that are not a multiple of it.
const STRIDE: u64 = 7919;
const FRESH_NETWORK: u32 = 32 << 24;
const FRESH_BITS: u32 = 29;
/// An odd factor: it makes the numbers up to 2^29 addresses in another order, with each of them once.
const SCATTER: u32 = 0x9e37_79b1;

impl Sources {
    /// The source of the packet with this number.
    pub fn of(self, number: u64) -> Ipv4Addr {
        match self {
            Self::One(address) => address,
            Self::Spoofed(count) => {
                let index = (number % u64::from(count.max(1))) * STRIDE % u64::from(count.max(1));
                Ipv4Addr::from(u32::from(SPOOFED).wrapping_add(low(index)))
            }
            Self::Fresh => fresh(low(number)),
            Self::FreshTwice => {
                let (block, within) = (number / u64::from(2 * RETURN), number % u64::from(RETURN));
                fresh(low(block * u64::from(RETURN) + within))
            }
        }
    }

    /// Whether this flood may come from that address.
    pub fn hold(self, address: Ipv4Addr) -> bool {
        match self {
            Self::One(one) => one == address,
            Self::Spoofed(count) => u32::from(address).wrapping_sub(u32::from(SPOOFED)) < count,
            Self::Fresh | Self::FreshTwice => u32::from(address) >> FRESH_BITS == FRESH_NETWORK >> FRESH_BITS,
        }
    }

    /// How many different sources the first `packets` packets have.
    pub fn different(self, packets: u64) -> u64 {
        match self {
            Self::One(_) => packets.min(1),
            Self::Spoofed(count) => packets.min(u64::from(count)),
            Self::Fresh => packets,
            Self::FreshTwice => {
                let (block, rest) = (packets / u64::from(2 * RETURN), packets % u64::from(2 * RETURN));
                block * u64::from(RETURN) + rest.min(u64::from(RETURN))
            }
        }
    }
}

fn fresh(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(FRESH_NETWORK | index.wrapping_mul(SCATTER) & ((1 << FRESH_BITS) - 1))
}

fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn times(sources: Sources, packets: u64) -> BTreeMap<Ipv4Addr, u32> {
        let mut times = BTreeMap::new();
        for number in 0..packets {
            let source = sources.of(number);
            assert!(sources.hold(source), "{source} of {sources:?}");
            *times.entry(source).or_default() += 1;
        }
        assert_eq!(times.len() as u64, sources.different(packets), "{sources:?}");
        times
    }

    #[test]
    fn every_fresh_source_comes_once_or_twice() {
        assert!(times(Sources::Fresh, 100_000).values().all(|times| *times == 1));
        assert!(times(Sources::FreshTwice, 512 * 100).values().all(|times| *times == 2));
        times(Sources::FreshTwice, 512 * 3 + 100);
    }

    #[test]
    fn spoofed_sources_take_turns() {
        let times = times(Sources::Spoofed(10_000), 30_000);
        assert!(times.len() == 10_000 && times.values().all(|times| *times == 3));
        assert!(!Sources::Spoofed(10_000).hold(Ipv4Addr::new(198, 18, 39, 16)));
        assert!(!Sources::Fresh.hold(Ipv4Addr::new(198, 18, 0, 1)));
    }

    #[test]
    fn fresh_sources_are_spread_over_prefixes() {
        let prefixes: std::collections::BTreeSet<u32> =
            (0..10_000).map(|number| u32::from(Sources::Fresh.of(number)) >> 8).collect();
        assert!(prefixes.len() > 9_900, "{}", prefixes.len());
    }
}
