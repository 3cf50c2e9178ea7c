//! Per-CPU counters: one row a verdict and reason. The sum over all rows is the number of packets received.

use bytemuck::{Pod, Zeroable};

use crate::limits::{REASON_CODES, TALLY_CODES};
use crate::{Reason, Tally, Verdict};

/// Packets and bytes (of the received frame's IP packet, or of the frame where there is none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frame as received, without the Ethernet checksum.
    pub bytes: u64,
}

/// The value of the map `COUNTERS`, one for each CPU.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Counters {
    /// Row [`Counters::row`] of a verdict and reason.
    pub rows: [Counter; Verdict::COUNT * REASON_CODES],
    /// Indexed by [`Tally`].
    pub tallies: [u64; TALLY_CODES],
}

impl Counters {
    /// The row of a verdict and the code of a reason.
    #[inline(always)]
    pub const fn row(verdict: Verdict, code: u8) -> usize {
        verdict as usize * REASON_CODES + (code as usize & (REASON_CODES - 1))
    }

    /// The count of one verdict and reason.
    pub const fn counter(&self, verdict: Verdict, reason: Reason) -> Counter {
        self.rows[Self::row(verdict, reason as u8)]
    }

    /// The count of one tally.
    pub const fn tally(&self, tally: Tally) -> u64 {
        self.tallies[tally as usize]
    }
}
