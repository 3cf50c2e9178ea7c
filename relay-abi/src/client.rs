//! The client table of an ingress relay: who sent what to which service, and how much of its limits it has used.
//!
//! A place in the table holds a client *of a service*: limits are the service's, and so is the proof that the client is where
//! it says. A set is two neighbouring cache lines; what changes with most packets lies there, what changes seldom
//! in [`ClientDetails`], at the place's number in a second array.
//!
//! `state` is one word, so that a reader never sees half a key. A place is given to another client by writing [`BUSY`] into it with a
//! compare-and-swap, moving its counts out, and then writing the new state. All counts are changed by atomic additions, so that two
//! CPUs lose none; one that was on its way while its place changed hands is counted for the new client, so that sums stay exact.

use core::sync::atomic::AtomicU64;

use crate::Ipv4;
use crate::limits::CLIENT_WAYS;

/// A client of a service.
///
/// `state`: client address (bits 0-31, [`Ipv4::word`]), service (32-39), [`VERIFIED`], [`DETAILED`], last seen in ticks modulo
/// [`TICKS`] (50-63); zero where there never was a client.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Client {
    /// Who it is, and when it was last seen.
    pub state: AtomicU64,
    /// Packets (bits 36-63) and bytes (0-35) that were forwarded and are not yet [carried](CARRY) to the details.
    pub counts: AtomicU64,
    /// When its packets so far, and its bytes so far, would have been sent at its limit (see [`crate::limit`]).
    pub dues: [AtomicU64; 2],
}

/// Clients whose keys hash to the same place.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ClientSet(pub [Client; CLIENT_WAYS]);

/// What is seldom written of a client: the entry of `CLIENT_DETAILS` at [`place`].
#[derive(Debug, Default)]
#[repr(C)]
pub struct ClientDetails {
    /// Forwarded packets, but for those still in [`Client::counts`].
    pub packets: AtomicU64,
    /// Bytes of IPv4 packets forwarded, likewise.
    pub bytes: AtomicU64,
    /// Packets of the service to the client.
    pub return_packets: AtomicU64,
    /// Their bytes of IPv4 packets.
    pub return_bytes: AtomicU64,
    /// New connections: SYNs that were admitted.
    pub connections: AtomicU64,
    /// As [`Client::dues`], of new connections.
    pub connections_due: AtomicU64,
    /// First seen (bits 0-31) and last dropped from (32-63; 0 for never), in ticks modulo 2^32.
    pub seen: AtomicU64,
    /// Dropped packets by [`DropClass`].
    pub drops: [AtomicU64; DropClass::COUNT],
}

/// Why packets of a client were dropped, in classes. `Other` takes in every reason of the path that is not about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropClass {
    /// On a blocklist, or banned.
    Blocked,
    /// Over the client's limit of packets, or above its fair share.
    LimitPackets,
    /// Over the client's limit of bytes.
    LimitBytes,
    /// Over the client's limit of new connections.
    LimitConnections,
    /// Over a limit of the client's prefix.
    LimitPrefix,
    /// Over a limit of the service.
    LimitService,
    /// Refused by a filter.
    Filtered,
    /// Its source was asked to prove itself, or did so.
    Unproven,
    /// Everything else: malformed, not deliverable, answered with an ICMP error.
    Other,
}

impl DropClass {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Blocked,
        Self::LimitPackets,
        Self::LimitBytes,
        Self::LimitConnections,
        Self::LimitPrefix,
        Self::LimitService,
        Self::Filtered,
        Self::Unproven,
        Self::Other,
    ];

    /// The name in commands, metrics and documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::LimitPackets => "limit_packets",
            Self::LimitBytes => "limit_bytes",
            Self::LimitConnections => "limit_connections",
            Self::LimitPrefix => "limit_prefix",
            Self::LimitService => "limit_service",
            Self::Filtered => "filtered",
            Self::Unproven => "unproven",
            Self::Other => "other",
        }
    }
}

/// The bits of `state` that say who it is.
pub const KEY_BITS: u64 = (1 << 40) - 1;
/// The client has proved that it receives at its address: never set by what the client alone sends.
pub const VERIFIED: u64 = 1 << 40;
/// The details hold something.
pub const DETAILED: u64 = 1 << 41;
/// `state` of a place that is changing hands. (255.255.255.255 is no client.)
pub const BUSY: u64 = u64::MAX;
/// Last seen is kept modulo this.
pub const TICKS: u64 = 1 << 14;

const SEEN_SHIFT: u32 = 50;
const PACKET_SHIFT: u32 = 36;

/// One packet of `bytes` bytes, as it is added to [`Client::counts`].
#[inline(always)]
pub const fn count(bytes: u16) -> u64 {
    1 << PACKET_SHIFT | bytes as u64
}

/// Packets in a word of counts.
#[inline(always)]
pub const fn packets(counts: u64) -> u64 {
    counts >> PACKET_SHIFT
}

/// Bytes in a word of counts.
#[inline(always)]
pub const fn bytes(counts: u64) -> u64 {
    counts & ((1 << PACKET_SHIFT) - 1)
}

/// Whether one of these bits is set in the counts: then they are carried to the details before they run over. As many packets again fit
/// in the time that takes.
pub const CARRY: u64 = 1 << 63 | 1 << (PACKET_SHIFT - 1);

/// The key of a client of a service.
#[inline(always)]
pub const fn key(address: Ipv4, service: u16) -> u64 {
    address.word() as u64 | (service as u64 & 0xff) << 32
}

/// The number of the set that a key falls into, in a table of `mask + 1` sets; `seed` is secret, so that nobody can aim at a set.
#[inline(always)]
pub const fn set(key: u64, seed: u64, mask: u32) -> u32 {
    let mixed = (key ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(seed | 1);
    (mixed >> 32) as u32 & mask
}

/// The number of a place: that of its details.
#[inline(always)]
pub const fn place(set: u32, way: u32) -> u32 {
    set * CLIENT_WAYS as u32 + way
}

/// The state of a client seen at `tick`, with [`VERIFIED`] and [`DETAILED`] as `flags` has them.
#[inline(always)]
pub const fn state(key: u64, flags: u64, tick: u64) -> u64 {
    key | flags & (VERIFIED | DETAILED) | (tick % TICKS) << SEEN_SHIFT
}

/// The client in a state word.
pub const fn address(state: u64) -> Ipv4 {
    Ipv4((state as u32).to_ne_bytes())
}

/// The service in a state word.
pub const fn service(state: u64) -> u8 {
    (state >> 32) as u8
}

/// When the client was last seen, in ticks modulo [`TICKS`].
#[inline(always)]
pub const fn seen(state: u64) -> u64 {
    state >> SEEN_SHIFT
}

/// Ticks since the client was seen, modulo [`TICKS`]; none where another CPU's clock was ahead.
#[inline(always)]
pub const fn age(state: u64, tick: u64) -> u64 {
    let age = tick.wrapping_sub(seen(state)) % TICKS;
    if age >= TICKS - AHEAD { 0 } else { age }
}

const AHEAD: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_back_what_they_were_made_of() {
        let key = key(Ipv4([192, 0, 2, 1]), 255);
        let word = state(key, VERIFIED, TICKS + 7);
        assert_eq!(word & KEY_BITS, key);
        assert_eq!((address(word), service(word), seen(word)), (Ipv4([192, 0, 2, 1]), 255, 7));
        assert!(word & VERIFIED != 0 && word & DETAILED == 0);
        assert_eq!(age(word, TICKS + 9), 2);
        assert_eq!(age(word, TICKS + 6), 0);
        assert_ne!(word, BUSY);
    }

    #[test]
    fn counts_are_carried_long_before_they_run_over() {
        let many = count(200) * ((1 << 27) - 1);
        assert_eq!((packets(many), many & CARRY), ((1 << 27) - 1, 0));
        assert!((count(40) * (1 << 27)) & CARRY != 0);
        assert_eq!(bytes(count(u16::MAX) * 1000), 65_535_000);
        let bytes_first = count(65_535) * 600_000;
        assert!(bytes_first & CARRY != 0 && packets(bytes_first) == 600_000);
    }

    #[test]
    fn labels_follow_the_numbers() {
        for (index, class) in DropClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, index);
        }
    }
}
