//! The lists as compiled and as looked up, against the plain definition: the longest prefix wins.
#![expect(clippy::unwrap_used, reason = "a test's steps, in functions of their own")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use proptest::prelude::*;
use relay_abi::image::Globals;
use relay_abi::list::{ENTRIES_PER_LINE, Line, Prefix, Sections, header, slot};
use relay_abi::{Image, Ipv4};
use relay_core::path::list::{Listed, look_up};
use relay_tests::cases::tables::MemTables;
use relay_userspace::lists::Kind;
use relay_userspace::lists::compiled::{Compiled, Item, compile};

const TICK_SHIFT: u32 = 8;

fn item(prefix: &str, kind: Kind) -> Item {
    let (address, length) = prefix.split_once('/').unwrap();
    masked(address.parse::<Ipv4Addr>().unwrap().to_bits(), length.parse().unwrap(), kind, None)
}

fn masked(address: u32, length: u8, kind: Kind, expires: Option<u64>) -> Item {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Item { prefix: Prefix { address: address & mask, length }, kind, expires }
}

fn lines(compiled: &Compiled) -> Vec<Line> {
    compiled.lines().iter().map(|line| Line(line.map(AtomicU64::new))).collect()
}

struct World {
    tables: MemTables,
    globals: Globals,
}

impl World {
    fn new(configured: &[Item]) -> Self {
        let image = bytemuck::allocation::zeroed_box::<Image>();
        let mut tables = MemTables::new(Some(image), 1, &[]);
        tables.lists[slot::CONFIGURED as usize] = lines(&compile(configured).unwrap());
        Self { tables, globals: Globals { tick_shift: TICK_SHIFT, ..Globals::zeroed() } }
    }

    fn at(&self, tick: u64) -> &Self {
        self.tables.now.set(tick << TICK_SHIFT);
        self
    }

    fn ask(&self, address: u32) -> Option<Kind> {
        match look_up(&self.tables, &self.globals, Ipv4(address.to_be_bytes())) {
            Listed::Not => None,
            Listed::Allowed => Some(Kind::Allowed),
            Listed::Blocked => Some(Kind::Blocked),
            Listed::Banned => Some(Kind::Banned),
        }
    }

    fn ask_text(&self, address: &str) -> Option<Kind> {
        self.ask(address.parse::<Ipv4Addr>().unwrap().to_bits())
    }

    /// Hits by prefix, of entries that have any.
    fn hits(&self, list: u32) -> Vec<(Prefix, u64)> {
        let lines = &self.tables.lists[list as usize];
        let head = |place: usize| lines[0].0[place].load(Ordering::Relaxed);
        let word = |line: u32, number: u32| {
            lines[(line + number / 8) as usize].0[(number % 8) as usize].load(Ordering::Relaxed)
        };
        let sections = Sections::unpack(head(header::SECTIONS));
        (0..sections.entry_count)
            .map(|entry| {
                let prefix = Prefix::unpack(word(head(header::PREFIXES) as u32, entry));
                let line = sections.entries + entry / ENTRIES_PER_LINE;
                (prefix, word(line, 2 * (entry % ENTRIES_PER_LINE) + 1))
            })
            .filter(|(_, hits)| *hits != 0)
            .collect()
    }
}

/// What the definition says of an address.
fn plainly(items: &[Item], address: u32, tick: u64) -> Option<Kind> {
    items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.prefix.address <= address && address <= item.prefix.last())
        .filter(|(_, item)| item.expires.is_none_or(|expires| expires > tick))
        .max_by_key(|(number, item)| (item.prefix.length, std::cmp::Reverse(item.kind), *number))
        .map(|(_, item)| item.kind)
}

/// Addresses at which an answer may change.
fn edges(items: &[Item]) -> Vec<u32> {
    let around = |address: u32| [address.wrapping_sub(1), address, address.wrapping_add(1)];
    items
        .iter()
        .flat_map(|item| [around(item.prefix.address), around(item.prefix.last())].concat())
        .chain([0, 1, u32::MAX - 1, u32::MAX])
        .collect()
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Allowed), Just(Kind::Blocked), Just(Kind::Banned)]
}

/// Prefixes of any length, most of them close together, so that they nest, touch and repeat.
fn items(most: usize) -> impl Strategy<Value = Vec<Item>> {
    let address = prop_oneof![
        any::<u32>(),
        (0_u32..64).prop_map(|low| 0xc000_0200 | low),
        (0_u32..4096).prop_map(|middle| 0x0a00_0000 | middle << 8),
        Just(0),
        Just(u32::MAX)
    ];
    let length = prop_oneof![0_u8..=32, 24_u8..=32, Just(32_u8)];
    let expires = prop_oneof![3 => Just(None), 1 => (100_u64..110).prop_map(Some)];
    let item = (address, length, kinds(), expires)
        .prop_map(|(address, length, kind, expires)| masked(address, length, kind, expires));
    prop::collection::vec(item, 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_answer_is_that_of_the_longest_prefix(items in items(60), others in prop::collection::vec(any::<u32>(), 50)) {
        let world = World::new(&items);
        world.at(0);
        for address in edges(&items).into_iter().chain(others) {
            prop_assert_eq!(world.ask(address), plainly(&items, address, 0), "{}", Ipv4Addr::from(address));
        }
    }

    #[test]
    fn what_has_expired_gives_way_to_what_is_behind_it(items in items(12), tick in 95_u64..115) {
        let world = World::new(&items);
        world.at(tick);
        for address in edges(&items) {
            // Of the entries behind one only so many are asked; the list is compiled anew long before.
            let nested = items.iter().filter(|item| item.prefix.address <= address && address <= item.prefix.last());
            if nested.filter(|item| item.expires.is_some()).count() < relay_abi::list::FALLBACKS as usize {
                prop_assert_eq!(world.ask(address), plainly(&items, address, tick), "{}", Ipv4Addr::from(address));
            }
        }
    }
}

#[test]
fn an_empty_list_says_nothing() {
    let world = World::new(&[]);
    assert_eq!(world.tables.lists[slot::CONFIGURED as usize].len(), 1);
    assert_eq!(world.ask_text("192.0.2.1"), None);
    assert_eq!(world.ask(0), None);
}

#[test]
fn everything_and_the_last_address_can_be_listed() {
    let world = World::new(&[item("0.0.0.0/0", Kind::Blocked), item("255.255.255.255/32", Kind::Allowed)]);
    for address in ["0.0.0.0", "192.0.2.1", "255.255.255.254"] {
        assert_eq!(world.ask_text(address), Some(Kind::Blocked), "{address}");
    }
    assert_eq!(world.ask_text("255.255.255.255"), Some(Kind::Allowed));
}

#[test]
fn at_equal_length_allowed_wins_over_blocked_over_banned() {
    let prefix = "192.0.2.0/24";
    let [allowed, blocked, banned] =
        [Kind::Allowed, Kind::Blocked, Kind::Banned].map(|kind| item(prefix, kind));
    let said = |items: &[Item]| World::new(items).ask_text("192.0.2.9");
    assert_eq!(said(&[banned, allowed, blocked]), Some(Kind::Allowed));
    assert_eq!(said(&[blocked, banned]), Some(Kind::Blocked));
    assert_eq!(said(&[banned]), Some(Kind::Banned));
}

#[test]
fn the_runtime_list_is_asked_first_and_hits_are_counted_where_it_was_decided() {
    let mut world = World::new(&[item("192.0.2.0/24", Kind::Blocked)]);
    let runtime = [item("192.0.2.7/32", Kind::Allowed)];
    world.tables.lists[slot::RUNTIME as usize] = lines(&compile(&runtime).unwrap());
    assert_eq!(world.ask_text("192.0.2.7"), Some(Kind::Allowed));
    for _ in 0..3 {
        assert_eq!(world.ask_text("192.0.2.8"), Some(Kind::Blocked));
    }
    assert_eq!(world.ask_text("192.0.3.8"), None);
    assert_eq!(world.hits(slot::RUNTIME), [(runtime[0].prefix, 1)]);
    assert_eq!(world.hits(slot::CONFIGURED), [(item("192.0.2.0/24", Kind::Blocked).prefix, 3)]);
}

#[test]
fn ticks_run_over_32_bits() {
    let over = 1_u64 << 32;
    let until = |expires: u64| Item { expires: Some(expires), ..item("192.0.2.1/32", Kind::Blocked) };
    for (expires, tick, holds) in [
        (over + 5, over - 5, true),
        (over + 5, over + 4, true),
        (over + 5, over + 5, false),
        (over - 5, over + 5, false),
        // What would stand as "never" ends a tick later.
        (over, over - 1, true),
        (over, over + 1, false),
    ] {
        let said = World::new(&[until(expires)]).at(tick).ask_text("192.0.2.1");
        assert_eq!(said.is_some(), holds, "{expires:#x} at {tick:#x}");
    }
}

/// The densest list: each second address of a block, so that boundaries are as close as they can be.
#[test]
fn the_search_gets_to_the_end_of_the_densest_lists() {
    for (count, gap) in [(65_536, 2), (65_537, 2), (140_000, 2), (70_000, 1)] {
        let start = 0x0a00_0000_u32;
        let kind =
            |number: u32| if gap == 1 && number.is_multiple_of(2) { Kind::Allowed } else { Kind::Blocked };
        let items: Vec<Item> =
            (0..count).map(|number| masked(start + number * gap, 32, kind(number), None)).collect();
        let world = World::new(&items);
        for number in (0..count).step_by(7).chain([count - 1]) {
            let address = start + number * gap;
            assert_eq!(
                world.ask(address),
                Some(kind(number)),
                "{count} of {gap}: {}",
                Ipv4Addr::from(address)
            );
            if gap == 2 {
                assert_eq!(world.ask(address + 1), None);
            }
        }
        assert_eq!(world.ask(start - 1), None);
        assert_eq!(world.ask(start + count * gap), None);
    }
}

/// Lists at random, up to a million prefixes: prints what they take, and what they cost clients that are not listed.
#[test]
fn a_million_prefixes() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as u32
    };
    let none = World::new(&[]);
    for (count, shortest) in [(1_000, 24), (100_000, 24), (1_000_000, 32), (1_000_000, 24)] {
        let length = |random: u32| 32 - (random % (33 - shortest)) as u8;
        let items: Vec<Item> =
            (0..count).map(|_| masked(next(), length(next()), Kind::Blocked, None)).collect();
        let started = Instant::now();
        let compiled = compile(&items).unwrap();
        let took = started.elapsed();
        let world = World::new(&items);
        let mut clients: Vec<u32> = (0..200_000).map(|_| next()).collect();
        let listed = clients.len();
        clients.retain(|client| world.ask(*client).is_none());
        let listed = listed - clients.len();
        // The machine may be busy: the best of many.
        let part = |world: &World, clients: &[u32]| {
            let started = Instant::now();
            assert!(clients.iter().all(|client| world.ask(*client).is_none()));
            started.elapsed() / clients.len() as u32
        };
        let new = |world: &World| clients.chunks_exact(20_000).map(|some| part(world, some)).min().unwrap();
        let known = |world: &World| (0..100).map(|_| part(world, &clients[..1000])).min().unwrap();
        println!(
            "{count} prefixes of {shortest} to 32 bits: compiled in {took:?} to {} KiB; {listed} of 200000 clients listed, of the \
             others a new one takes {:?}, one of a thousand {:?}, with no list {:?}",
            compiled.lines().len() / 16,
            new(&world),
            known(&world),
            known(&none),
        );
        for item in items.iter().step_by(997) {
            assert_eq!(world.ask(item.prefix.address), Some(Kind::Blocked));
            assert_eq!(world.ask(item.prefix.last()), Some(Kind::Blocked));
        }
        assert!(took < Duration::from_secs(60));
        assert!(compiled.lines().len() * 64 < 64 << 20);
    }
}
