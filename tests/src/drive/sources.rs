//! Who sends: sources by number, in an order.

use std::net::Ipv4Addr;

#[path = "../../../relay-ebpf/src/driver/source.rs"]
mod source;

use source::{FACTOR, NETWORKS, SHIFT, SOURCES};

/// Which sources the packets come from, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first so many, a power of two, at random with replacement.
    Random(u32),
    /// The first so many, a power of two, one after the other.
    InTurn(u32),
    /// Every packet from a new one: none of the first [`NUMBERED`], and each again only after [`FRESH`] others.
    Fresh,
}

/// Sources that are asked for by number.
pub const NUMBERED: u32 = 1 << 20;
/// Sources behind them, for floods.
pub const FRESH: u32 = 1 << 24;

impl Order {
    /// Number of the first source, and how many there are.
    pub const fn range(self) -> (u32, u32) {
        match self {
            Self::Random(sources) | Self::InTurn(sources) => (0, sources),
            Self::Fresh => (NUMBERED, FRESH),
        }
    }
}

/// The address of a source.
pub fn address(number: u32) -> Ipv4Addr {
    source::address(number).into()
}

/// The number of the source with an address, if there is one.
pub fn number(address: Ipv4Addr) -> Option<u32> {
    let address = address.to_bits();
    let network = (address >> 24) as u8;
    let network = NETWORKS.iter().position(|each| *each == network)? as u32;
    let mixed = network << 24 | address & 0xff_ffff;
    let mixed = (mixed ^ mixed >> SHIFT).wrapping_mul(INVERSE) % SOURCES;
    Some((mixed ^ mixed >> SHIFT).wrapping_mul(INVERSE) % SOURCES)
}

/// Undoes multiplying by [`FACTOR`]: each round of Newton's iteration doubles the bits that are right.
const INVERSE: u32 = {
    let mut inverse = FACTOR;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(FACTOR.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};

#[cfg(test)]
mod tests {
    use relay_abi::Ipv4;
    use relay_core::wire::ipv4::martian;

    use super::*;

    #[test]
    fn each_number_has_an_address_of_its_own_that_a_client_can_have() {
        let numbers = (0..NUMBERED).chain((0..SOURCES).step_by(9973)).chain([SOURCES - 1]);
        for source in numbers {
            let address = address(source);
            assert_eq!(number(address), Some(source));
            assert!(!martian(Ipv4(address.octets())), "{address}");
            assert!(![10, 192].contains(&address.octets()[0]), "{address}");
        }
        assert_eq!(number(Ipv4Addr::new(10, 0, 0, 1)), None);
    }

    #[test]
    fn few_sources_lie_all_over_the_address_space() {
        let mut networks: Vec<u8> = (0..1024).map(|number| address(number).octets()[0]).collect();
        networks.sort_unstable();
        networks.dedup();
        assert!(networks.len() > 120, "{} of 128", networks.len());
        assert!(networks[0] < 4 && networks[networks.len() - 1] > 220);
        let mut blocks: Vec<[u8; 3]> = (0..65_536)
            .map(|number| {
                let [a, b, c, _] = address(number).octets();
                [a, b, c]
            })
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        assert!(blocks.len() > 64_000, "{} different /24", blocks.len());
    }
}
