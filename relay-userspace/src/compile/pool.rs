//! The pool that all pick tables share: which part of it is whose. Equal sets of choices share a table.

use std::collections::HashMap;

use relay_abi::limits::RING_SLOTS;

use super::error::{Error, What};
use super::ring::{self, Choice};

/// Collects the sets of choices, then lays their tables into the pool.
#[derive(Default)]
pub(super) struct Pool {
    sets: Vec<Vec<Choice>>,
    known: HashMap<Vec<Choice>, RingId>,
}

/// A set of choices in a [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingId(usize);

/// Where a table lies in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

/// The pool's slots and the table of each set.
pub(super) struct Layout {
    pub(super) slots: Vec<u16>,
    spans: Vec<Span>,
}

impl Pool {
    /// Asks for a table of these choices.
    pub(super) fn add(&mut self, mut choices: Vec<Choice>) -> RingId {
        choices.sort_unstable();
        *self.known.entry(choices).or_insert_with_key(|choices| {
            self.sets.push(choices.clone());
            RingId(self.sets.len() - 1)
        })
    }

    /// Fills the tables. When they do not fit, all of them are halved until they do.
    pub(super) fn lay_out(&self) -> Result<Layout, Error> {
        let total = |shrink| self.sets.iter().map(|set| ring::length(set, shrink)).sum::<usize>();
        let shrink = (0..usize::BITS as usize).find(|shrink| total(*shrink) <= RING_SLOTS);
        let Some(shrink) = shrink else {
            let needed = total(usize::BITS as usize);
            return Err(Error::Full { what: What::RingSlots, needed, room: RING_SLOTS });
        };
        let mut slots = Vec::new();
        let mut spans = Vec::new();
        for set in &self.sets {
            let table = ring::fill(set, ring::length(set, shrink));
            spans.push(Span { start: slots.len() as u32, length: table.len() as u32 });
            slots.extend(table);
        }
        Ok(Layout { slots, spans })
    }
}

impl Layout {
    /// The table of a set.
    pub(super) fn span(&self, ring: RingId) -> Span {
        self.spans[ring.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(first: u16, count: u16) -> Vec<Choice> {
        (first..first + count)
            .map(|index| Choice { identity: u64::from(index) * 77, index, weight: 1 })
            .collect()
    }

    #[test]
    fn equal_sets_share_a_table() {
        let mut pool = Pool::default();
        let there = pool.add(set(0, 3));
        let back = pool.add(set(0, 3).into_iter().rev().collect());
        let other = pool.add(set(1, 3));
        assert_eq!(there, back);
        assert_ne!(there, other);
        let layout = pool.lay_out().unwrap();
        assert_eq!(layout.span(there), Span { start: 0, length: 509 });
        assert_eq!(layout.span(other), Span { start: 509, length: 509 });
        assert_eq!(layout.slots.len(), 1018);
    }

    #[test]
    fn tables_shrink_together_when_there_are_many() {
        let mut pool = Pool::default();
        let rings: Vec<RingId> = (0..256).map(|service| pool.add(set(service * 4, 4))).collect();
        let layout = pool.lay_out().unwrap();
        assert!(layout.slots.len() <= RING_SLOTS);
        for ring in rings {
            assert_eq!(layout.span(ring).length, 251);
        }
    }

    #[test]
    fn too_many_large_sets_are_refused() {
        let mut pool = Pool::default();
        for first in 0..100 {
            pool.add(set(first, 1000));
        }
        assert!(matches!(pool.lay_out(), Err(Error::Full { what: What::RingSlots, .. })));
    }
}
