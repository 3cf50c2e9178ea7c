//! Headers and numbers; whole packets are in the packet cases.

extern crate std;

use std::vec::Vec;

use bytemuck::Zeroable as _;
use proptest::prelude::*;
use relay_abi::Ipv4;

use super::*;

/// A relay with `hz` jiffies a second that booted at `boot`, in seconds since 1970, with epochs of half a minute.
fn relay(hz: u64, boot: u64) -> Globals {
    Globals {
        proof_key: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
        epoch_offset: boot * hz,
        epoch_jiffies: SECONDS * hz,
        ..Globals::zeroed()
    }
}

const SECONDS: u64 = 30;
/// The start of an epoch.
const NOON: u64 = 1_800_000_000;

fn syn(source: [u8; 4], destination: [u8; 4], total_length: u16) -> Header {
    Header::atomic(0, total_length, 57, Protocol::TCP, Ipv4(source), Ipv4(destination))
}

/// The sum of big-endian words, folded (RFC 1071).
fn sum(words: impl IntoIterator<Item = u32>) -> u32 {
    let mut sum = 0;
    for word in words {
        let word = u32::from_be(word);
        sum += (word >> 16) + (word & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (sum >> 16) + (sum & 0xffff)
}

/// The number in the challenge of a relay at a time, in jiffies.
fn asked(globals: &Globals, jiffies: u64, syn: &Header, ports: Ports) -> u32 {
    let (_, tcp) = headers(syn, ports, hash(globals, syn, ports, epoch(globals, jiffies)));
    u32::from_be(tcp[2])
}

proptest! {
    #[test]
    fn a_challenge_is_an_ack_with_right_checksums(
        source: [u8; 4], destination: [u8; 4], ports: u32, hash: u64, length in 40_u16..1500
    ) {
        let (ip, tcp) = headers(&syn(source, destination, length), Ports(ports), hash);
        prop_assert!(ip.intact() && ip.plain() && ip.dont_fragment() && !ip.fragment());
        prop_assert_eq!((ip.source(), ip.destination()), (Ipv4(destination), Ipv4(source)));
        prop_assert_eq!((ip.total_length(), ip.ttl(), ip.tos()), (40, 64, 0));
        let pseudo = [ip.source().word(), ip.destination().word(), (6_u32 << 16 | 20).to_be()];
        prop_assert_eq!(sum(pseudo.into_iter().chain(tcp)), 0xffff);
        prop_assert_eq!(Ports(tcp[0]), Ports(ports).swapped());
        let bytes: Vec<u8> = tcp.iter().flat_map(|word| word.to_ne_bytes()).collect();
        prop_assert_eq!(&bytes[4..8], &hash.to_be_bytes()[..4]);
        prop_assert_eq!(&bytes[8..12], &hash.to_be_bytes()[4..]);
        prop_assert_eq!(&bytes[12..16], &[0x50, 0x10, 0, 0]);
        prop_assert_eq!(&bytes[18..], &[0, 0]);
    }

    #[test]
    fn any_relay_with_the_key_takes_the_proof_whatever_its_clock(
        source: [u8; 4], destination: [u8; 4], ports: u32, after in 0..1000 * SECONDS
    ) {
        let syn = syn(source, destination, 60);
        let (here, there) = (relay(1000, NOON - 777), relay(250, NOON - 40_000));
        let number = asked(&here, 777 * 1000 + after * 1000, &syn, Ports(ports));
        let jiffies = 40_000 * 250 + after * 250;
        prop_assert_eq!(number, asked(&there, jiffies, &syn, Ports(ports)));
        prop_assert!(proves(&there, jiffies, &syn, Ports(ports), number));
    }

    #[test]
    fn a_number_is_good_for_its_epoch_and_the_next(ports: u32, at in 0..SECONDS * 100) {
        let globals = relay(100, NOON);
        let syn = syn([198, 51, 100, 2], [192, 0, 2, 1], 60);
        let number = asked(&globals, at, &syn, Ports(ports));
        let epoch = SECONDS * 100;
        for later in [at, epoch - 1, epoch, 2 * epoch - 1] {
            prop_assert!(proves(&globals, later, &syn, Ports(ports), number), "after {} jiffies", later);
        }
        for other in [2 * epoch, 3 * epoch, 1000 * epoch] {
            prop_assert!(!proves(&globals, other, &syn, Ports(ports), number), "after {} jiffies", other);
        }
        prop_assert!(!proves(&relay(100, NOON - SECONDS), at, &syn, Ports(ports), number));
    }

    #[test]
    fn a_number_proves_nothing_of_anything_else(
        source: [u8; 4], destination: [u8; 4], ports: u32, bit in 0_u32..32, key_bit in 0_u32..128
    ) {
        let globals = relay(250, NOON);
        let (header, flip) = (syn(source, destination, 60), 1_u32 << bit);
        let number = asked(&globals, 0, &header, Ports(ports));
        let turned = |address: [u8; 4]| (u32::from_ne_bytes(address) ^ flip).to_ne_bytes();
        prop_assert!(!proves(&globals, 0, &syn(turned(source), destination, 60), Ports(ports), number));
        prop_assert!(!proves(&globals, 0, &syn(source, turned(destination), 60), Ports(ports), number));
        prop_assert!(!proves(&globals, 0, &header, Ports(ports ^ flip), number));
        prop_assert!(!proves(&globals, 0, &header, Ports(ports), number ^ flip));
        let mut other = globals;
        other.proof_key[key_bit as usize / 64] ^= 1 << (key_bit % 64);
        prop_assert!(!proves(&other, 0, &header, Ports(ports), number));
        // Another relay's table seed or flow key does not matter, nor what else the packet says.
        other = Globals { table_seed: 1, hash_key: [2, 3], generation: 4, ..globals };
        prop_assert!(proves(&other, 0, &syn(source, destination, 40), Ports(ports), number));
    }
}

#[test]
fn a_number_that_the_client_would_accept_is_not_sent() {
    for sequence in [0, 1000, u32::MAX - 1, u32::MAX] {
        for (ahead, data, accepted) in
            [(0, 0, false), (1, 0, true), (2, 0, false), (1, 100, true), (101, 100, true), (102, 100, false)]
        {
            assert_eq!(
                acceptable(sequence.wrapping_add(ahead), sequence, data),
                accepted,
                "{ahead} of {data}"
            );
        }
        assert!(!acceptable(sequence.wrapping_sub(1), sequence, 1460));
    }
}

#[test]
fn data_is_what_stands_behind_the_options() {
    let with = |total_length, offset: u8| {
        data_length(
            &syn([192, 0, 2, 9], [192, 0, 2, 1], total_length),
            u32::from_ne_bytes([offset << 4, 2, 0, 0]),
        )
    };
    assert_eq!([with(40, 5), with(60, 10), with(61, 10), with(1500, 15)], [0, 0, 1, 1420]);
}

#[test]
fn an_epoch_of_no_length_is_no_division() {
    assert_eq!(epoch(&Globals { epoch_jiffies: 0, ..relay(250, NOON) }, 1), 0);
}
