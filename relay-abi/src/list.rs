//! Lists of prefixes (blocked, allowed, banned) as the packet path reads them: an array of 64-byte lines, compiled by user space,
//! replaced as a whole. Only the hit counters in it are written by the packet path.
//!
//! Line 0 is the header: its words are [`Filter`], [`Index`] and [`Sections`], packed. They say where the sections are:
//!
//! 1. *Filter*: 64-bit words. A block of addresses that holds anything listed has its [`Filter::bits`] set in the word
//!    [`Filter::word`]; most clients end here.
//! 2. *Index*: 32-bit words. Word `address >> shift` is the [`Span`] of boundary lines in which the search for that address ends.
//! 3. *Entries*: [`Entry`], four a line, in order of address, length and what counts first.
//! 4. *Prefixes*: for each entry a 64-bit word, its [`Prefix`]. For user space only.
//! 5. *Boundaries*, the last section: a line holds [`BOUNDARIES_PER_LINE`] addresses (host order) in rising order at which something
//!    else begins to hold, the first of all being 0, and behind them as many meanings: 0 where nothing is listed, else the number of
//!    the entry plus 1.
//!
//! Of two 32-bit words in a 64-bit word the one with the lower number is the low half. Line numbers count from line 0.

use core::sync::atomic::AtomicU64;

/// A line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line(pub [AtomicU64; 8]);

/// Places of the header's words in line 0.
pub mod header {
    /// A [`super::Filter`]; 0 for a list that says nothing.
    pub const FILTER: usize = 0;
    /// An [`super::Index`].
    pub const INDEX: usize = 1;
    /// A [`super::Sections`].
    pub const SECTIONS: usize = 2;
    /// First line of the prefixes.
    pub const PREFIXES: usize = 3;
}

/// The filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// First line.
    pub line: u32,
    /// Addresses that share their bits: those that are the same without their last `grain` bits.
    pub grain: u32,
    /// 64 less the bits of a word's number.
    pub shift: u32,
}

impl Filter {
    /// As it stands in the header.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        self.line as u64 | (self.grain as u64) << 32 | (self.shift as u64) << 40
    }

    /// From the header.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { line: word as u32, grain: (word >> 32) as u32 & 31, shift: (word >> 40) as u32 & 63 }
    }

    /// What places an address (host order).
    #[inline(always)]
    pub const fn hash(self, address: u32) -> u64 {
        ((address >> self.grain) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The number of the 64-bit word that a hash falls on.
    #[inline(always)]
    pub const fn word(self, hash: u64) -> u32 {
        (hash >> self.shift) as u32
    }

    /// The bits of a hash: three, which may be the same.
    #[inline(always)]
    pub const fn bits(hash: u64) -> u64 {
        1 << (hash >> 16 & 63) | 1 << (hash >> 22 & 63) | 1 << (hash >> 28 & 63)
    }
}

/// The index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// First line.
    pub line: u32,
    /// Addresses that are the same without their last `shift` bits share a word.
    pub shift: u32,
}

impl Index {
    /// As it stands in the header.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        self.line as u64 | (self.shift as u64) << 32
    }

    /// From the header.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { line: word as u32, shift: (word >> 32) as u32 & 31 }
    }
}

/// The other sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections {
    /// First line of the entries.
    pub entries: u32,
    /// How many entries there are.
    pub entry_count: u32,
}

impl Sections {
    /// As it stands in the header.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        self.entries as u64 | (self.entry_count as u64) << 32
    }

    /// From the header.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { entries: word as u32, entry_count: (word >> 32) as u32 }
    }
}

/// A word of the index: the lines among which the search ends are `1 << steps`, from `line`. What is not there of the last ones is past
/// every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First line.
    pub line: u32,
    /// Halving steps, at most [`SEARCH_STEPS`].
    pub steps: u32,
}

impl Span {
    /// Lines that a number has bits for.
    pub const LINES: u32 = 1 << 28;

    /// As it stands in the index.
    #[inline(always)]
    pub const fn pack(self) -> u32 {
        self.line | self.steps << 28
    }

    /// From the index.
    #[inline(always)]
    pub const fn unpack(word: u32) -> Self {
        Self { line: word & (Self::LINES - 1), steps: word >> 28 }
    }
}

/// A listed prefix.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Entry {
    /// A [`Rule`].
    pub rule: AtomicU64,
    /// Packets it has decided about.
    pub hits: AtomicU64,
}

/// The prefix of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// First address, host order.
    pub address: u32,
    /// Length.
    pub length: u8,
}

impl Prefix {
    /// As it stands in the list.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        self.address as u64 | (self.length as u64) << 32
    }

    /// From the list.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { address: word as u32, length: (word >> 32) as u8 }
    }

    /// Last address, host order.
    #[inline(always)]
    pub const fn last(self) -> u32 {
        self.address | (u32::MAX as u64 >> self.length) as u32
    }
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// One of [`kind`].
    pub kind: u32,
    /// The number plus 1 of the entry that holds when this one has expired; 0 for none.
    pub fallback: u32,
    /// The tick, modulo 2^32, from which it no longer holds; 0 for never.
    pub expires: u32,
}

impl Rule {
    /// As it stands in the entry.
    #[inline(always)]
    pub const fn pack(self) -> u64 {
        self.kind as u64 | (self.fallback as u64) << 2 | (self.expires as u64) << 32
    }

    /// From the entry.
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        Self { kind: word as u32 & 3, fallback: word as u32 >> 2, expires: (word >> 32) as u32 }
    }

    /// Whether it no longer holds at a tick.
    #[inline(always)]
    pub const fn expired(self, tick: u32) -> bool {
        self.expires != 0 && tick.wrapping_sub(self.expires) < 1 << 31
    }
}

/// What an entry says of a client.
pub mod kind {
    /// Never limited, never banned by the relay on its own.
    pub const ALLOWED: u32 = 1;
    /// Dropped: blocked by an administrator.
    pub const BLOCKED: u32 = 2;
    /// Dropped: banned by the relay for having been over its limit.
    pub const BANNED: u32 = 3;
}

/// The two lists, as slots of `LISTS`.
pub mod slot {
    /// What administrators and the relay itself added while it runs. Asked first: what it says counts.
    pub const RUNTIME: u32 = 0;
    /// What the configuration and its files say.
    pub const CONFIGURED: u32 = 1;
    /// How many there are.
    pub const COUNT: usize = 2;
}

/// 64-bit words a line.
pub const WORDS_PER_LINE: u32 = 8;
/// 32-bit words of the index a line.
pub const INDEX_PER_LINE: u32 = 16;
/// Entries a line.
pub const ENTRIES_PER_LINE: u32 = 4;
/// Boundaries a line.
pub const BOUNDARIES_PER_LINE: u32 = 8;
/// Most halving steps among the lines of one word of the index: 65,536 addresses take no more lines.
pub const SEARCH_STEPS: u32 = 14;
/// Most entries that are asked, one for having expired after the other.
pub const FALLBACKS: u32 = 4;
/// Most entries of a list: a fallback has 30 bits.
pub const ENTRIES: usize = 1 << 24;
