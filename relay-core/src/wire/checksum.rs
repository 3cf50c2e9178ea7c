//! The internet checksum, in full for headers (RFC 1071) and incremental for changes (RFC 1624).
//!
//! One's-complement sums do not depend on byte order as long as all words are read alike (RFC 1071 section 2(B)):
//! words are native here, and nothing is swapped.

use relay_abi::Be16;

/// A one's-complement sum that has not been folded.
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    #[inline(always)]
    pub const fn zero() -> Self {
        Self(0)
    }

    /// Starts from a partial sum of native words.
    #[inline(always)]
    pub const fn from_partial(sum: u32) -> Self {
        Self(sum as u64)
    }

    /// Adds two bytes that stand at an even offset.
    #[inline(always)]
    pub const fn add2(self, bytes: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(bytes) as u64)
    }

    /// Adds a word as it stands in memory, at an even offset.
    #[inline(always)]
    pub const fn add_word(self, word: u32) -> Self {
        Self(self.0 + word as u64)
    }

    /// Notes that two bytes at an even offset change.
    #[inline(always)]
    pub const fn replace2(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Self(self.0 + (!u16::from_ne_bytes(old)) as u64 + u16::from_ne_bytes(new) as u64)
    }

    /// Notes that four bytes at an even offset change.
    #[inline(always)]
    pub const fn replace4(self, old: [u8; 4], new: [u8; 4]) -> Self {
        Self(self.0 + (!u32::from_ne_bytes(old)) as u64 + u32::from_ne_bytes(new) as u64)
    }

    /// Notes that a word, as it stands in memory at an even offset, changes.
    #[inline(always)]
    pub const fn replace_word(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Notes all changes of another sum.
    #[inline(always)]
    pub const fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum field for the bytes summed.
    #[inline(always)]
    pub const fn checksum(self) -> Be16 {
        Be16((!self.fold()).to_ne_bytes())
    }

    /// Whether the bytes summed, checksum field included, are intact.
    #[inline(always)]
    pub const fn intact(self) -> bool {
        self.fold() == 0xffff
    }

    /// A checksum field after the changes noted: `HC' = ~(~HC + ~m + m')`, equation 3 of RFC 1624.
    #[inline(always)]
    pub const fn update(self, checksum: Be16) -> Be16 {
        Self(self.0 + (!u16::from_ne_bytes(checksum.0)) as u64).checksum()
    }

    /// The same for a UDP checksum: none stays none, and a computed zero is sent as all ones (RFC 768).
    #[inline(always)]
    pub const fn update_udp(self, checksum: Be16) -> Be16 {
        if checksum.value() == 0 {
            return checksum;
        }
        let updated = self.update(checksum);
        if updated.value() == 0 { Be16([0xff, 0xff]) } else { updated }
    }

    #[inline(always)]
    const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }
}
