//! SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) of two words.
//!
//! The variant that the paper proposes as a message authentication code, not the faster SipHash-1-3 of hash tables: who asks for
//! hashes here sees them, as many as they like, and gains by forging one. It is worked out for what is rare or dropped anyway.

/// The hash of 16 bytes under a key. Words are read as little-endian numbers, as the paper has it.
#[inline(always)]
pub const fn hash(key: [u64; 2], first: u64, second: u64) -> u64 {
    let state = State {
        v0: key[0] ^ 0x736f_6d65_7073_6575,
        v1: key[1] ^ 0x646f_7261_6e64_6f6d,
        v2: key[0] ^ 0x6c79_6765_6e65_7261,
        v3: key[1] ^ 0x7465_6462_7974_6573,
    };
    state.take(first).take(second).take(LENGTH << 56).finish()
}

/// Four variables and no array: BPF keeps them in registers.
#[derive(Clone, Copy)]
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    const fn take(self, word: u64) -> Self {
        let mixed = Self { v3: self.v3 ^ word, ..self }.round().round();
        Self { v0: mixed.v0 ^ word, ..mixed }
    }

    #[inline(always)]
    const fn finish(self) -> u64 {
        let mixed = Self { v2: self.v2 ^ 0xff, ..self }.round().round().round().round();
        mixed.v0 ^ mixed.v1 ^ mixed.v2 ^ mixed.v3
    }

    /// SipRound, in the order of figure 2.1 of the paper.
    #[inline(always)]
    const fn round(self) -> Self {
        let Self { v0, v1, v2, v3 } = self;
        let v0 = v0.wrapping_add(v1);
        let v1 = v1.rotate_left(13) ^ v0;
        let v0 = v0.rotate_left(32);
        let v2 = v2.wrapping_add(v3);
        let v3 = v3.rotate_left(16) ^ v2;
        let v0 = v0.wrapping_add(v3);
        let v3 = v3.rotate_left(21) ^ v0;
        let v2 = v2.wrapping_add(v1);
        let v1 = v1.rotate_left(17) ^ v2;
        let v2 = v2.rotate_left(32);
        Self { v0, v1, v2, v3 }
    }
}

/// Bytes of the message.
const LENGTH: u64 = 16;
