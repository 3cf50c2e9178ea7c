//! From prefixes, which nest, to ranges, which do not.

use relay_abi::list::Rule;

use super::Item;

/// Where something else begins to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    /// First address, host order.
    pub(super) start: u32,
    /// The number of the entry plus 1; 0 where nothing is listed.
    pub(super) meaning: u32,
}

/// What each entry says, and the boundaries. Takes the entries in order.
pub(super) fn ranges(sorted: &[Item]) -> (Vec<Rule>, Vec<Boundary>) {
    let mut rules: Vec<Rule> = sorted
        .iter()
        .map(|item| Rule { kind: item.kind.code(), fallback: 0, expires: expiry(item.expires) })
        .collect();
    let mut boundaries = Boundaries(vec![Boundary { start: 0, meaning: 0 }]);
    // The prefixes around the present one: last address, and meaning.
    let mut around: Vec<(u32, u32)> = Vec::new();
    let mut first = 0;
    for group in sorted.chunk_by(|a, b| a.prefix == b.prefix) {
        let prefix = group[0].prefix;
        while let Some((end, _)) = around.pop_if(|(end, _)| *end < prefix.address) {
            boundaries.add(end + 1, around.last().map_or(0, |(_, meaning)| *meaning));
        }
        let outer = around.last().map_or(0, |(_, meaning)| *meaning);
        link(sorted, &mut rules, first..first + group.len(), outer);
        let meaning = first as u32 + 1;
        boundaries.add(prefix.address, meaning);
        around.push((prefix.last(), meaning));
        first += group.len();
    }
    while let Some((end, _)) = around.pop() {
        if let Some(next) = end.checked_add(1) {
            boundaries.add(next, around.last().map_or(0, |(_, meaning)| *meaning));
        }
    }
    (rules, boundaries.0)
}

/// Says of the entries of one prefix which holds when one has expired: the next one that outlives it, of the same prefix or of those around.
fn link(sorted: &[Item], rules: &mut [Rule], group: std::ops::Range<usize>, outer: u32) {
    let outlives = |number: u32, other: usize| {
        let end = |number: usize| sorted.get(number).and_then(|item| item.expires).unwrap_or(u64::MAX);
        end(number as usize - 1) > end(other)
    };
    let mut last = group.start;
    for next in group.skip(1) {
        if outlives(next as u32 + 1, last) {
            rules[last].fallback = next as u32 + 1;
            last = next;
        }
    }
    let mut fallback = outer;
    while fallback != 0 && !outlives(fallback, last) {
        fallback = rules[fallback as usize - 1].fallback;
    }
    rules[last].fallback = fallback;
}

/// As it stands in an entry: 0 is taken, and one tick more does not matter.
fn expiry(tick: Option<u64>) -> u32 {
    tick.map_or(0, |tick| (tick as u32).max(1))
}

struct Boundaries(Vec<Boundary>);

impl Boundaries {
    /// From `start`, which is not before the last one, something holds.
    fn add(&mut self, start: u32, meaning: u32) {
        self.0.pop_if(|last| last.start == start);
        if self.0.last().map_or(u32::MAX, |last| last.meaning) != meaning {
            self.0.push(Boundary { start, meaning });
        }
    }
}
