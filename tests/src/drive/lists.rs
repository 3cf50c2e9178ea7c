//! Lists of prefixes to drive a relay with: like public lists of attackers, mostly single addresses, all over the address space.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, ArrayOfMaps, MapData};
use ipnet::Ipv4Net;
use relay_abi::list::{Prefix, slot};
use relay_abi::maps;
use relay_userspace::lists::Kind;
use relay_userspace::lists::compiled::{Item, TooLong, compile};

use super::relay::Relay;
use super::sources::{FRESH, NUMBERED, address, number};

/// Prefixes that are blocked, as the packet path reads them.
pub struct Blocklist(Array<MapData, Line>);

type Line = [u64; 8];

impl Blocklist {
    /// Compiles a list.
    pub fn of(prefixes: &[Ipv4Net]) -> Result<Self> {
        let item = |prefix: &Ipv4Net| Item {
            prefix: Prefix { address: prefix.network().to_bits(), length: prefix.prefix_len() },
            kind: Kind::Blocked,
            expires: None,
        };
        let items: Vec<Item> = prefixes.iter().map(item).collect();
        let compiled = match compile(&items) {
            Ok(compiled) => compiled,
            Err(TooLong(rules)) => bail!("{rules} prefixes are too many for a list"),
        };
        let lines = compiled.lines();
        let mut array = Array::create(u32::try_from(lines.len())?, FLAGS).context("cannot make a list")?;
        for (number, line) in (0..).zip(lines) {
            array.set(number, line, 0)?;
        }
        Ok(Self(array))
    }
}

impl Relay {
    /// Puts a list in the place of the one that the configuration has.
    pub fn block(&mut self, list: &Blocklist) -> Result<()> {
        let mut lists: ArrayOfMaps<_, Array<MapData, Line>> = self.map_mut(maps::LISTS)?.try_into()?;
        lists.set(slot::CONFIGURED, &list.0, 0).context("cannot put a list in force")
    }
}

/// `BPF_F_MMAPABLE` and `BPF_F_INNER_MAP`, which the arrays of lists have.
const FLAGS: u32 = 1 << 10 | 1 << 12;

/// So many prefixes, which hold none of the sources that are ever driven.
pub fn unlisting(count: usize) -> Vec<Ipv4Net> {
    let mut random = Random(0x0b5e_55ed);
    let mut prefixes = HashSet::new();
    while prefixes.len() < count {
        let length = length(&mut random);
        let first = Ipv4Addr::from_bits(random.next());
        if let Ok(prefix) = Ipv4Net::new(first, length)
            && matches!(first.octets()[0], 1..=9 | 11..=126 | 128..=191 | 193..=223)
            && !holds_source(prefix.trunc())
        {
            prefixes.insert(prefix.trunc());
        }
    }
    let mut prefixes: Vec<Ipv4Net> = prefixes.into_iter().collect();
    prefixes.sort_unstable();
    prefixes
}

/// The first so many sources, each as a prefix.
pub fn of_sources(sources: u32) -> Vec<Ipv4Net> {
    (0..sources).map(|number| address(number).into()).collect()
}

/// Seven of ten prefixes are single addresses, two are /24, the rest in between.
fn length(random: &mut Random) -> u8 {
    match random.next() % 10 {
        0..7 => 32,
        7 | 8 => 24,
        _ => 25 + (random.next() % 7) as u8,
    }
}

/// Whether a prefix of at most 256 addresses holds a source.
fn holds_source(prefix: Ipv4Net) -> bool {
    let first = prefix.network().to_bits();
    let addresses = 1_u32 << (32 - prefix.prefix_len());
    (first..first + addresses)
        .any(|each| number(Ipv4Addr::from_bits(each)).is_some_and(|number| number < NUMBERED + FRESH))
}

/// The high halves of a linear congruential generator (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_so_many_prefixes_and_none_of_a_source() {
        let list = unlisting(1000);
        assert_eq!(list.len(), 1000);
        let single = list.iter().filter(|prefix| prefix.prefix_len() == 32).count();
        assert!((600..900).contains(&single), "{single} single addresses");
        assert!(list.iter().any(|prefix| prefix.prefix_len() == 24));
        let sources: HashSet<Ipv4Addr> = (0..65_536).map(address).collect();
        assert!(list.iter().flat_map(Ipv4Net::hosts).all(|host| !sources.contains(&host)));
    }
}
