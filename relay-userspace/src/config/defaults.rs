//! Every default and every bound of the configuration, once. The reader, the reference page and the tests of the
//! annotated examples take them from here.

use std::time::Duration;

use relay_abi::limits;

/// Where pins go.
pub const PIN_DIRECTORY: &str = "/sys/fs/bpf/xdp-relay";
/// Where the lock file goes.
pub const STATE_DIRECTORY: &str = "/run/xdp-relay";
/// Outer TTL.
pub const OUTER_TTL: u8 = 64;
/// Outer DSCP: best effort.
pub const OUTER_DSCP: u8 = 0;
/// Share of a backend.
pub const WEIGHT: u16 = 1;
/// Generated ICMP errors per second.
pub const ICMP_RATE: u32 = 1000;
/// Generated ICMP errors per second to one client /24.
pub const ICMP_PREFIX_RATE: u32 = 50;
/// Flows an egress relay remembers: 16 MiB of table.
pub const FLOW_ENTRIES: u32 = 1_048_576;
/// Idle time after which a flow may be displaced.
pub const FLOW_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Time between probes of a stale next hop.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// How long at full rate a limit may be exceeded.
pub const BURST: Duration = Duration::from_millis(200);
/// A rate that is no limit.
pub const NO_LIMIT: u64 = 0;
/// Clients that stay over their limit are not banned.
pub const BAN_AFTER: Duration = Duration::ZERO;
/// How long the first ban of a client lasts.
pub const BAN_FOR: Duration = Duration::from_secs(60);
/// How long a ban lasts at most.
pub const BAN_MAX: Duration = Duration::from_secs(3600);
/// Unproven clients are not banned: their address may be somebody else's.
pub const BAN_UNPROVEN_FOR: Duration = Duration::ZERO;
/// Clients of services that an ingress relay has room for: 320 MiB of tables.
pub const CLIENT_ENTRIES: u32 = 1_048_576;
/// Length of the prefixes that are limited.
pub const PREFIX_LENGTH: u8 = 24;
/// ACKs a second and CPU that challenge clients.
pub const CHALLENGE_RATE: u32 = 1_000_000;
/// Samples of dropped packets a second, for each reason and CPU.
pub const EVENT_RATE: u32 = 100;

/// Smallest outer packet limit: what every IPv4 host takes (RFC 791).
pub const TUNNEL_MTU_MIN: i64 = 576;
/// Largest IPv4 packet.
pub const TUNNEL_MTU_MAX: i64 = 65_535;
/// Highest DSCP: six bits.
pub const DSCP_MAX: i64 = 63;
/// Highest weight of a backend.
pub const WEIGHT_MAX: i64 = 1000;
/// Highest rate of generated ICMP errors.
pub const ICMP_RATE_MAX: i64 = 1_000_000;
/// Smallest flow table.
pub const FLOW_ENTRIES_MIN: i64 = 1024;
/// Largest flow table: 1 GiB.
pub const FLOW_ENTRIES_MAX: i64 = 67_108_864;
/// Shortest idle time of a flow, in milliseconds.
pub const FLOW_IDLE_MS_MIN: u64 = 10_000;
/// Longest idle time of a flow, in milliseconds: the age field of the flow table counts no further.
pub const FLOW_IDLE_MS_MAX: u64 = 4 * 3_600_000;
/// Shortest time between probes, in milliseconds.
pub const PROBE_MS_MIN: u64 = 200;
/// Longest time between probes, in milliseconds.
pub const PROBE_MS_MAX: u64 = 60_000;

/// Smallest client table.
pub const CLIENT_ENTRIES_MIN: i64 = 1024;
/// Largest client table: 5 GiB.
pub const CLIENT_ENTRIES_MAX: i64 = 16_777_216;
/// Shortest prefix that is limited.
pub const PREFIX_LENGTH_MIN: i64 = 8;
/// Highest rate of challenges: what fits the words of a token bucket.
pub const CHALLENGE_RATE_MAX: i64 = 5_000_000;
/// Highest rate of events for each reason and CPU.
pub const EVENT_RATE_MAX: i64 = 100_000;
/// Highest limit of packets or connections a second: a due time has the resolution for 1 % up to here, at 100 jiffies a second.
pub const PACKET_RATE_MAX: i64 = 16_000_000;
/// Lowest limit of bytes a second: the cost of the largest packet has room in its word.
pub const BYTE_RATE_MIN: i64 = 1000;
/// Highest limit of bytes a second: a terabit.
pub const BYTE_RATE_MAX: i64 = 125_000_000_000;
/// Shortest burst, in milliseconds: two jiffies where they are longest.
pub const BURST_MS_MIN: u64 = 20;
/// Longest burst, in milliseconds.
pub const BURST_MS_MAX: u64 = 10_000;
/// Shortest time over a limit that leads to a ban, in milliseconds.
pub const BAN_AFTER_MS_MIN: u64 = 1000;
/// Longest time over a limit that leads to a ban, in milliseconds.
pub const BAN_AFTER_MS_MAX: u64 = 3_600_000;
/// Shortest ban, in milliseconds.
pub const BAN_MS_MIN: u64 = 1000;
/// Longest ban, in milliseconds: 30 days.
pub const BAN_MS_MAX: u64 = 30 * 86_400_000;
/// Longest ban of an unproven client, in milliseconds.
pub const BAN_UNPROVEN_MS_MAX: u64 = 60_000;
/// Entries of `[[block]]` and of `[[allow]]` in one file; longer lists are files of their own.
pub const LISTED_MAX: usize = 4096;
/// Files of blocked prefixes, and of allowed ones.
pub const LIST_FILES_MAX: usize = 64;
/// Characters of the reason of a listed prefix.
pub const LIST_REASON_MAX: usize = 200;

/// Length of the name of a relay.
pub const NODE_NAME_MAX: usize = 32;
/// Length of the name of a peer, service or backend.
pub const NAME_MAX: usize = 64;
/// Length of an interface name: the kernel's IFNAMSIZ less the final zero.
pub const INTERFACE_NAME_MAX: usize = 15;
/// Services in one file, and services counted once for each of their VIPs.
pub const SERVICES_MAX: usize = limits::SERVICES;
/// Backends in one file, over all services.
pub const BACKENDS_MAX: usize = limits::BACKENDS;
/// Peers in one file.
pub const PEERS_MAX: usize = limits::PEERS;
/// Peers that one backend can be reached through.
pub const BACKEND_PEERS_MAX: usize = limits::PEER_SLOTS;
/// VIPs of one service.
pub const VIPS_MAX: usize = 64;
/// Bytes of a configuration file. The largest sensible one is a tenth of this.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
