//! The parts of TCP (RFC 9293) and UDP (RFC 768) headers that a relay reads and rewrites.

use relay_abi::Be16;

/// Bytes of a TCP header without options.
pub const TCP_LENGTH: usize = 20;
/// Bytes of a UDP header.
pub const UDP_LENGTH: usize = 8;
/// Offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;
/// TCP flag SYN, in byte 13.
pub const TCP_SYN: u8 = 0x02;
/// Kind of the option that ends the option list.
pub const OPTION_END: u8 = 0;
/// Kind of the one-byte option that does nothing.
pub const OPTION_NOTHING: u8 = 1;
/// Kind of the maximum segment size option (RFC 9293 section 3.2), 4 bytes long.
pub const OPTION_MSS: u8 = 2;

/// Source and destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: Be16,
    /// Destination port.
    pub destination: Be16,
}

impl Ports {
    /// From the first four bytes of a TCP or UDP header.
    #[inline(always)]
    pub const fn new(bytes: [u8; 4]) -> Self {
        let [a, b, c, d] = bytes;
        Self { source: Be16([a, b]), destination: Be16([c, d]) }
    }

    /// As the first word of a header.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        u32::from_ne_bytes(self.bytes())
    }

    /// As the first four bytes of a header.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.source.0, self.destination.0);
        [a, b, c, d]
    }
}
