//! Values in network byte order, as they stand on the wire: alignment 1, no padding, never mixed with integers.

use core::fmt;

use bytemuck::{Pod, Zeroable};

/// A 16-bit number in network byte order (a port, a checksum).
#[derive(Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable, Hash)]
#[repr(transparent)]
pub struct Be16(pub [u8; 2]);

impl Be16 {
    /// Zero: in map values "no port", in UDP over IPv4 "no checksum" (RFC 768).
    pub const ZERO: Self = Self([0, 0]);

    /// From a number in host order.
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be_bytes())
    }

    /// The number in host order.
    #[inline(always)]
    pub const fn value(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

impl fmt::Debug for Be16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}

/// An IPv4 address in network byte order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable, Hash)]
#[repr(transparent)]
pub struct Ipv4(pub [u8; 4]);

impl Ipv4 {
    /// The unspecified address; in map values "none".
    pub const ZERO: Self = Self([0; 4]);

    /// The address as a number in host order: `1.2.3.4` is `0x01020304`.
    #[inline(always)]
    pub const fn value(self) -> u32 {
        u32::from_be_bytes(self.0)
    }

    /// The four bytes as one native word, for hashing and comparing: no byte swap.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }
}

impl fmt::Debug for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable, Hash)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
