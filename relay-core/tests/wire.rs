//! How bytes look, against plain arithmetic and the standard library.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use relay_abi::{Be16, Ipv4};
use relay_core::wire::checksum::Sum;
use relay_core::wire::ecn;
use relay_core::wire::ethernet;
use relay_core::wire::ipv4::{Header, Protocol, martian};

/// The sum of big-endian words, folded (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u64 =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn words(bytes: &[u8; 20]) -> Header {
    Header(std::array::from_fn(|index| {
        u32::from_ne_bytes(std::array::from_fn(|offset| bytes[4 * index + offset]))
    }))
}

fn bytes(header: &Header) -> Vec<u8> {
    header.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

proptest! {
    /// RFC 1624 equation 3 equals the checksum in full, corners included, of anything that is not all zero.
    #[test]
    fn an_updated_checksum_is_the_one_worked_out_in_full(
        start: [u8; 2], from: [u8; 4], to: [u8; 4], port_from: [u8; 2], port_to: [u8; 2]
    ) {
        let before = [&start[..], &from, &port_from].concat();
        let after = [&start[..], &to, &port_to].concat();
        prop_assume!(sum(&before) != 0 && sum(&after) != 0);
        let updated = Sum::zero().replace4(from, to).replace2(port_from, port_to).update(Be16::new(!sum(&before)));
        prop_assert_eq!(updated.value(), !sum(&after));
    }

    #[test]
    fn a_udp_checksum_is_never_sent_as_zero(checksum: u16, from: [u8; 4], to: [u8; 4]) {
        let updated = Sum::zero().replace4(from, to).update_udp(Be16::new(checksum)).value();
        prop_assert_eq!(updated == 0, checksum == 0, "only no checksum is zero");
    }

    #[test]
    fn a_forwarded_header_is_intact_and_differs_where_it_should(
        mut start: [u8; 20], tos: u8, source: [u8; 4], destination: [u8; 4]
    ) {
        start[0] = 0x45;
        start[8] = start[8].max(2);
        start[10..12].fill(0);
        let checksum = !sum(&start);
        start[10..12].copy_from_slice(&checksum.to_be_bytes());
        let before = words(&start);
        prop_assert!(before.intact());
        let after = before.forwarded(tos, Ipv4(source), Ipv4(destination));
        let mut wanted = start;
        (wanted[1], wanted[8]) = (tos, start[8] - 1);
        wanted[10..12].fill(0);
        wanted[12..16].copy_from_slice(&source);
        wanted[16..].copy_from_slice(&destination);
        let checksum = !sum(&wanted);
        wanted[10..12].copy_from_slice(&checksum.to_be_bytes());
        prop_assert_eq!(bytes(&after), wanted.to_vec());
        prop_assert!(after.intact());
    }

    #[test]
    fn one_changed_bit_is_no_intact_header(start: [u8; 20], bit in 0_usize..160) {
        let mut header = start;
        header[10..12].fill(0);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        prop_assert!(words(&header).intact());
        header[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!words(&header).intact());
    }

    #[test]
    fn a_new_header_is_atomic_and_intact(
        tos: u8, length: u16, ttl: u8, protocol: u8, source: [u8; 4], destination: [u8; 4]
    ) {
        let header = Header::atomic(tos, length, ttl, Protocol(protocol), Ipv4(source), Ipv4(destination));
        let bytes = bytes(&header);
        prop_assert_eq!(sum(&bytes), 0xffff);
        prop_assert_eq!(&bytes[..2], &[0x45, tos][..]);
        prop_assert_eq!(&bytes[2..4], &length.to_be_bytes()[..]);
        prop_assert_eq!(&bytes[4..10], &[0, 0, 0x40, 0, ttl, protocol][..]);
        prop_assert_eq!(&bytes[12..], &[source, destination].concat()[..]);
    }

    #[test]
    fn an_answer_goes_to_whom_the_frame_came_from(frame: [u8; 12]) {
        let stations = std::array::from_fn(|index| {
            u32::from_ne_bytes(std::array::from_fn(|offset| frame[4 * index + offset]))
        });
        let answer: Vec<u8> = ethernet::answer(stations).iter().flat_map(|word| word.to_ne_bytes()).collect();
        prop_assert_eq!(answer, [&frame[6..], &frame[..6]].concat());
    }
}

/// Sixteen bits leave nothing to chance: every checksum, against changes at the ends of the range.
#[test]
fn every_checksum_survives_every_corner() {
    for (old, new) in CORNERS.iter().flat_map(|old| CORNERS.iter().map(move |new| (*old, *new))) {
        for rest in 1..=0xffff_u16 {
            let [before, after] = [old, new].map(|word| sum(&[rest.to_be_bytes(), word].concat()));
            let updated = Sum::zero().replace2(old, new).update(Be16::new(!before));
            assert_eq!(updated.value(), !after, "{rest:#x}, {old:02x?} to {new:02x?}");
        }
    }
}

const CORNERS: &[[u8; 2]] =
    &[[0, 0], [0, 1], [0, 0xff], [1, 0], [0x7f, 0xff], [0x80, 0], [0xff, 0], [0xff, 0xfe], [0xff, 0xff]];

#[test]
fn martians_are_those_of_the_standard_library() {
    for first_two in 0..=u16::MAX {
        let [a, b] = first_two.to_be_bytes();
        for [c, d] in [[0, 0], [0, 1], [255, 255]] {
            let address = Ipv4Addr::new(a, b, c, d);
            let wanted = a == 0
                || a >= 240
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast();
            assert_eq!(martian(Ipv4(address.octets())), wanted, "{address}");
        }
    }
}

/// Figure 4 of RFC 6040, over all bytes: the inner DSCP stays, whatever the outer one.
#[test]
fn congestion_marks_are_combined_as_the_figure_says() {
    const FIGURE: [[Option<u8>; 4]; 4] = [
        // Outer:  Not-ECT, ECT(1), ECT(0), CE. Inner, from above: Not-ECT, ECT(1), ECT(0), CE.
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    for inner in 0..=u8::MAX {
        for outer in 0..=u8::MAX {
            let wanted =
                FIGURE[usize::from(inner & 3)][usize::from(outer & 3)].map(|mark| inner & 0xfc | mark);
            assert_eq!(ecn::decapsulate(inner, outer), wanted, "{inner:#x} in {outer:#x}");
        }
    }
}
