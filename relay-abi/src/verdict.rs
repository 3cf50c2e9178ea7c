//! What happens to a packet, as counted.

/// The verdict on a packet. The number is the row of the counter table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Verdict {
    /// Sent out of the interface it came in on (`XDP_TX`).
    Transmit = 0,
    /// Sent out of another interface (`XDP_REDIRECT`).
    Redirect = 1,
    /// Left to the kernel's network stack, untouched (`XDP_PASS`).
    Pass = 2,
    /// Discarded (`XDP_DROP`).
    Drop = 3,
}

impl Verdict {
    /// How many verdicts there are.
    pub const COUNT: usize = 4;

    /// All verdicts, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Transmit, Self::Redirect, Self::Pass, Self::Drop];

    /// The name in commands, metrics and documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Transmit => "transmit",
            Self::Redirect => "redirect",
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}
