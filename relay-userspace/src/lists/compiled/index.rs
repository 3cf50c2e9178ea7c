//! The index into the boundaries.

use relay_abi::list::{BOUNDARIES_PER_LINE, SEARCH_STEPS, Span};

use super::ranges::Boundary;

/// Words at most: 4 MB.
const WORDS: usize = 1 << 20;
/// Boundaries for each word: a search ends in one line or two.
const BOUNDARIES: usize = 4;

/// An index.
pub(super) struct Built {
    /// Bits of the addresses that share a word.
    pub(super) shift: u32,
    /// Packed spans, whose lines count from the first line of the boundaries.
    pub(super) spans: Vec<u32>,
}

/// The index of boundaries, of which the first is 0.
pub(super) fn index(boundaries: &[Boundary]) -> Built {
    let words = boundaries.len().div_ceil(BOUNDARIES).next_power_of_two().clamp(2, WORDS);
    let shift = u32::BITS - words.ilog2();
    // The last boundary that is not behind the first address of the word.
    let mut last = 0;
    let advance = |mut last: usize, address: u32| {
        while boundaries.get(last + 1).is_some_and(|next| next.start <= address) {
            last += 1;
        }
        last
    };
    let line = |boundary: usize| (boundary / BOUNDARIES_PER_LINE as usize) as u32;
    let spans = (0..words as u32).map(|word| {
        let first = word << shift;
        last = advance(last, first);
        let from = line(last);
        last = advance(last, first | u32::MAX >> (u32::BITS - shift));
        let lines = line(last) - from + 1;
        debug_assert!(lines <= 1 << SEARCH_STEPS, "{lines} lines in a word of the index");
        Span { line: from, steps: lines.next_power_of_two().ilog2() }.pack()
    });
    Built { shift, spans: spans.collect() }
}

// No word of the index has more lines than the search gets to: either there are no more in all, or there are so many words that each is for
// few addresses, which cannot have more boundaries.
const _: () = {
    let most_lines = 1_u32 << SEARCH_STEPS;
    let words = 2 * most_lines * BOUNDARIES_PER_LINE / BOUNDARIES as u32;
    let addresses = 1 << (u32::BITS - words.ilog2());
    assert!(words as usize <= WORDS && addresses / BOUNDARIES_PER_LINE + 2 <= most_lines);
};
