//! Tables made by hand, and what is read out of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use relay_abi::Ipv4;
use relay_abi::client::{
    self, BUSY, Client, ClientDetails, ClientSet, DETAILED, DropClass, VERIFIED, count, key, place, state,
};
use relay_abi::limits::CLIENT_WAYS;

use super::*;

const SEED: u64 = 0x1234_5678_9abc_def1;

/// A client table in this process's own memory.
pub(super) struct Fabricated {
    sets: Vec<ClientSet>,
    details: Vec<ClientDetails>,
}

impl Fabricated {
    pub(super) fn new(sets: usize) -> Self {
        Self {
            sets: (0..sets).map(|_| ClientSet::default()).collect(),
            details: (0..sets * CLIENT_WAYS).map(|_| ClientDetails::default()).collect(),
        }
    }

    pub(super) fn table(&self) -> Table<'_> {
        Table::new(&self.sets, &self.details, SEED)
    }

    /// A place, by its number.
    pub(super) fn at(&self, place: u32) -> (&Client, &ClientDetails) {
        let number = place as usize;
        (&self.sets[number / CLIENT_WAYS].0[number % CLIENT_WAYS], &self.details[number])
    }

    /// Gives a client a free place in its set; none when it is full.
    pub(super) fn place(
        &self,
        address: Ipv4Addr,
        service: u16,
        flags: u64,
    ) -> Option<(&Client, &ClientDetails)> {
        let key = key(Ipv4(address.octets()), service);
        let set = client::set(key, SEED, self.sets.len() as u32 - 1);
        let ways = &self.sets[set as usize].0;
        let way = ways.iter().position(|client| client.state.load(Relaxed) == 0)?;
        ways[way].state.store(state(key, flags, 100), Relaxed);
        Some((&ways[way], &self.details[place(set, way as u32) as usize]))
    }
}

pub(super) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

#[test]
fn what_is_carried_and_what_is_not_are_one_count() {
    let table = Fabricated::new(16);
    let (client, details) = table.place(address(1), 7, DETAILED | VERIFIED).unwrap();
    client.counts.store(count(100) * 3, Relaxed);
    client.dues[1].store(9, Relaxed);
    details.packets.store(1000, Relaxed);
    details.bytes.store(50_000, Relaxed);
    details.return_packets.store(4, Relaxed);
    details.connections.store(5, Relaxed);
    details.drops[DropClass::Filtered as usize].store(6, Relaxed);
    details.seen.store(90 | 95 << 32, Relaxed);
    let entry = table.table().find(address(1), 7).unwrap();
    assert_eq!((entry.address(), entry.service(), entry.verified()), (address(1), 7, true));
    assert_eq!((entry.counts.packets, entry.counts.bytes), (1003, 50_300));
    assert_eq!((entry.counts.return_packets, entry.counts.connections, entry.counts.dropped()), (4, 5, 6));
    assert_eq!(entry.counts.received(), 1009);
    assert_eq!((entry.due, entry.first_seen, entry.last_dropped), ([0, 9, 0], Some(90), 95));
    assert_eq!(table.table().at(entry.place), Some(entry));
    assert_eq!(table.table().find(address(1), 8), None);
    assert_eq!(table.table().find(address(2), 7), None);
}

#[test]
fn a_packet_taken_back_in_the_details_is_taken_from_the_place() {
    let table = Fabricated::new(1);
    let (client, details) = table.place(address(1), 0, DETAILED).unwrap();
    client.counts.store(count(60) * 2, Relaxed);
    details.packets.store(u64::MAX, Relaxed);
    details.bytes.store(60_u64.wrapping_neg(), Relaxed);
    let entry = table.table().find(address(1), 0).unwrap();
    assert_eq!((entry.counts.packets, entry.counts.bytes), (1, 60));
}

#[test]
fn a_place_that_changes_hands_is_nobodys() {
    let table = Fabricated::new(1);
    let (client, _) = table.place(address(1), 0, 0).unwrap();
    client.state.store(BUSY, Relaxed);
    assert_eq!(table.table().entries().count(), 0);
    assert_eq!(table.table().count(), (0, 0));
}

#[test]
fn only_those_that_are_meant_are_picked() {
    let table = Fabricated::new(64);
    for last in 1..=40 {
        let (client, _) =
            table.place(address(last), u16::from(last % 2), u64::from(last % 4 == 0) * VERIFIED).unwrap();
        client.counts.store(count(100) * u64::from(last), Relaxed);
    }
    let top = |filter: Filter, wanted| table.table().top(&filter, Sort::Packets, wanted, true);
    let all = top(Filter::default(), 3);
    assert_eq!(all.addresses, [address(40), address(39), address(38)]);
    assert_eq!((all.matching, all.verified), (40, 10));
    let prefix = Some("198.51.100.16/28".parse().unwrap());
    let some = top(Filter { prefix, service: Some(1) }, 3);
    assert_eq!(some.addresses, [address(31), address(29), address(27)]);
    assert_eq!(some.matching, 8);
    assert_eq!(top(Filter { prefix, service: Some(9) }, 3), Top::default());
    assert!(top(Filter::default(), 0).addresses.is_empty());
}

#[test]
fn a_client_of_several_services_is_sorted_by_their_sum() {
    let table = Fabricated::new(64);
    for (last, service, packets) in [(1, 0, 60), (1, 1, 50), (2, 0, 100), (3, 1, 105)] {
        let (client, _) = table.place(address(last), service, 0).unwrap();
        client.counts.store(count(100) * packets, Relaxed);
    }
    let top = table.table().top(&Filter::default(), Sort::Bytes, 2, true);
    assert_eq!(top.addresses, [address(1), address(3)]);
    let of_one = Filter { service: Some(0), ..Filter::default() };
    assert_eq!(table.table().top(&of_one, Sort::Bytes, 2, true).addresses, [address(2), address(1)]);
}

#[test]
fn sums_and_totals_agree_or_say_by_how_much_not() {
    let table = Fabricated::new(4);
    for (last, packets) in [(1, 3), (2, 4)] {
        let (client, details) = table.place(address(last), 5, DETAILED).unwrap();
        client.counts.store(count(100) * packets, Relaxed);
        details.drops[1].store(2, Relaxed);
    }
    let sums = table.table().sums();
    assert_eq!((sums.used, sums.verified, sums.of(5).packets, sums.of(4)), (2, 0, 7, Counts::default()));
    let gone = Counts { packets: 10, bytes: 1000, ..Counts::default() };
    let mut totals = ServiceTotals {
        forward_packets: 17,
        forward_bytes: 1700,
        dropped_packets: 4,
        gone,
        ..ServiceTotals::default()
    };
    assert_eq!(sums.missing(5, &totals), Difference::default());
    totals.forward_packets = 16;
    totals.dropped_packets = 5;
    let missing = Difference { forward_packets: -1, drop_packets: 1, ..Difference::default() };
    assert_eq!(sums.missing(5, &totals), missing);
}

proptest! {
    #[test]
    fn the_largest_are_those_that_sorting_all_of_them_gives(
        clients in prop::collection::vec((0_u8..30, 0_u8..3, 0_u64..50, any::<bool>()), 0..60),
        wanted in 0_usize..20,
        sort in prop::sample::select(vec![Sort::Packets, Sort::Bytes, Sort::Drops, Sort::Connections]),
    ) {
        let table = Fabricated::new(256);
        let mut sums = BTreeMap::<Ipv4Addr, u64>::new();
        for (last, service, value, carried) in clients {
            if table.table().find(address(last), service).is_some() {
                continue;
            }
            let Some((client, details)) = table.place(address(last), service.into(), DETAILED) else { continue };
            let to = match sort {
                Sort::Packets if carried => &details.packets,
                Sort::Bytes if carried => &details.bytes,
                Sort::Packets | Sort::Bytes => &client.counts,
                Sort::Drops => &details.drops[usize::from(last) % DropClass::COUNT],
                Sort::Connections => &details.connections,
            };
            let in_place = matches!(sort, Sort::Packets | Sort::Bytes) && !carried;
            to.store(if in_place && sort == Sort::Packets { count(0) * value } else { value }, Relaxed);
            *sums.entry(address(last)).or_default() += value;
        }
        let mut expected: Vec<(u64, Ipv4Addr)> = sums.into_iter().map(|(address, sum)| (sum, address)).collect();
        expected.sort_by_key(|(sum, address)| (std::cmp::Reverse(*sum), *address));
        expected.truncate(wanted);
        let expected: Vec<Ipv4Addr> = expected.into_iter().map(|(_, address)| address).collect();
        prop_assert_eq!(table.table().top(&Filter::default(), sort, wanted, true).addresses, expected);
    }
}
