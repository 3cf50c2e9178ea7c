//! What user space hands to a driver: the value of its map `TEMPLATE`.

/// A packet, and who sends it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Template {
    /// The packet in words, as they stand in memory: three and a half of the Ethernet header, then the rest. The client's
    /// address is zero, and the IPv4 checksum that of the header with it.
    pub(crate) words: [u32; WORDS],
    /// Number of the first source.
    pub(crate) first: u32,
    /// Sources, less one: a power of two less one.
    pub(crate) mask: u32,
    /// Not zero: state of the random numbers that choose the source. Zero: the sources take turns.
    pub(crate) random: u32,
    /// The next source's turn.
    pub(crate) turn: u32,
}

/// Words of the longest packet: Ethernet, two IPv4 headers, payload, rounded up.
pub(crate) const WORDS: usize = 20;
