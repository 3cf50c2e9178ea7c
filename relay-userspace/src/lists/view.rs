//! A list as the packet path has it, read back.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use relay_abi::list::{ENTRIES_PER_LINE, Line, Prefix, Rule, Sections, WORDS_PER_LINE, header};

use super::Kind;

/// An entry of a list.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'list> {
    /// Its prefix.
    pub prefix: Prefix,
    /// What it says.
    pub kind: Kind,
    /// The tick, modulo 2^32, from which it no longer holds; 0 for never.
    pub expires: u32,
    hits: &'list AtomicU64,
}

impl Entry<'_> {
    /// Packets it has decided about.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }
}

/// The entries of a list, in order.
pub fn entries(lines: &[Line]) -> impl Iterator<Item = Entry<'_>> {
    let head = |place: usize| lines.first().map_or(0, |line| line.0[place].load(Relaxed));
    let sections = Sections::unpack(head(header::SECTIONS));
    let prefixes = head(header::PREFIXES) as u32;
    (0..sections.entry_count).filter_map(move |entry| {
        let prefix = word(lines, prefixes, entry)?;
        let line = sections.entries + entry / ENTRIES_PER_LINE;
        let place = 2 * (entry % ENTRIES_PER_LINE);
        let rule = Rule::unpack(word(lines, line, place)?.load(Relaxed));
        Some(Entry {
            prefix: Prefix::unpack(prefix.load(Relaxed)),
            kind: Kind::from_code(rule.kind)?,
            expires: rule.expires,
            hits: word(lines, line, place + 1)?,
        })
    })
}

/// Adds the hits of a list to those of the same rules, by prefix and kind, of the one that took its place.
pub(super) fn carry_over(old: &[Line], new: &[Line]) {
    let key = |entry: &Entry<'_>| (entry.prefix, entry.kind);
    let mut new = entries(new).peekable();
    for old in entries(old) {
        while new.next_if(|new| key(new) < key(&old)).is_some() {}
        let hits = old.hits();
        if hits != 0
            && let Some(same) = new.peek().filter(|new| key(new) == key(&old))
        {
            same.hits.fetch_add(hits, Relaxed);
        }
    }
}

fn word(lines: &[Line], line: u32, number: u32) -> Option<&AtomicU64> {
    lines.get((line + number / WORDS_PER_LINE) as usize)?.0.get((number % WORDS_PER_LINE) as usize)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::compiled::{Item, compile};
    use super::*;

    fn list(rules: &[(&str, u8, Kind)]) -> Vec<Line> {
        let item = |(address, length, kind): &(&str, u8, Kind)| Item {
            prefix: Prefix { address: address.parse::<Ipv4Addr>().unwrap().to_bits(), length: *length },
            kind: *kind,
            expires: None,
        };
        let items: Vec<Item> = rules.iter().map(item).collect();
        compile(&items).unwrap().lines().iter().map(|line| Line(line.map(AtomicU64::new))).collect()
    }

    fn hits(lines: &[Line]) -> Vec<u64> {
        entries(lines).map(|entry| entry.hits()).collect()
    }

    #[test]
    fn hits_go_to_the_same_prefix_and_kind() {
        let old = list(&[
            ("10.0.0.0", 8, Kind::Blocked),
            ("10.0.0.0", 8, Kind::Banned),
            ("10.1.0.0", 16, Kind::Allowed),
            ("192.0.2.1", 32, Kind::Banned),
            ("203.0.113.0", 24, Kind::Blocked),
        ]);
        for (number, entry) in entries(&old).enumerate() {
            entry.hits.store(10 + number as u64, Relaxed);
        }
        let new = list(&[
            ("9.0.0.0", 8, Kind::Blocked),
            ("10.0.0.0", 8, Kind::Banned),
            ("10.0.0.0", 16, Kind::Banned),
            ("10.1.0.0", 16, Kind::Blocked),
            ("192.0.2.1", 32, Kind::Banned),
            ("203.0.113.0", 24, Kind::Blocked),
            ("203.0.113.0", 24, Kind::Blocked),
        ]);
        // One more that was counted before.
        entries(&new).last().unwrap().hits.store(1, Relaxed);
        carry_over(&old, &new);
        assert_eq!(hits(&new), [0, 11, 0, 0, 13, 14, 1]);
        carry_over(&[], &new);
        carry_over(&new, &[]);
        carry_over(&list(&[]), &new);
        assert_eq!(hits(&new).iter().sum::<u64>(), 39);
    }
}
