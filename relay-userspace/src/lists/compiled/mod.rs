//! From rules to the lines that the packet path reads, see [`relay_abi::list`]. Pure.
//!
//! The longest prefix wins; of equal ones allowed wins over blocked, blocked over banned, later over earlier. An entry that expires says
//! which one holds then.

mod filter;
mod index;
mod ranges;

use std::cmp::Reverse;

use relay_abi::list::{
    self, BOUNDARIES_PER_LINE, ENTRIES_PER_LINE, Filter, INDEX_PER_LINE, Index, Prefix, Sections,
    WORDS_PER_LINE, header,
};

use super::Kind;

/// 64-bit words a line.
const WORDS: usize = WORDS_PER_LINE as usize;

/// A rule, as far as the packet path knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The prefix, without host bits.
    pub prefix: Prefix,
    /// What it says.
    pub kind: Kind,
    /// The tick from which it no longer holds.
    pub expires: Option<u64>,
}

/// A list as the packet path reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    words: Vec<u64>,
    /// The number of the rule of each entry.
    pub order: Vec<u32>,
}

impl Compiled {
    /// The lines; at least one.
    #[must_use]
    pub fn lines(&self) -> &[[u64; WORDS]] {
        self.words.as_chunks().0
    }
}

/// More rules than a list may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(pub usize);

/// Compiles rules, a later one being a higher number.
///
/// # Errors
/// There are more than [`list::ENTRIES`].
pub fn compile(items: &[Item]) -> Result<Compiled, TooLong> {
    if items.len() > list::ENTRIES {
        return Err(TooLong(items.len()));
    }
    let order = in_order(items);
    let mut words = vec![0; WORDS];
    if order.is_empty() {
        return Ok(Compiled { words, order });
    }
    let sorted: Vec<Item> = order.iter().filter_map(|number| items.get(*number as usize)).copied().collect();
    let (rules, boundaries) = ranges::ranges(&sorted);
    let filter = filter::filter(&boundaries);
    let index = index::index(&boundaries);
    let boundary_lines = boundary_lines(&boundaries);

    let filter_line = append(&mut words, filter.words);
    let index_line = append(&mut words, paired(&index.spans));
    let entry_line = append(&mut words, rules.iter().flat_map(|rule| [rule.pack(), 0]));
    let prefix_line = append(&mut words, sorted.iter().map(|item| item.prefix.pack()));
    let boundary_line = append(&mut words, boundary_lines);
    // The index counts from the first line of the boundaries until it is known which that is.
    let spans = words.iter_mut().skip(index_line as usize * WORDS).take(index.spans.len().div_ceil(2));
    for pair in spans {
        *pair += u64::from(boundary_line) << 32 | u64::from(boundary_line);
    }
    let head = [
        (header::FILTER, Filter { line: filter_line, ..filter.place }.pack()),
        (header::INDEX, Index { line: index_line, shift: index.shift }.pack()),
        (header::SECTIONS, Sections { entries: entry_line, entry_count: sorted.len() as u32 }.pack()),
        (header::PREFIXES, u64::from(prefix_line)),
    ];
    for (place, word) in head {
        words[place] = word;
    }
    Ok(Compiled { words, order })
}

/// The numbers of the rules by prefix, and at equal prefixes what counts first.
fn in_order(items: &[Item]) -> Vec<u32> {
    let key = |(number, item): (usize, &Item)| {
        let rank = match item.kind {
            Kind::Allowed => 0,
            Kind::Blocked => 1,
            Kind::Banned => 2,
        };
        let prefix = u64::from(item.prefix.address) << 32 | u64::from(item.prefix.length) << 8;
        (prefix | rank, Reverse(number as u32))
    };
    let mut keys: Vec<_> = items.iter().enumerate().map(key).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, Reverse(number))| number).collect()
}

/// Appends a section and fills its last line up. Returns its first line.
fn append(words: &mut Vec<u64>, section: impl IntoIterator<Item = u64>) -> u32 {
    let line = words.len() / WORDS;
    words.extend(section);
    words.resize(words.len().next_multiple_of(WORDS), 0);
    line as u32
}

/// 32-bit words, two in one.
fn paired(halves: &[u32]) -> impl Iterator<Item = u64> {
    halves.chunks(2).map(|pair| match pair {
        [low, high] => u64::from(*high) << 32 | u64::from(*low),
        [low] => u64::from(*low),
        _ => 0,
    })
}

/// The lines of the boundaries: addresses, and behind them meanings. The last line is filled up with the last boundary's meaning for the
/// last address, which changes nothing.
fn boundary_lines(boundaries: &[ranges::Boundary]) -> Vec<u64> {
    let mut words = Vec::with_capacity(boundaries.len() + WORDS);
    for line in boundaries.chunks(BOUNDARIES_PER_LINE as usize) {
        let last = line.last().map_or(0, |last| last.meaning);
        let mut starts = [u32::MAX; BOUNDARIES_PER_LINE as usize];
        let mut meanings = [last; BOUNDARIES_PER_LINE as usize];
        for ((start, meaning), boundary) in starts.iter_mut().zip(&mut meanings).zip(line) {
            (*start, *meaning) = (boundary.start, boundary.meaning);
        }
        words.extend(paired(&starts).chain(paired(&meanings)));
    }
    words
}

const _: () = assert!(ENTRIES_PER_LINE as usize * 2 == WORDS && INDEX_PER_LINE as usize == 2 * WORDS);
