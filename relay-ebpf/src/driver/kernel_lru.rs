//! The forwarding of an ingress relay done the straightforward way, to compare with: services in a hash, blocked prefixes in
//! the kernel's trie, each client's token bucket and counters in the kernel's LRU hash, the clock read for every packet.
//!
//! It does less than the relay: UDP only, one limit a client, no check of the source against the relay's own addresses, no
//! verified clients, no events, and counts that nobody keeps when a client is evicted.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray};
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_adjust_head};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use relay_abi::image::{Backend, Peer, Service};
use relay_abi::{Be16, Ipv4, limits};
use relay_core::wire::checksum::Sum;
use relay_core::wire::ipv4::{Header, Protocol, martian};
use relay_core::wire::transport::Ports;

use super::kernel_lru_values::{FORWARDED, ServiceKey};

/// What is kept of a client.
#[derive(Clone, Copy)]
#[repr(C)]
struct Client {
    /// Tokens, in nanoseconds of its rate.
    tokens_ns: u64,
    /// When they were last refilled.
    refilled_ns: u64,
    /// Packets forwarded.
    packets: u64,
    /// Bytes of IPv4 packets forwarded.
    bytes: u64,
}

/// How a packet ended that was not [`FORWARDED`]: indices of the counters.
mod ending {
    /// Not one this program forwards.
    pub(super) const INVALID: u32 = 1;
    /// From a blocked prefix.
    pub(super) const BLOCKED: u32 = 2;
    /// Over its client's limit.
    pub(super) const LIMITED: u32 = 3;
    /// Refused by a filter.
    pub(super) const FILTERED: u32 = 4;
}

/// Ways to end.
const ENDINGS: usize = 5;

#[btf_map]
static LRU_SERVICES: HashMap<ServiceKey, Service, 256> = HashMap::new();

#[btf_map]
static LRU_BACKENDS: Array<Backend, { limits::BACKENDS }> = Array::new();

#[btf_map]
static LRU_PEERS: Array<Peer, { limits::PEERS }> = Array::new();

#[btf_map]
static LRU_RING: Array<u32, { limits::RING_SLOTS }> = Array::new();

#[btf_map]
static LRU_TUNNEL_ADDRESS: Array<u32, 1> = Array::new();

#[btf_map]
static LRU_BLOCKED: LpmTrie<u32, u32, { 1 << 20 }> = LpmTrie::new();

#[btf_map]
static LRU_CLIENTS: LruHashMap<u64, Client, { 2 << 20 }> = LruHashMap::new();

#[btf_map]
static LRU_COUNTERS: PerCpuArray<u64, ENDINGS> = PerCpuArray::new();

/// A client's packet into the tunnel.
#[xdp]
pub(crate) fn kernel_lru(context: XdpContext) -> u32 {
    let (ending, action) = match forward(&context) {
        Ok(()) => (FORWARDED, xdp_action::XDP_TX),
        Err(ending) => (ending, xdp_action::XDP_DROP),
    };
    if let Some(counter) = LRU_COUNTERS.get_ptr_mut(ending) {
        // SAFETY: the pointer is to this CPU's value.
        unsafe { *counter += 1 };
    }
    action
}

#[inline(always)]
fn forward(context: &XdpContext) -> Result<(), u32> {
    let start = context.data();
    if start + PAYLOAD + 8 > context.data_end() {
        return Err(ending::INVALID);
    }
    let word = |at: usize| {
        // SAFETY: the frame has this many bytes, checked above, for all that is read here.
        unsafe { ((start + at) as *const u32).read_unaligned() }
    };
    let [_, _, e0, e1] = word(10).to_ne_bytes();
    let ip = Header([word(14), word(18), word(22), word(26), word(30)]);
    let (ports, udp) = (Ports(word(PAYLOAD)), word(PAYLOAD + 4));
    let total_length = ip.total_length();
    if [e0, e1] != [8, 0]
        || !ip.plain()
        || ip.protocol() != Protocol::UDP
        || 14 + total_length as usize > context.data_end() - start
        || !ip.intact()
        || ip.fragment()
        || ip.ttl() <= 1
        || martian(ip.source())
    {
        return Err(ending::INVALID);
    }
    let key = ServiceKey::new(ip.destination(), ports.destination(), ip.protocol().0);
    // SAFETY: nobody changes services while a benchmark runs.
    let Some(service) = (unsafe { LRU_SERVICES.get(key) }) else { return Err(ending::INVALID) };
    if let Some(hits) = LRU_BLOCKED.get(&Key::new(32, ip.source().word())) {
        add((&raw const *hits).cast_mut(), 1);
        return Err(ending::BLOCKED);
    }
    if reflects(ports.source()) {
        return Err(ending::FILTERED);
    }
    admit(service, ip.source(), total_length)?;
    let (backend, peer) = pick(service, &ip, ports).ok_or(ending::INVALID)?;
    let inner = ip.forwarded(ip.tos(), ip.source(), backend.address);
    let new_ports = ports.to_port(backend.port);
    let [l0, l1, c0, c1] = udp.to_ne_bytes();
    let checksum = Sum::zero()
        .replace4(ip.destination().0, inner.destination().0)
        .replace_word(ports.0, new_ports.0)
        .update_udp(Be16([c0, c1]));
    let udp = u32::from_ne_bytes([l0, l1, checksum.0[0], checksum.0[1]]);
    let own = LRU_TUNNEL_ADDRESS.get(0).copied().unwrap_or(0);
    let source = Ipv4(own.to_ne_bytes());
    let outer = Header::atomic(ip.tos() & 3, total_length + 20, 64, Protocol::IPIP, source, peer.address);
    encapsulate(context, &peer.next_hop.stations, &outer, &inner, [new_ports.0, udp])
}

/// Whether a port is source port 0 or one that reflects.
#[inline(always)]
fn reflects(port: Be16) -> bool {
    matches!(
        port.value(),
        0 | 17 | 19 | 53 | 69 | 111 | 123 | 137 | 161 | 389 | 1900 | 3702 | 5353 | 5683 | 11211
    )
}

/// The client's token bucket of packets and its counters.
#[inline(always)]
fn admit(service: &Service, source: Ipv4, total_length: u16) -> Result<(), u32> {
    let key = source.word() as u64;
    // SAFETY: the helper takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut found = LRU_CLIENTS.get_ptr_mut(key);
    if found.is_none() {
        let new = Client { tokens_ns: BURST_NS, refilled_ns: now, packets: 0, bytes: 0 };
        if LRU_CLIENTS.insert(key, new, 0).is_err() {
            return Err(ending::INVALID);
        }
        found = LRU_CLIENTS.get_ptr_mut(key);
    }
    let Some(client) = found else { return Err(ending::INVALID) };
    // SAFETY: the value stays until the end of the program; other CPUs may write it, which costs tokens' exactness.
    let tokens = unsafe { (*client).tokens_ns };
    // SAFETY: as above.
    let refilled = unsafe { (*client).refilled_ns };
    let tokens = (tokens + now.saturating_sub(refilled)).min(BURST_NS);
    // In the place of a cost in jiffies: nanoseconds a packet.
    let cost = service.client.packet;
    // SAFETY: as above.
    unsafe { (*client).refilled_ns = now };
    if tokens < cost {
        return Err(ending::LIMITED);
    }
    // SAFETY: as above.
    unsafe { (*client).tokens_ns = tokens - cost };
    // SAFETY: as above.
    let packets = unsafe { &raw mut (*client).packets };
    // SAFETY: as above.
    let bytes = unsafe { &raw mut (*client).bytes };
    add(packets, 1);
    add(bytes, total_length as u64);
    Ok(())
}

#[inline(always)]
fn pick(service: &Service, ip: &Header, ports: Ports) -> Option<(Backend, Peer)> {
    let mixed = (ip.source().word() as u64) << 32 ^ ports.0 as u64;
    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = mixed ^ mixed >> 32;
    let offset = (hash as u32 as u64 * service.ring_length as u64) >> 32;
    let backend = *LRU_BACKENDS.get(*LRU_RING.get(service.ring_start + offset as u32)?)?;
    let slot = ((hash >> 32) * backend.peer_count as u64) >> 32;
    let peer = *backend.peers.get(slot as usize & (limits::PEER_SLOTS - 1))?;
    Some((backend, *LRU_PEERS.get(peer as u32)?))
}

#[inline(always)]
fn encapsulate(
    context: &XdpContext,
    stations: &[u32; 3],
    outer: &Header,
    inner: &Header,
    udp: [u32; 2],
) -> Result<(), u32> {
    // SAFETY: the context is the one this program was called with.
    if unsafe { bpf_xdp_adjust_head(context.as_ptr().cast(), -20) } != 0 {
        return Err(ending::INVALID);
    }
    let start = context.data();
    if start + 20 + PAYLOAD + 8 > context.data_end() {
        return Err(ending::INVALID);
    }
    let write = |at: usize, word: u32| {
        // SAFETY: the frame has this many bytes, checked above, for all that is written here.
        unsafe { ((start + at) as *mut u32).write_unaligned(word) };
    };
    let [a, b, _, _] = outer.0[0].to_ne_bytes();
    for (index, station) in stations.iter().enumerate() {
        write(4 * index, *station);
    }
    write(12, u32::from_ne_bytes([8, 0, a, b]));
    for (index, word) in outer.0.iter().enumerate() {
        write(14 + 4 * index, *word);
    }
    for (index, word) in inner.0.iter().enumerate() {
        write(34 + 4 * index, *word);
    }
    write(54, udp[0]);
    write(58, udp[1]);
    Ok(())
}

#[inline(always)]
fn add<T: Copy>(word: *mut T, value: T) {
    // SAFETY: the word is inside a map value; the kernel's instruction is atomic.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::Relaxed }>(word, value) };
}

const BURST_NS: u64 = 200_000_000;
/// Where the payload of the IPv4 packet starts.
const PAYLOAD: usize = 34;
