//! The filter, which most clients do not get past.

use relay_abi::list::{Filter, WORDS_PER_LINE};

use super::ranges::Boundary;

/// Sizes of block that share their bits, as the address bits in them, coarsest first.
const GRAINS: [u32; 5] = [16, 12, 8, 4, 0];
/// Words at most: 2 MB.
const WORDS: usize = 1 << 18;
/// Words for each listed block: a quarter, which leaves 16 bits for its three.
const BLOCKS_PER_WORD: u64 = 4;
/// What a filter of [`WORDS`] costs all packets, in caches, as a share of packets for which the search costs as much.
const FULL_SIZE: f64 = 0.02;

/// A filter.
pub(super) struct Built {
    /// All but the line.
    pub(super) place: Filter,
    /// Whole lines of words.
    pub(super) words: Vec<u64>,
}

/// The filter for what is listed.
pub(super) fn filter(boundaries: &[Boundary]) -> Built {
    let listed: u64 = ranges(boundaries).map(|(first, last)| u64::from(last - first) + 1).sum();
    let rated = GRAINS.map(|grain| {
        let blocks = count(boundaries, grain);
        let words = usize::try_from(blocks.div_ceil(BLOCKS_PER_WORD)).unwrap_or(WORDS).next_power_of_two();
        let words = words.clamp(WORDS_PER_LINE as usize, WORDS);
        (grain, words, cost((blocks << grain) - listed, blocks, words))
    });
    let cheapest = rated.into_iter().min_by(|(.., a), (.., b)| a.total_cmp(b));
    let (grain, words, _) = cheapest.unwrap_or((0, WORDS, 0.0));
    fill(boundaries, grain, words)
}

/// What a filter costs, as the share of clients at random that are not listed and get past it: those in a block with one that is, and those
/// that meet three bits of others.
fn cost(beside: u64, blocks: u64, words: usize) -> f64 {
    let beside = beside as f64 / (1_u64 << 32) as f64;
    let set = 1.0 - (-3.0 * blocks as f64 / (words as f64 * 64.0)).exp();
    beside + set.powi(3) + FULL_SIZE * words as f64 / WORDS as f64
}

fn fill(boundaries: &[Boundary], grain: u32, words: usize) -> Built {
    let place = Filter { line: 0, grain, shift: u64::BITS - words.ilog2() };
    let mut words = vec![0; words];
    for (first, last) in blocks(boundaries, grain) {
        for block in first..=last {
            let hash = place.hash(block << grain);
            words[place.word(hash) as usize] |= Filter::bits(hash);
        }
    }
    Built { place, words }
}

fn count(boundaries: &[Boundary], grain: u32) -> u64 {
    blocks(boundaries, grain).map(|(first, last)| u64::from(last - first) + 1).sum()
}

/// The listed blocks, from and to, each once.
fn blocks(boundaries: &[Boundary], grain: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut next = 0;
    ranges(boundaries).filter_map(move |(first, last)| {
        let (first, last) = ((first >> grain).max(next), last >> grain);
        next = last.saturating_add(1).max(next);
        (first <= last).then_some((first, last))
    })
}

/// The listed ranges of addresses, from and to.
fn ranges(boundaries: &[Boundary]) -> impl Iterator<Item = (u32, u32)> {
    let ends = boundaries.iter().skip(1).map(|next| next.start - 1).chain([u32::MAX]);
    boundaries
        .iter()
        .zip(ends)
        .filter(|(boundary, _)| boundary.meaning != 0)
        .map(|(boundary, end)| (boundary.start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 20,000 addresses that are not listed, how many get past the filter.
    fn past(starts: &[u32], length: u32) -> (Built, usize) {
        let mut boundaries = vec![Boundary { start: 0, meaning: 0 }];
        for start in starts {
            boundaries.push(Boundary { start: *start, meaning: 1 });
            boundaries.push(Boundary { start: start + length, meaning: 0 });
        }
        let built = filter(&boundaries);
        let unlisted = |address: &u32| {
            let before = boundaries.partition_point(|boundary| boundary.start <= *address);
            boundaries[before - 1].meaning == 0
        };
        let passes = |address: &u32| {
            let hash = built.place.hash(*address);
            let bits = Filter::bits(hash);
            built.words[built.place.word(hash) as usize] & bits == bits
        };
        let count = random(1).filter(unlisted).take(20_000).filter(passes).count();
        (built, count)
    }

    fn random(seed: u32) -> impl Iterator<Item = u32> {
        let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::iter::successors(Some(u64::from(seed)), step).skip(1).map(|state| (state >> 32) as u32)
    }

    fn starts(count: usize, grain: u32) -> Vec<u32> {
        let mut starts: Vec<u32> = random(7).take(count).map(|address| address >> grain << grain).collect();
        starts.sort_unstable();
        starts.dedup();
        // Not one behind the other, and not at the ends.
        starts.dedup_by(|b, a| *b - *a < 2 << grain);
        starts.retain(|start| (1 << 24..u32::MAX - (1 << 24)).contains(start));
        starts
    }

    #[test]
    fn of_the_clients_that_are_not_listed_few_get_past_it() {
        for (count, grain, past_most, words_most) in [
            (1_000, 8, 200, 256),
            (1_000, 0, 200, 256),
            (100_000, 0, 400, 1 << 15),
            (100_000, 8, 400, 1 << 15),
            (2_000, 16, 300, 512),
        ] {
            let (built, count_past) = past(&starts(count, grain), 1 << grain);
            assert!(count_past <= past_most, "{count} of 2^{grain}: {count_past} past");
            assert!(built.words.len() <= words_most, "{count} of 2^{grain}: {} words", built.words.len());
        }
    }

    #[test]
    fn it_stays_small_where_much_is_listed() {
        let everything = filter(&[Boundary { start: 0, meaning: 1 }]);
        assert_eq!((everything.words.len(), everything.place.grain), (1 << 14, 16));
        // Half of everything, and many single addresses.
        let half = [(0, 1), (1 << 31, 0)].map(|(start, meaning)| Boundary { start, meaning });
        let singles = starts(200_000, 0).into_iter().filter(|start| start >> 31 == 1);
        let singles = singles.flat_map(|start| [(start, 1), (start + 1, 0)]);
        let singles = singles.map(|(start, meaning)| Boundary { start, meaning });
        let built = filter(&half.into_iter().chain(singles).collect::<Vec<_>>());
        assert!(built.words.len() <= WORDS && built.place.grain == 12, "{:?}", built.place);
    }
}
