//! Whether a client is listed: allowed, blocked or banned. See [`relay_abi::list`].

use relay_abi::Ipv4;
use relay_abi::image::Globals;
use relay_abi::list::{
    BOUNDARIES_PER_LINE, ENTRIES_PER_LINE, FALLBACKS, Filter, INDEX_PER_LINE, Index, Line, Rule,
    SEARCH_STEPS, Sections, Span, WORDS_PER_LINE, header, kind, slot,
};

use crate::Tables;

/// What the lists say of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Nothing.
    Not,
    /// Never limited, never banned.
    Allowed,
    /// Dropped on an administrator's word.
    Blocked,
    /// Dropped on the relay's own.
    Banned,
}

/// Looks a client up in the runtime list, and if that says nothing in the configured one. Counts the hit.
#[inline(always)]
pub fn look_up<T: Tables>(tables: &T, globals: &Globals, client: Ipv4) -> Listed {
    let address = client.value();
    let mut said = in_list(tables, globals, slot::RUNTIME, address);
    if said == 0 {
        said = in_list(tables, globals, slot::CONFIGURED, address);
    }
    match said {
        kind::ALLOWED => Listed::Allowed,
        kind::BLOCKED => Listed::Blocked,
        kind::BANNED => Listed::Banned,
        _ => Listed::Not,
    }
}

/// What one list says: a [`kind`], or 0.
#[inline(always)]
fn in_list<T: Tables>(tables: &T, globals: &Globals, slot: u32, address: u32) -> u32 {
    // Taken once: between two looks another list may be put in its place.
    let Some(list) = tables.list(slot) else { return 0 };
    let Some(Line(head)) = tables.list_line(list, 0) else { return 0 };
    let filter = tables.load(&head[header::FILTER]);
    if filter == 0 {
        return 0;
    }
    let filter = Filter::unpack(filter);
    let hash = filter.hash(address);
    let word = filter.word(hash);
    let Some(line) = tables.list_line(list, filter.line + word / WORDS_PER_LINE) else { return 0 };
    let bits = Filter::bits(hash);
    if word_at(tables, line, word) & bits != bits {
        return 0;
    }
    search(tables, list, address, globals.tick_shift)
}

/// The exact answer.
///
/// Not inlined: the filter keeps most clients from it.
#[inline(never)]
fn search<T: Tables>(tables: &T, list: &T::List, address: u32, tick_shift: u32) -> u32 {
    let Some(Line(head)) = tables.list_line(list, 0) else { return 0 };
    let index = Index::unpack(tables.load(&head[header::INDEX]));
    let entries = Sections::unpack(tables.load(&head[header::SECTIONS])).entries;
    let number = address >> index.shift;
    let Some(line) = tables.list_line(list, index.line + number / INDEX_PER_LINE) else { return 0 };
    let span = Span::unpack(half_at(tables, line, number));
    let found = boundary_line(tables, list, address, span);
    let Some(line) = tables.list_line(list, found) else { return 0 };
    decide(tables, list, entries, meaning_in(tables, line, address), tick_shift)
}

/// The last line of a span whose first boundary is not behind the address.
///
/// Without CAP_PERFMON the kernel takes no two ways together that differ in what it knows of a number, so nothing may be learned of the
/// steps by asking for them one by one, nor of the line by what was added to it. Nor may this be a loop: what a processor might do ahead
/// of its end has no end.
#[inline(always)]
fn boundary_line<T: Tables>(tables: &T, list: &T::List, address: u32, span: Span) -> u32 {
    let mut found = span.line;
    let asked = (1_u32 << span.steps) - 1;
    macro_rules! halve {
        ($($step:literal)*) => {$(
            if asked & 1 << $step != 0 {
                found = (found + further(tables, list, address, found, 1 << $step)) & (Span::LINES - 1);
            }
        )*};
    }
    const { assert!(SEARCH_STEPS == 14) };
    halve!(13 12 11 10 9 8 7 6 5 4 3 2 1 0);
    found
}

/// `step` where the line that many further does not begin behind the address, else 0.
#[inline(always)]
fn further<T: Tables>(tables: &T, list: &T::List, address: u32, from: u32, step: u32) -> u32 {
    // Behind the last line there is none.
    let Some(line) = tables.list_line(list, from + step) else { return 0 };
    step & 0_u32.wrapping_sub(not_behind(tables.load(&line.0[0]) as u32, address))
}

/// The meaning of the last boundary of a line that is not behind the address.
///
/// Chosen by masks, not by place: without CAP_PERFMON the kernel refuses a place whose bounds differ from path to path.
#[inline(always)]
fn meaning_in<T: Tables>(tables: &T, line: &Line, address: u32) -> u32 {
    let (boundaries, meanings) = line.0.split_at(BOUNDARIES_PER_LINE as usize / 2);
    let mut last = 0;
    for (boundary, meaning) in boundaries.iter().zip(meanings) {
        let (boundary, meaning) = (tables.load(boundary), tables.load(meaning));
        last = chosen(last, meaning as u32, not_behind(boundary as u32, address));
        last = chosen(last, (meaning >> 32) as u32, not_behind((boundary >> 32) as u32, address));
    }
    last
}

/// `second` where `choice` is 1, `first` where it is 0.
#[inline(always)]
fn chosen(first: u32, second: u32, choice: u32) -> u32 {
    first ^ (first ^ second) & 0_u32.wrapping_sub(choice)
}

/// 1 where the boundary is not behind the address, else 0: the sign of the difference.
#[inline(always)]
fn not_behind(boundary: u32, address: u32) -> u32 {
    ((boundary as u64).wrapping_sub(address as u64 + 1) >> 63) as u32
}

/// What an entry says, or the ones behind it when it has expired.
#[inline(always)]
fn decide<T: Tables>(tables: &T, list: &T::List, entries: u32, meaning: u32, tick_shift: u32) -> u32 {
    let mut meaning = meaning;
    for _ in 0..FALLBACKS {
        if meaning == 0 {
            break;
        }
        let entry = meaning - 1;
        let Some(line) = tables.list_line(list, entries + entry / ENTRIES_PER_LINE) else { return 0 };
        let place = 2 * (entry % ENTRIES_PER_LINE);
        let rule = Rule::unpack(word_at(tables, line, place));
        if rule.expires == 0 || !rule.expired((tables.jiffies() >> tick_shift) as u32) {
            if let Some(hits) = line.0.get(place as usize + 1) {
                tables.add(hits, 1);
            }
            return rule.kind;
        }
        meaning = rule.fallback;
    }
    0
}

/// A 64-bit word of a section, by its number.
#[inline(always)]
fn word_at<T: Tables>(tables: &T, line: &Line, number: u32) -> u64 {
    match line.0.get((number % WORDS_PER_LINE) as usize) {
        Some(word) => tables.load(word),
        None => 0,
    }
}

/// A 32-bit word of a section, by its number.
#[inline(always)]
fn half_at<T: Tables>(tables: &T, line: &Line, number: u32) -> u32 {
    (word_at(tables, line, number / 2) >> (32 * (number % 2))) as u32
}
