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
/// TCP flag FIN, in byte 13.
pub const TCP_FIN: u8 = 0x01;
/// TCP flag SYN.
pub const TCP_SYN: u8 = 0x02;
/// TCP flag RST.
pub const TCP_RST: u8 = 0x04;
/// TCP flag PSH.
pub const TCP_PSH: u8 = 0x08;
/// TCP flag ACK.
pub const TCP_ACK: u8 = 0x10;
/// TCP flag URG.
pub const TCP_URG: u8 = 0x20;
/// Kind of the option that ends the option list.
pub const OPTION_END: u8 = 0;
/// Kind of the one-byte option that does nothing.
pub const OPTION_NOTHING: u8 = 1;
/// Kind of the maximum segment size option (RFC 9293 section 3.2), 4 bytes long.
pub const OPTION_MSS: u8 = 2;

/// Source and destination port, in the word that TCP and UDP headers start with, as it stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports(pub u32);

impl Ports {
    /// From both ports.
    #[inline(always)]
    pub const fn new(source: Be16, destination: Be16) -> Self {
        let ([a, b], [c, d]) = (source.0, destination.0);
        Self(u32::from_ne_bytes([a, b, c, d]))
    }

    /// Source port.
    #[inline(always)]
    pub const fn source(self) -> Be16 {
        let [a, b, _, _] = self.0.to_ne_bytes();
        Be16([a, b])
    }

    /// Destination port.
    #[inline(always)]
    pub const fn destination(self) -> Be16 {
        let [_, _, c, d] = self.0.to_ne_bytes();
        Be16([c, d])
    }

    /// The ports of the way back.
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self(self.0.rotate_left(16))
    }

    /// With another source port, unless that is zero.
    #[inline(always)]
    pub const fn from_port(self, source: Be16) -> Self {
        if source.value() == 0 { self } else { Self::new(source, self.destination()) }
    }

    /// With another destination port, unless that is zero.
    #[inline(always)]
    pub const fn to_port(self, destination: Be16) -> Self {
        if destination.value() == 0 { self } else { Self::new(self.source(), destination) }
    }
}
