//! Sizes of the tables. Powers of two wherever the kernel side masks an index with `size - 1`.

/// Services in one configuration.
pub const SERVICES: usize = 256;
/// Backends in one configuration, over all services.
pub const BACKENDS: usize = 1024;
/// Relays of the other tier in one configuration.
pub const PEERS: usize = 64;
/// Sets of the endpoint table, [`ENDPOINT_WAYS`] endpoints each: so many that whatever the other limits allow can be
/// placed with no set over its ways.
pub const ENDPOINT_SETS: usize = 4096;
/// Endpoints in a set: one 64-byte cache line.
pub const ENDPOINT_WAYS: usize = 4;
/// Slots of the pool that all services' pick tables share.
pub const RING_SLOTS: usize = 65_536;
/// Slots of a backend's table of egress relays.
pub const PEER_SLOTS: usize = 16;
/// Rows of the counter table for each verdict: reasons have codes below this.
pub const REASON_CODES: usize = 128;
/// Room for tallies.
pub const TALLY_CODES: usize = 64;
/// Flows in a set: one 64-byte cache line.
pub const FLOW_WAYS: usize = 4;
/// Flow sets in the object file; the loader sets the configured number.
pub const FLOW_SETS_DEFAULT: u32 = 1024;
/// Flows the spill table holds beside the sets that are full.
pub const FLOW_SPILL_ENTRIES: u32 = 65_536;
/// Last known link-layer addresses towards clients.
pub const NEIGHBOURS: u32 = 16_384;
/// Bytes of the ring that reports missing neighbours.
pub const NEIGHBOUR_MISS_BYTES: u32 = 65_536;
/// Token buckets for generated ICMP errors, a CPU: bucket 0 limits the relay, the others the prefixes hashed to them.
pub const ICMP_BUCKETS: u32 = 1024;
/// Buckets behind those, which space the reports of missing neighbours.
pub const REPORT_BUCKETS: u32 = 256;
/// The bucket behind those, which limits the ACKs that challenge clients.
pub const CHALLENGE_BUCKET: u32 = ICMP_BUCKETS + REPORT_BUCKETS;
/// All buckets of a CPU.
pub const BUCKETS: u32 = CHALLENGE_BUCKET + 1;
/// Bytes of original datagram quoted at most in a generated ICMP error: 576 less the two headers (RFC 1812 section 4.3.2.3).
pub const ICMP_QUOTE: u16 = 548;
/// Clients in a set: two neighbouring 64-byte cache lines, which processors fetch together.
pub const CLIENT_WAYS: usize = 4;
/// Client sets in the object file; the loader sets the configured number.
pub const CLIENT_SETS_DEFAULT: u32 = 256;
/// Prefixes in a set: two neighbouring cache lines.
pub const PREFIX_WAYS: usize = 4;
/// Prefix sets in the object file; the loader sets their number.
pub const PREFIX_SETS_DEFAULT: u32 = 64;
/// Bytes of the ring that samples dropped packets.
pub const EVENT_RING_BYTES: u32 = 1 << 20;
