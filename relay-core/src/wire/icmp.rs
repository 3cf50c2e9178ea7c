//! ICMP (RFC 792): which messages are errors about a packet, and the two a relay writes itself.

/// Bytes of an ICMP error before the packet it quotes.
pub const LENGTH: usize = 8;
/// Offset of the length of the quote in an ICMP error that has extensions behind it, in words; else zero (RFC 4884 section 3).
pub const EXTENDED: usize = 5;
/// Bytes of the quoted transport header that every ICMP error holds (RFC 792).
pub const QUOTED_TRANSPORT: usize = 8;
/// Smallest MTU a path can have (RFC 791, RFC 1191 section 3).
pub const MTU_MINIMUM: u16 = 68;

/// An ICMP message's type and code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl Message {
    /// The packet did not fit and must not be fragmented (RFC 1191).
    pub const FRAGMENTATION_NEEDED: Self = Self { kind: 3, code: 4 };
    /// The TTL ended in transit.
    pub const TIME_EXCEEDED: Self = Self { kind: 11, code: 0 };

    /// Whether it is an error that a relay passes on: destination unreachable, time exceeded, parameter problem.
    /// Redirects and source quenches are not passed on (RFC 2003 section 4, RFC 6633).
    #[inline(always)]
    pub const fn relayed(self) -> bool {
        matches!(self.kind, 3 | 11 | 12)
    }
}
