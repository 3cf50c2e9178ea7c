//! Lists of prefixes (blocked, allowed, banned) as the packet path reads them: an array of 64-byte lines, compiled by user space,
//! replaced as a whole. Only the hit counters in it are written by the packet path.
//!
//! Line 0 is the [`Header`]. It says where the sections start, as line numbers:
//!
//! 1. *Filter*: bit [`filter_bit`] is set for every /24 that holds anything listed. Most clients end here.
//! 2. *Index*: word `address >> index_shift` is the number of the last boundary at or below the first address of
//!    that block; one more word at the end.
//! 3. *Boundaries*: words in rising order, the first one 0: the address (host order) at which something else begins to hold.
//! 4. *Meanings*: for each boundary a word: 0 where nothing is listed, else the number of the entry plus 1.
//! 5. *Entries*: [`Entry`], four a line.
//!
//! Words are 32 bits, as the machine has them, 16 a line.

use core::sync::atomic::AtomicU64;

use bytemuck::{Pod, Zeroable};

/// A line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line(pub [AtomicU64; 8]);

/// Line 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// Entries; 0 for a list that says nothing.
    pub entries: u32,
    /// See [`filter_bit`].
    pub filter_shift: u32,
    /// First line of the filter.
    pub filter_line: u32,
    /// See the index.
    pub index_shift: u32,
    /// First line of the index.
    pub index_line: u32,
    /// First line of the boundaries.
    pub boundary_line: u32,
    /// First line of the meanings.
    pub meaning_line: u32,
    /// First line of the entries.
    pub entry_line: u32,
    /// Zero.
    pub reserved: [u32; 8],
}

/// A listed prefix.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Entry {
    /// [`kind`] (bits 0-31) and the tick, modulo 2^32, from which it no longer holds (32-63; 0 for never).
    pub rule: AtomicU64,
    /// Packets it has decided about.
    pub hits: AtomicU64,
}

/// What an entry says.
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

/// Entries a line.
pub const ENTRIES_PER_LINE: u32 = 4;
/// Words a line.
pub const WORDS_PER_LINE: u32 = 16;
/// Most steps that a search between two boundaries of the index may take.
pub const SEARCH_STEPS: u32 = 18;

/// The bit of an address (host order) in the filter.
#[inline(always)]
pub const fn filter_bit(address: u32, shift: u32) -> u32 {
    (address >> 8).wrapping_mul(0x9e37_79b1) >> (shift & 31)
}
