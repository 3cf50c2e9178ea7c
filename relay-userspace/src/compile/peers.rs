//! Relays of the other tier: their rows, the constant part of the outer header's checksum, and which of them a
//! backend's packets take.

use std::net::Ipv4Addr;

use relay_abi::Ipv4;
use relay_abi::image::{NextHop, Peer};
use relay_abi::limits::PEER_SLOTS;

use super::inputs::NextHops;
use super::mix::{identity, mix};
use crate::config::valid::{Config, PeerIndex, Tunnel};

/// IPv4 in IPv4 (RFC 2003).
const PROTOCOL_IPIP: u8 = 4;
/// Version 4, header of five words.
pub(super) const VERSION_LENGTH: u8 = 0x45;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0x00];

/// The row of a peer.
pub(super) fn peer(tunnel: &Tunnel, address: Ipv4Addr, next_hops: &NextHops) -> Peer {
    Peer {
        address: Ipv4(address.octets()),
        outer_sum: outer_sum(tunnel, address),
        next_hop: next_hop(next_hops, address),
        reserved: 0,
    }
}

/// The one's-complement sum of the outer header less what differs from packet to packet (TOS byte, total length; the
/// identification is zero), in native 16-bit words and not folded: the packet path adds those and folds.
fn outer_sum(tunnel: &Tunnel, destination: Ipv4Addr) -> u32 {
    let word = |high: u8, low: u8| u32::from(u16::from_ne_bytes([high, low]));
    let address = |address: Ipv4Addr| {
        let [a, b, c, d] = address.octets();
        word(a, b) + word(c, d)
    };
    word(VERSION_LENGTH, 0)
        + word(DONT_FRAGMENT[0], DONT_FRAGMENT[1])
        + word(tunnel.ttl, PROTOCOL_IPIP)
        + address(tunnel.local)
        + address(destination)
}

/// The way to an address, ready to copy; with interface 0 while it is not resolved.
pub(super) fn next_hop(next_hops: &NextHops, address: Ipv4Addr) -> NextHop {
    let Some(hop) = next_hops.get(address) else {
        return NextHop { ifindex: 0, stations: [0; 3], reserved: [0; 4] };
    };
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (hop.destination_mac, hop.source_mac);
    let stations = [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_ne_bytes);
    NextHop { ifindex: hop.ifindex, stations, reserved: [0; 4] }
}

/// Spreads the peers that reach a backend over its slots; says how many slots are in use.
///
/// One peer takes one slot. Several take all slots in equal parts, each in its own order of preference, so that most slots
/// stay when a peer goes. Which of them gets a slot more differs from backend to backend.
pub(super) fn spread(config: &Config, backend: u64, reach: &[PeerIndex]) -> ([u8; PEER_SLOTS], u16) {
    let mut slots = [0; PEER_SLOTS];
    let mut walks: Vec<(u64, u8, Vec<usize>)> = reach
        .iter()
        .filter_map(|peer| {
            let address = config.peers.get(peer.0)?.address;
            let taste = mix(identity(address, 0) ^ backend);
            let mut order: Vec<usize> = (0..PEER_SLOTS).collect();
            order.sort_by_key(|slot| mix(taste ^ *slot as u64));
            Some((taste, u8::try_from(peer.0).ok()?, order))
        })
        .collect();
    walks.sort_unstable();
    if let [(_, peer, _)] = walks.as_slice() {
        slots[0] = *peer;
        return (slots, 1);
    }
    if walks.is_empty() {
        return (slots, 0);
    }
    let mut taken = [false; PEER_SLOTS];
    for turn in 0..PEER_SLOTS {
        let (_, peer, order) = &walks[turn % walks.len()];
        if let Some(slot) = order.iter().copied().find(|slot| !taken[*slot]) {
            taken[slot] = true;
            slots[slot] = *peer;
        }
    }
    (slots, PEER_SLOTS as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compile::inputs::ResolvedHop;
    use crate::compile::sample;

    fn fold(mut sum: u32) -> u16 {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    fn with_peers(count: u8) -> Config {
        let mut config = sample::ingress();
        config.peers = (0..count)
            .map(|number| crate::config::valid::Peer {
                name: format!("egress-{number}"),
                address: Ipv4Addr::new(10, 0, 1, number),
            })
            .collect();
        config
    }

    proptest! {
        #[test]
        fn the_checksum_is_that_of_the_whole_header(
            source: u32, destination: u32, ttl in 1u8.., tos: u8, length: u16
        ) {
            let mut tunnel = sample::ingress().tunnel;
            tunnel.local = Ipv4Addr::from_bits(source);
            tunnel.ttl = ttl;
            let destination = Ipv4Addr::from_bits(destination);
            let mut header = [0u8; 20];
            header[0] = VERSION_LENGTH;
            header[1] = tos;
            header[2..4].copy_from_slice(&length.to_be_bytes());
            header[6..8].copy_from_slice(&DONT_FRAGMENT);
            header[8] = ttl;
            header[9] = PROTOCOL_IPIP;
            header[12..16].copy_from_slice(&tunnel.local.octets());
            header[16..].copy_from_slice(&destination.octets());
            let per_packet = u32::from(u16::from_ne_bytes([0, tos])) + u32::from(u16::from_ne_bytes(length.to_be_bytes()));
            let checksum = !fold(outer_sum(&tunnel, destination) + per_packet);
            header[10..12].copy_from_slice(&checksum.to_ne_bytes());
            // The receiver's check (RFC 791): the sum over the header with its checksum is all ones.
            let sum = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            prop_assert_eq!(fold(sum), 0xffff);
        }

        #[test]
        fn peers_share_a_backend_equally(count in 1u8..=64, backend: u64) {
            let config = with_peers(count);
            let reach: Vec<PeerIndex> = (0..usize::from(count)).map(PeerIndex).collect();
            let (slots, used) = spread(&config, backend, &reach);
            let used = &slots[..usize::from(used)];
            let shares: Vec<usize> =
                (0..count).map(|peer| used.iter().filter(|slot| **slot == peer).count()).collect();
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            prop_assert!(most - least <= 1);
            prop_assert_eq!(used.len(), if count == 1 { 1 } else { PEER_SLOTS });
        }

        #[test]
        fn a_lost_peer_moves_few_other_slots(count in 3u8..=8, gone in 0u8..3, backend: u64) {
            let config = with_peers(count);
            let all: Vec<PeerIndex> = (0..usize::from(count)).map(PeerIndex).collect();
            let left: Vec<PeerIndex> = all.iter().copied().filter(|peer| peer.0 != usize::from(gone)).collect();
            let (before, _) = spread(&config, backend, &all);
            let (after, _) = spread(&config, backend, &left);
            prop_assert!(!after.contains(&gone));
            let moved = before.iter().zip(after).filter(|(was, is)| **was != gone && *was != is).count();
            prop_assert!(moved <= PEER_SLOTS / 2, "{moved} of {PEER_SLOTS} slots moved");
        }
    }

    #[test]
    fn extra_slots_go_to_different_peers() {
        let config = with_peers(3);
        let reach = [PeerIndex(0), PeerIndex(1), PeerIndex(2)];
        let mut totals = [0usize; 3];
        for backend in 0..300 {
            let (slots, _) = spread(&config, mix(backend), &reach);
            for slot in slots {
                totals[usize::from(slot)] += 1;
            }
        }
        for total in totals {
            assert!((1500..1700).contains(&total), "{totals:?}");
        }
    }

    #[test]
    fn a_backend_nobody_reaches_has_no_slots() {
        assert_eq!(spread(&with_peers(2), 1, &[]).1, 0);
    }

    #[test]
    fn a_next_hop_is_an_ethernet_header() {
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let hops = [(address, ResolvedHop { ifindex: 7, destination_mac: [1; 6], source_mac: [2; 6] })];
        let hops: NextHops = hops.into_iter().collect();
        let hop = next_hop(&hops, address);
        assert_eq!(hop.ifindex, 7);
        let stations = hop.stations.map(u32::to_ne_bytes);
        assert_eq!(stations.as_flattened(), [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
        assert_eq!(next_hop(&hops, Ipv4Addr::new(10, 0, 0, 3)).ifindex, 0);
    }
}
