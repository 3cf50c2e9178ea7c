//! The IPv4 header (RFC 791), without its options.

use relay_abi::{Be16, Ipv4};

use super::checksum::Sum;

/// Bytes of a header without options.
pub const LENGTH: usize = 20;
/// Words of a header without options.
pub const WORDS: usize = LENGTH / 4;
/// Offset of the protocol number.
pub const PROTOCOL: usize = 9;
/// The first byte of a header without options.
pub const PLAIN: u8 = 0x45;

/// An IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Protocol(pub u8);

impl Protocol {
    /// RFC 792.
    pub const ICMP: Self = Self(1);
    /// IPv4 in IPv4 (RFC 2003).
    pub const IPIP: Self = Self(4);
    /// RFC 9293.
    pub const TCP: Self = Self(6);
    /// RFC 768.
    pub const UDP: Self = Self(17);

    /// Whether packets of this protocol have ports.
    #[inline(always)]
    pub const fn has_ports(self) -> bool {
        self.0 == Self::TCP.0 || self.0 == Self::UDP.0
    }
}

/// An IPv4 header without options; whatever the header length says, these are its first 20 bytes.
///
/// Kept as the five words it is made of, each as it stands in memory: so a header lives in registers, and sums without a swap.
#[derive(Clone, Copy)]
pub struct Header(pub [u32; WORDS]);

impl Header {
    /// The version field.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.0[0].to_ne_bytes()[0] >> 4
    }

    /// Bytes of the header with its options, as it says itself.
    #[inline(always)]
    pub const fn header_length(&self) -> u8 {
        (self.0[0].to_ne_bytes()[0] & 0x0f) << 2
    }

    /// Whether the header is version 4 and has no options.
    #[inline(always)]
    pub const fn plain(&self) -> bool {
        self.0[0].to_ne_bytes()[0] == PLAIN
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub const fn tos(&self) -> u8 {
        self.0[0].to_ne_bytes()[1]
    }

    /// Bytes of the packet, header included.
    #[inline(always)]
    pub const fn total_length(&self) -> u16 {
        let [_, _, high, low] = self.0[0].to_ne_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Whether the sender forbids fragmentation.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        self.0[1].to_ne_bytes()[2] & 0x40 != 0
    }

    /// Whether the packet is a fragment: more follow, or an offset is set.
    #[inline(always)]
    pub const fn fragment(&self) -> bool {
        self.0[1] & u32::from_ne_bytes([0, 0, 0x3f, 0xff]) != 0
    }

    /// Whether the packet is a fragment other than the first: it has no transport header.
    #[inline(always)]
    pub const fn later_fragment(&self) -> bool {
        self.0[1] & u32::from_ne_bytes([0, 0, 0x1f, 0xff]) != 0
    }

    /// Time to live.
    #[inline(always)]
    pub const fn ttl(&self) -> u8 {
        self.0[2].to_ne_bytes()[0]
    }

    /// Protocol of the payload.
    #[inline(always)]
    pub const fn protocol(&self) -> Protocol {
        Protocol(self.0[2].to_ne_bytes()[1])
    }

    /// Header checksum.
    #[inline(always)]
    pub const fn checksum(&self) -> Be16 {
        let [_, _, high, low] = self.0[2].to_ne_bytes();
        Be16([high, low])
    }

    /// Source address.
    #[inline(always)]
    pub const fn source(&self) -> Ipv4 {
        Ipv4(self.0[3].to_ne_bytes())
    }

    /// Destination address.
    #[inline(always)]
    pub const fn destination(&self) -> Ipv4 {
        Ipv4(self.0[4].to_ne_bytes())
    }

    /// Whether the checksum of a header without options holds.
    #[inline(always)]
    pub const fn intact(&self) -> bool {
        self.sum().intact()
    }

    /// The header after a hop: TTL less one, with another type of service byte, source and destination; its
    /// checksum updated (RFC 1624). The caller has seen to it that the TTL is above one.
    #[inline(always)]
    pub const fn forwarded(&self, tos: u8, source: Ipv4, destination: Ipv4) -> Self {
        let [start, _, high, low] = self.0[0].to_ne_bytes();
        let [ttl, protocol, c0, c1] = self.0[2].to_ne_bytes();
        let first = u32::from_ne_bytes([start, tos, high, low]);
        let ttl_after = ttl.wrapping_sub(1);
        let checksum = Sum::zero()
            .replace2([start, self.tos()], [start, tos])
            .replace2([ttl, protocol], [ttl_after, protocol])
            .replace4(self.source().0, source.0)
            .replace4(self.destination().0, destination.0)
            .update(Be16([c0, c1]));
        let third = u32::from_ne_bytes([ttl_after, protocol, checksum.0[0], checksum.0[1]]);
        Self([first, self.0[1], third, source.word(), destination.word()])
    }

    /// The header with another source and destination, its checksum updated.
    #[inline(always)]
    pub const fn with_ends(&self, source: Ipv4, destination: Ipv4) -> Self {
        let checksum = Sum::zero()
            .replace4(self.source().0, source.0)
            .replace4(self.destination().0, destination.0)
            .update(self.checksum());
        Self([self.0[0], self.0[1], self.third_with(checksum), source.word(), destination.word()])
    }

    /// A new header without options and with DF set, whose identification is zero: an atomic datagram, whose
    /// identification no receiver may use (RFC 6864 section 4.1).
    #[inline(always)]
    pub const fn atomic(
        tos: u8,
        total_length: u16,
        ttl: u8,
        protocol: Protocol,
        source: Ipv4,
        destination: Ipv4,
    ) -> Self {
        let [high, low] = total_length.to_be_bytes();
        let unsummed = Self([
            u32::from_ne_bytes([PLAIN, tos, high, low]),
            u32::from_ne_bytes([0, 0, 0x40, 0]),
            u32::from_ne_bytes([ttl, protocol.0, 0, 0]),
            source.word(),
            destination.word(),
        ]);
        unsummed.with_checksum(unsummed.sum().checksum())
    }

    /// The header with another checksum field.
    #[inline(always)]
    pub const fn with_checksum(&self, checksum: Be16) -> Self {
        Self([self.0[0], self.0[1], self.third_with(checksum), self.0[3], self.0[4]])
    }

    #[inline(always)]
    const fn third_with(&self, checksum: Be16) -> u32 {
        let [ttl, protocol, _, _] = self.0[2].to_ne_bytes();
        u32::from_ne_bytes([ttl, protocol, checksum.0[0], checksum.0[1]])
    }

    #[inline(always)]
    const fn sum(&self) -> Sum {
        let [a, b, c, d, e] = self.0;
        Sum::zero().add_word(a).add_word(b).add_word(c).add_word(d).add_word(e)
    }
}

/// Whether no host on the public side may have this address: "this network", loopback, link-local, multicast, reserved and
/// limited broadcast (RFC 1812 section 5.3.7, RFC 6890).
#[inline(always)]
pub const fn martian(address: Ipv4) -> bool {
    let first = address.0[0];
    first == 0 || first == 127 || first >= 224 || (first == 169 && address.0[1] == 254)
}
