//! The flow table of an egress relay: which ingress relay a client's flow came through.
//!
//! A flow is two words: [`FlowKey`] fills `addresses` and the low bits of `state`. Entries are replaced by
//! writing [`BUSY`] into `state` with a compare-and-swap, then `addresses`, then the new `state`; a reader takes an
//! entry only if `state` reads the same before and after `addresses`.

use core::sync::atomic::AtomicU64;

use bytemuck::{Pod, Zeroable};

use crate::limits::FLOW_WAYS;
use crate::{Be16, Ipv4};

/// Client and delivery endpoint of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// Client address in the low half, endpoint address in the high half, each as [`Ipv4::word`].
    pub addresses: u64,
    /// The [`KEY_BITS`] of the state word.
    pub ports: u64,
}

/// One flow in the table. `state`: client port (bits 0-15) and endpoint port
/// (16-31) as they stand in memory, UDP (32), answered (33), last seen
/// in ticks modulo 2^14 (34-47), peer (48-63).
#[derive(Debug, Default)]
#[repr(C)]
pub struct Flow {
    /// [`FlowKey::addresses`]; zero where there never was a flow.
    pub addresses: AtomicU64,
    /// Ports, flags, age and peer.
    pub state: AtomicU64,
}

/// Flows whose keys hash to the same place: one cache line.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FlowSet(pub [Flow; FLOW_WAYS]);

/// The bits of `state` that belong to the key.
pub const KEY_BITS: u64 = (1 << 33) - 1;
/// The flow has seen a packet from the service.
pub const ANSWERED: u64 = 1 << 33;
/// `state` of an entry that is being replaced.
pub const BUSY: u64 = u64::MAX;
/// Ticks are counted modulo this.
pub const TICKS: u64 = 1 << 14;

const SEEN_SHIFT: u32 = 34;
const PEER_SHIFT: u32 = 48;

impl FlowKey {
    /// The key of a flow; `udp` tells UDP from TCP, the only protocols that have flows.
    #[inline(always)]
    pub const fn new(
        client: Ipv4,
        client_port: Be16,
        endpoint: Ipv4,
        endpoint_port: Be16,
        udp: bool,
    ) -> Self {
        Self {
            addresses: client.word() as u64 | (endpoint.word() as u64) << 32,
            ports: u16::from_ne_bytes(client_port.0) as u64
                | (u16::from_ne_bytes(endpoint_port.0) as u64) << 16
                | (udp as u64) << 32,
        }
    }

    /// Where the key's set starts in a table of `mask + 1` sets.
    #[inline(always)]
    pub const fn set(self, seed: u64, mask: u32) -> u32 {
        let mixed = (self.addresses ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32 ^ self.ports).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(seed | 1);
        (mixed >> 32) as u32 & mask
    }

    /// Client address.
    pub const fn client(self) -> Ipv4 {
        Ipv4((self.addresses as u32).to_ne_bytes())
    }

    /// Endpoint address.
    pub const fn endpoint(self) -> Ipv4 {
        Ipv4(((self.addresses >> 32) as u32).to_ne_bytes())
    }

    /// Client port.
    pub const fn client_port(self) -> Be16 {
        Be16((self.ports as u16).to_ne_bytes())
    }

    /// Endpoint port.
    pub const fn endpoint_port(self) -> Be16 {
        Be16(((self.ports >> 16) as u16).to_ne_bytes())
    }

    /// Whether the flow is UDP (else TCP).
    pub const fn udp(self) -> bool {
        self.ports >> 32 & 1 != 0
    }
}

/// The state word of a flow seen at `tick` through `peer`.
#[inline(always)]
pub const fn state(key: FlowKey, answered: bool, tick: u64, peer: u16) -> u64 {
    key.ports
        | if answered { ANSWERED } else { 0 }
        | (tick % TICKS) << SEEN_SHIFT
        | (peer as u64) << PEER_SHIFT
}

/// The peer in a state word.
#[inline(always)]
pub const fn peer(state: u64) -> u16 {
    (state >> PEER_SHIFT) as u16
}

/// When the flow was last seen, in ticks modulo [`TICKS`].
#[inline(always)]
pub const fn seen(state: u64) -> u64 {
    state >> SEEN_SHIFT & (TICKS - 1)
}

/// Ticks since the flow was seen, modulo [`TICKS`]. None for a flow that another CPU saw in a tick which had not begun when
/// this one looked at the clock: it is not the oldest, but the youngest.
#[inline(always)]
pub const fn age(state: u64, tick: u64) -> u64 {
    let age = tick.wrapping_sub(seen(state)) % TICKS;
    if age >= TICKS - AHEAD { 0 } else { age }
}

/// Ticks by which the clock of one CPU may be ahead of what another one has just read.
const AHEAD: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_back_what_they_were_made_of() {
        let key =
            FlowKey::new(Ipv4([1, 2, 3, 4]), Be16::new(65535), Ipv4([5, 6, 7, 8]), Be16::new(443), true);
        assert_eq!(key.client(), Ipv4([1, 2, 3, 4]));
        assert_eq!(key.endpoint(), Ipv4([5, 6, 7, 8]));
        assert_eq!((key.client_port().value(), key.endpoint_port().value()), (65535, 443));
        assert!(key.udp());
        let word = state(key, true, TICKS + 5, 0xfffe);
        assert_eq!(
            (word & KEY_BITS, word & ANSWERED != 0, seen(word), peer(word)),
            (key.ports, true, 5, 0xfffe)
        );
        assert_eq!(age(state(key, false, TICKS - 1, 0), 1), 2);
        assert_eq!(age(state(key, false, 2, 0), 1), 0);
        assert_eq!(age(state(key, false, 0, 0), TICKS - 1), 0);
        assert_ne!(word, BUSY);
    }
}
