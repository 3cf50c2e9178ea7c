//! Which backend, and which egress relay to it: a pure function of packet and configuration, so that every ingress
//! relay with the same configuration picks alike.

use relay_abi::image::{Backend, Globals, Peer, Service};
use relay_abi::limits::{BACKENDS, PEER_SLOTS, PEERS, RING_SLOTS};
use relay_abi::{Image, Ipv4, Reason};

use crate::wire::transport::Ports;

/// The flow hash: keyed multiply-xorshift of client, VIP, ports and protocol. Little-endian, which is free on nearly every
/// machine, so that relays on machines of both kinds pick alike.
#[inline(always)]
pub(super) fn hash(globals: &Globals, client: Ipv4, vip: Ipv4, ports: Ports, protocol: u8) -> u64 {
    let [key0, key1] = globals.hash_key;
    let addresses = (u32::from_le_bytes(client.0) as u64) << 32 | u32::from_le_bytes(vip.0) as u64;
    let ports = (ports.0.to_le() as u64) << 8 | protocol as u64;
    let mixed = (addresses ^ key0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32 ^ ports ^ key1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 32
}

/// The index in the service's pick table that the flow falls on: a backend, or with `translate = "none"` at an ingress relay
/// a peer.
#[inline(always)]
pub(super) fn slot(image: &Image, service: &Service, hash: u64) -> Result<u16, Reason> {
    let offset = (hash as u32 as u64 * service.ring_length as u64) >> 32;
    let at = (service.ring_start as usize + offset as usize) & (RING_SLOTS - 1);
    if service.ring_length == 0 {
        return Err(Reason::NoBackend);
    }
    image.ring.get(at).copied().ok_or(Reason::Internal)
}

/// The backend with an index.
#[inline(always)]
pub(super) fn backend(image: &Image, index: u16) -> Result<&Backend, Reason> {
    image.backends.get(index as usize & (BACKENDS - 1)).ok_or(Reason::Internal)
}

/// The peer with an index.
#[inline(always)]
pub(super) fn peer(image: &Image, index: u16) -> Result<&Peer, Reason> {
    let peer = image.peers.get(index as usize & (PEERS - 1)).ok_or(Reason::Internal)?;
    if peer.next_hop.ifindex == 0 { Err(Reason::PeerUnresolved) } else { Ok(peer) }
}

/// The egress relay to a backend, from bits of the hash that did not pick the backend.
#[inline(always)]
pub(super) fn peer_of(backend: &Backend, hash: u64) -> Result<u16, Reason> {
    let slot = ((hash >> 32) * backend.peer_count as u64) >> 32;
    if backend.peer_count == 0 {
        return Err(Reason::NoPeer);
    }
    backend.peers.get(slot as usize & (PEER_SLOTS - 1)).map(|&peer| peer as u16).ok_or(Reason::Internal)
}
