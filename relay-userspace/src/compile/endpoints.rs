//! The endpoint table: which keys it holds and in which set each of them lies.
//!
//! The packet path looks at one set and no further, so a seed is searched with which no set holds more than its ways.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use relay_abi::endpoint::{Endpoint, EndpointSet, Kind, key, set_of};
use relay_abi::limits::{ENDPOINT_SETS, ENDPOINT_WAYS};
use relay_abi::{Be16, Ipv4};

use super::error::Error;
use super::mix::mix;

/// Seeds tried before the table is called too full. Whatever the other limits allow finds one within a few hundred.
const SEEDS: u64 = 1 << 17;

/// Sets used at least: 1 KiB, which stays in the nearest cache.
const FEWEST_SETS: usize = 16;

/// The endpoints of one configuration. Of two with the same key the first one counts.
#[derive(Default)]
pub(super) struct Endpoints {
    entries: Vec<Endpoint>,
    known: HashMap<(Ipv4Addr, u16, u8), usize>,
}

impl Endpoints {
    /// An address and port (0: any) of a protocol.
    pub(super) fn add(&mut self, address: Ipv4Addr, port: u16, protocol: u8, kind: Kind, index: u16) {
        let position = self.entries.len();
        if *self.known.entry((address, port, protocol)).or_insert(position) == position {
            self.entries.push(Endpoint {
                key: key(Ipv4(address.octets()), Be16::new(port), protocol),
                kind,
                reserved: 0,
                index,
                reserved_too: [0; 4],
            });
        }
    }

    /// An address as such.
    pub(super) fn add_address(&mut self, address: Ipv4Addr, kind: Kind, index: u16) {
        self.add(address, 0, 0, kind, index);
    }

    /// Lays the endpoints into as few sets as hold them well, and says with which seed and mask.
    pub(super) fn place(&self, sets: &mut [EndpointSet; ENDPOINT_SETS]) -> Result<(u64, u32), Error> {
        let crowded = Error::Crowded { endpoints: self.entries.len() };
        if self.entries.len() > ENDPOINT_SETS * ENDPOINT_WAYS {
            return Err(crowded);
        }
        let fewest = self.entries.len().next_power_of_two().clamp(FEWEST_SETS, ENDPOINT_SETS);
        let masks = std::iter::successors(Some(fewest), |sets| Some(sets * 2))
            .take_while(|sets| *sets <= ENDPOINT_SETS)
            .map(|sets| (sets - 1) as u32);
        let (seed, mask) = masks
            .filter_map(|mask| {
                (0..SEEDS).map(mix).find(|seed| self.fits(*seed, mask)).map(|seed| (seed, mask))
            })
            .next()
            .ok_or(crowded)?;
        for entry in &self.entries {
            let EndpointSet(ways) = &mut sets[set_of(seed, mask, entry.key)];
            let Some(way) = ways.iter_mut().find(|way| way.kind == Kind::EMPTY) else {
                return Err(crowded);
            };
            *way = *entry;
        }
        Ok((seed, mask))
    }

    fn fits(&self, seed: u64, mask: u32) -> bool {
        let mut used = [0u8; ENDPOINT_SETS];
        self.entries.iter().all(|entry| {
            let count = &mut used[set_of(seed, mask, entry.key)];
            *count += 1;
            usize::from(*count) <= ENDPOINT_WAYS
        })
    }
}

/// What the packet path finds under a key.
#[cfg(test)]
pub(super) fn look_up(
    image: &relay_abi::Image,
    address: Ipv4Addr,
    port: u16,
    protocol: u8,
) -> Option<(Kind, u16)> {
    let key = key(Ipv4(address.octets()), Be16::new(port), protocol);
    image.endpoints[set_of(image.globals.endpoint_seed, image.globals.endpoint_mask, key)]
        .0
        .iter()
        .find(|entry| entry.kind != Kind::EMPTY && entry.key == key)
        .map(|entry| (entry.kind, entry.index))
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use proptest::prelude::*;
    use relay_abi::limits::{BACKENDS, PEERS, SERVICES};

    use super::*;

    fn table(count: u32) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for number in 0..count {
            endpoints.add_address(Ipv4Addr::from_bits(0x0a00_0000 + number), Kind::SERVER, 0);
        }
        endpoints
    }

    fn empty() -> Box<[EndpointSet; ENDPOINT_SETS]> {
        Box::new([EndpointSet::zeroed(); ENDPOINT_SETS])
    }

    #[test]
    fn the_first_of_two_equal_keys_counts() {
        let mut endpoints = Endpoints::default();
        let address = Ipv4Addr::new(192, 0, 2, 1);
        endpoints.add_address(address, Kind::VIP, 0);
        endpoints.add_address(address, Kind::OWN, 0);
        let mut sets = empty();
        endpoints.place(&mut sets).unwrap();
        let kinds: Vec<Kind> = sets
            .iter()
            .flat_map(|set| set.0)
            .map(|entry| entry.kind)
            .filter(|kind| *kind != Kind::EMPTY)
            .collect();
        assert_eq!(kinds, [Kind::VIP]);
    }

    #[test]
    fn a_table_too_full_for_any_seed_is_refused() {
        let endpoints = (ENDPOINT_SETS * ENDPOINT_WAYS) as u32 + 1;
        let error = table(endpoints).place(&mut empty()).unwrap_err();
        assert_eq!(error, Error::Crowded { endpoints: endpoints as usize });
        assert!(error.to_string().contains(&endpoints.to_string()));
    }

    /// Services with their VIPs, backends with their hosts, peers, and as many own addresses as services.
    const MOST: u32 = (3 * SERVICES + 2 * BACKENDS + PEERS) as u32;

    #[test]
    fn every_configuration_within_the_limits_is_placed() {
        table(MOST).place(&mut empty()).unwrap();
        // Addresses in a row spread better than those at random.
        for start in 0..20 {
            let mut endpoints = Endpoints::default();
            for number in 0..u64::from(MOST) {
                let address = mix(start << 32 | number) as u32;
                endpoints.add_address(Ipv4Addr::from_bits(address), Kind::SERVER, 0);
            }
            endpoints.place(&mut empty()).unwrap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_endpoint_is_found_again(
            keys in prop::collection::hash_set((any::<u32>(), any::<u16>(), any::<u8>()), 1..900)
        ) {
            let mut endpoints = Endpoints::default();
            for (number, (address, port, protocol)) in keys.iter().enumerate() {
                endpoints.add(Ipv4Addr::from_bits(*address), *port, *protocol, Kind::BACKEND, number as u16);
            }
            let mut image = bytemuck::allocation::zeroed_box::<relay_abi::Image>();
            let (seed, mask) = endpoints.place(&mut image.endpoints).unwrap();
            (image.globals.endpoint_seed, image.globals.endpoint_mask) = (seed, mask);
            for (number, (address, port, protocol)) in keys.iter().enumerate() {
                prop_assert_eq!(
                    look_up(&image, Ipv4Addr::from_bits(*address), *port, *protocol),
                    Some((Kind::BACKEND, number as u16))
                );
            }
        }
    }
}
