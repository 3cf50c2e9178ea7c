//! The configuration as the file says it: every key of every table, written once.
//!
//! Each row expands to a field of the raw type, the code that reads it, and a row of `docs/config.md`. A row is
//! `key: shape, roles, presence;` and its doc comment, which users read too.

use relay_abi::limits;

use super::defaults;
use super::document::{At, Field, Key, Keys, Presence, RoleName, Roles, Shape, Table, TableReader, Tables};
use super::policy::{self, FilterMode, OverLimit};
use super::shape::{
    AbsolutePath, Address, Boolean, Choice, Instant, Integer, InterfaceName, Lasting, LastingOrNever, List,
    NodeName, ObjectName, OneOf, PortOrAny, Prefix, Rate, Scalar, Sentence,
};
use super::valid::{AttachMode, Protocol};

macro_rules! field {
    ($shape:ty, default) => { At<<$shape as Shape>::Output> };
    ($shape:ty, defaults) => { At<<$shape as Shape>::Output> };
    ($shape:ty, $presence:ident) => { Field<<$shape as Shape>::Output> };
}

macro_rules! presence {
    ($shape:ty, required) => {
        Presence::Required
    };
    ($shape:ty, optional($absent:literal)) => {
        Presence::Optional($absent)
    };
    ($shape:ty, depends($rule:literal)) => {
        Presence::Depends($rule)
    };
    ($shape:ty, default($default:expr)) => {
        Presence::Default(<$shape as Scalar>::toml(&$default.into()))
    };
    ($shape:ty, inherited($default:expr)) => {
        Presence::Inherited(<$shape as Scalar>::toml(&$default.into()))
    };
    ($shape:ty, defaults) => {
        Presence::Defaults
    };
}

macro_rules! read {
    ($table:ident, $key:ident, $shape:ty, $roles:ident, required) => {
        $table.required::<$shape>(stringify!($key), Roles::$roles)
    };
    ($table:ident, $key:ident, $shape:ty, $roles:ident, default($default:expr)) => {
        $table.or_default::<$shape>(stringify!($key), Roles::$roles, $default.into())
    };
    ($table:ident, $key:ident, $shape:ty, $roles:ident, inherited($default:expr)) => {
        $table.optional::<$shape>(stringify!($key), Roles::$roles)
    };
    ($table:ident, $key:ident, $shape:ty, $roles:ident, defaults) => {
        $table.or_defaults(stringify!($key), Roles::$roles)
    };
    ($table:ident, $key:ident, $shape:ty, $roles:ident, $presence:ident($text:literal)) => {
        $table.optional::<$shape>(stringify!($key), Roles::$roles)
    };
}

macro_rules! tables {
    ($(
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $key_about:literal])*
            $key:ident: $shape:ty, $roles:ident, $presence:ident $(($($argument:tt)*))?; )*
        }
    )*) => { $(
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(super) struct $name {
            $( $(#[doc = $key_about])* pub(super) $key: field!($shape, $presence), )*
        }

        impl Keys for $name {
            const ABOUT: &'static str = concat!($($about),*);

            fn keys() -> Vec<Key> {
                vec![ $( Key {
                    name: stringify!($key),
                    roles: Roles::$roles,
                    presence: presence!($shape, $presence $(($($argument)*))?),
                    allowed: <$shape as Shape>::allowed(),
                    inside: <$shape as Shape>::inside(),
                    about: concat!($($key_about),*),
                } ),* ]
            }

            fn read(table: &mut TableReader<'_, '_>) -> Self {
                Self {
                    $( $key: read!(table, $key, $shape, $roles, $presence $(($($argument)*))?), )*
                }
            }
        }
    )* };
}

tables! {
    /// Keys at the top of the file, before the first table.
    File {
        /// Which tier this relay belongs to: `"ingress"` faces the clients, `"egress"` faces the backends.
        role: OneOf<RoleName>, Both, required;
        /// Name of this relay on this host. It names the directory of its pins and its lock file.
        node: NodeName, Both, required;
        /// Directory on a BPF file system; this relay's pins go to `<pin_directory>/<node>/`.
        pin_directory: AbsolutePath, Both, default(defaults::PIN_DIRECTORY);
        /// Directory of the lock file `<node>.lock`, which keeps a second copy from starting.
        state_directory: AbsolutePath, Both, default(defaults::STATE_DIRECTORY);
        /// File with the key of the flow hash: 32 hexadecimal digits, mode 0600 or 0400. All relays of a tier that
        /// serve the same service need the same key.
        hash_key_file: AbsolutePath, Both, depends("required on an ingress relay; on an egress relay required when a service has `translate = \"none\"`, refused otherwise");
        /// Network interfaces and how the program is attached to them.
        interfaces: Table<Interfaces>, Both, required;
        /// This relay's end of the tunnels.
        tunnel: Table<Tunnel>, Both, required;
        /// Relays of the other tier.
        peers: Tables<Peer, { defaults::PEERS_MAX }>, Both, required;
        /// What is relayed.
        services: Tables<Service, { defaults::SERVICES_MAX }>, Both, required;
        /// How much clients may send, for all services that say nothing else.
        limits: Table<Limits>, Ingress, defaults;
        /// Packets that are refused at sight, for all services that say nothing else.
        filters: Table<Filters>, Ingress, defaults;
        /// Whose SYNs have to prove their source, for all TCP services that say nothing else.
        proof: Table<Proof>, Ingress, defaults;
        /// Files of listed prefixes.
        lists: Table<Lists>, Ingress, defaults;
        /// Blocked prefixes.
        block: ListedPrefixes, Ingress, optional("none");
        /// Prefixes that are never limited, nor filtered, nor banned by the relay on its own.
        allow: ListedPrefixes, Ingress, optional("none");
        /// What is kept of clients.
        clients: Table<Clients>, Ingress, defaults;
        /// Samples of dropped packets.
        events: Table<Events>, Both, defaults;
        /// Limits of the ICMP errors this relay generates.
        icmp: Table<Icmp>, Both, defaults;
        /// The flow table.
        flows: Table<Flows>, Egress, defaults;
        /// Keeping next hops alive.
        neighbours: Table<Neighbours>, Both, defaults;
    }

    /// Network interfaces and how the program is attached to them. One interface may have both parts (one-armed).
    Interfaces {
        /// Interface towards the clients.
        public: InterfaceName, Ingress, required;
        /// Interface towards the relays of the other tier.
        tunnel: InterfaceName, Both, required;
        /// Interface towards the backends.
        service: InterfaceName, Egress, required;
        /// Where the program runs: `"driver"` is fast and needs a driver with XDP; `"generic"` works on every
        /// interface and is slow. Never chosen silently.
        mode: OneOf<AttachMode>, Both, required;
    }

    /// This relay's end of the tunnels: the outer header of every packet it encapsulates.
    Tunnel {
        /// This relay's own tunnel address: outer source of what it sends, outer destination of what it accepts.
        local: Address, Both, required;
        /// Largest outer packet, in bytes. Inner packets have 20 bytes less; larger ones that must not be fragmented
        /// are answered with Fragmentation Needed.
        mtu: Integer<u16, { defaults::TUNNEL_MTU_MIN }, { defaults::TUNNEL_MTU_MAX }>, Both, optional("the MTU of the tunnel interface");
        /// TTL of the outer header.
        ttl: Integer<u8, 1, 255>, Both, default(defaults::OUTER_TTL);
        /// DSCP of the outer header (pipe model, RFC 2983). ECN is always copied (RFC 6040).
        dscp: Integer<u8, 0, { defaults::DSCP_MAX }>, Both, default(defaults::OUTER_DSCP);
    }

    /// A relay of the other tier. Tunnel packets are accepted from these addresses only.
    Peer {
        /// Name of the peer; `peers` of services and backends use it.
        name: ObjectName, Both, required;
        /// Its tunnel address.
        address: Address, Both, required;
    }

    /// A service: what clients reach, and the backends behind it.
    Service {
        /// Name of the service.
        name: ObjectName, Both, required;
        /// Public addresses of the service.
        vips: Vips, Both, depends("ingress relay: required, exactly one with `translate = \"ingress\"`; egress relay: required with `translate = \"none\"`, refused otherwise");
        /// Transport protocol.
        protocol: OneOf<Protocol>, Both, required;
        /// Port clients use. Where one service has `"any"` and another the same VIP and protocol with a number, the
        /// number wins.
        port: PortOrAny, Both, depends("ingress relay: required; egress relay: required with `translate = \"none\"`, refused otherwise");
        /// Who rewrites addresses: `"ingress"`, the ingress relay, between VIP and backend; `"none"`, nobody, and
        /// the backends hold the VIP themselves. The same on both tiers.
        translate: OneOf<Translate>, Both, default(Translate::Ingress);
        /// Names of the egress relays that reach the service.
        peers: List<ObjectName, 1, { limits::PEERS }>, Ingress, depends("with `translate = \"none\"` only; default: all peers");
        /// Whether an answer over UDP proves the client: only for services that answer nobody who has not proved to receive
        /// what is sent to it, for otherwise whoever forges a source gets it proved. UDP services only.
        answers_verify: Boolean, Ingress, default(false);
        /// How much clients of this service may send.
        limits: Table<Limits>, Ingress, defaults;
        /// Packets to this service that are refused at sight.
        filters: Table<Filters>, Ingress, defaults;
        /// Whose SYNs to this service have to prove their source. TCP services only.
        proof: Table<Proof>, Ingress, defaults;
        /// The servers.
        backends: Backends, Both, depends("required; refused on an ingress relay with `translate = \"none\"`, which must not know them");
    }

    /// A server of the service above it.
    Backend {
        /// Name of the backend.
        name: ObjectName, Both, required;
        /// Its real address.
        address: Address, Both, required;
        /// Its real port; `"any"` where the service has that.
        port: PortOrAny, Both, depends("the service's port; required on an egress relay with `translate = \"ingress\"`");
        /// Share of new flows, relative to the other backends of the service. Refused on an egress relay with
        /// `translate = "ingress"`, where the ingress relays pick.
        weight: Integer<u16, 1, { defaults::WEIGHT_MAX }>, Both, default(defaults::WEIGHT);
        /// Names of the egress relays that reach this backend.
        peers: List<ObjectName, 1, { defaults::BACKEND_PEERS_MAX }>, Ingress, optional("all peers");
    }

    /// How much clients may send, a second: `client_` limits one address, `prefix_` all addresses of one prefix
    /// (`clients.prefix_length`), `total_` all clients together. Each VIP of each service counts by itself. What is over a limit is
    /// dropped from its first packet on, and is not charged to any limit. A service has these values where its
    /// `[services.limits]` says nothing else; there 0 lifts a limit that stands here.
    Limits {
        /// Packets of one client.
        client_packets: PacketRate, Ingress, inherited(defaults::NO_LIMIT);
        /// Bytes of IPv4 packets of one client.
        client_bytes: ByteRate, Ingress, inherited(defaults::NO_LIMIT);
        /// New connections (SYNs) of one client.
        client_connections: PacketRate, Ingress, inherited(defaults::NO_LIMIT);
        /// Packets of one prefix of clients.
        prefix_packets: PacketRate, Ingress, inherited(defaults::NO_LIMIT);
        /// Bytes of IPv4 packets of one prefix of clients.
        prefix_bytes: ByteRate, Ingress, inherited(defaults::NO_LIMIT);
        /// New connections (SYNs) of one prefix of clients.
        prefix_connections: PacketRate, Ingress, inherited(defaults::NO_LIMIT);
        /// Packets of all clients.
        total_packets: PacketRate, Ingress, inherited(defaults::NO_LIMIT);
        /// Bytes of IPv4 packets of all clients.
        total_bytes: ByteRate, Ingress, inherited(defaults::NO_LIMIT);
        /// New connections (SYNs) of all clients.
        total_connections: PacketRate, Ingress, inherited(defaults::NO_LIMIT);
        /// How much may come at once: as much as the rate brings in this time.
        burst: Lasting<{ defaults::BURST_MS_MIN }, { defaults::BURST_MS_MAX }>, Ingress, inherited(defaults::BURST);
        /// What happens to what is over the limit of its client or prefix: `"drop"`, or `"mark_down"`: it passes while the
        /// `total_` limits have room.
        over: OneOf<OverLimit>, Ingress, inherited(OverLimit::Drop);
        /// Whether clients that ask for more than the capacity share it: those above a limit, found every 100 ms, are cut
        /// down to it, the others are left alone.
        fair: Boolean, Ingress, inherited(false);
        /// Packets that the service can take, for `fair`.
        capacity_packets: Integer<u64, 1, { defaults::PACKET_RATE_MAX }>, Ingress, depends("one capacity is required with `fair = true`; a service without its own has that of `[limits]`");
        /// Bytes of IPv4 packets that the service can take, for `fair`.
        capacity_bytes: Integer<u64, { defaults::BYTE_RATE_MIN }, { defaults::BYTE_RATE_MAX }>, Ingress, depends("one capacity is required with `fair = true`; a service without its own has that of `[limits]`");
        /// A client that stays over its limit for so long is banned from all services of this relay; `"0s"` is never.
        ban_after: LastingOrNever<{ defaults::BAN_AFTER_MS_MIN }, { defaults::BAN_AFTER_MS_MAX }>, Ingress, inherited(defaults::BAN_AFTER);
        /// How long the first ban lasts; each further one lasts twice as long as the one before.
        ban_for: Lasting<{ defaults::BAN_MS_MIN }, { defaults::BAN_MS_MAX }>, Ingress, inherited(defaults::BAN_FOR);
        /// How long a ban lasts at most.
        ban_max: Lasting<{ defaults::BAN_MS_MIN }, { defaults::BAN_MS_MAX }>, Ingress, inherited(defaults::BAN_MAX);
        /// How long a client is banned that has not proved that its address is its own, each time the same; `"0s"` is never.
        /// Whoever forges addresses can get their owners banned for this long.
        ban_unproven_for: LastingOrNever<{ defaults::BAN_MS_MIN }, { defaults::BAN_UNPROVEN_MS_MAX }>, Ingress, inherited(defaults::BAN_UNPROVEN_FOR);
    }

    /// Packets that are refused at sight. `"enforce"` drops them, `"shadow"` counts what it would drop, apart for verified and unproven
    /// clients, `"off"` does nothing. A service has these values where its `[services.filters]` says nothing else.
    Filters {
        /// UDP from ports that reflect what others ask with a forged source: 17, 19, 53, 69, 111, 123, 137, 161, 389, 1900, 3702,
        /// 5353, 5683, 11211. Switch it off where such servers are clients of the service.
        reflector_ports: OneOf<FilterMode>, Ingress, inherited(policy::Filters::default().reflector_ports);
        /// TCP flags no connection has: none, SYN with FIN, SYN with RST, FIN with URG and PSH but without ACK.
        tcp_flags: OneOf<FilterMode>, Ingress, inherited(policy::Filters::default().tcp_flags);
        /// Source port 0.
        source_port_zero: OneOf<FilterMode>, Ingress, inherited(policy::Filters::default().source_port_zero);
        /// Fragments but the first, which have no ports. Fragments are never relayed: with `"off"` and `"shadow"` these are left to the
        /// kernel of this host. They belong to a VIP rather than a service: the strictest of its services counts.
        fragments: OneOf<FilterMode>, Ingress, inherited(policy::Filters::default().fragments);
        /// IP protocols that no service of the VIP speaks, other than ICMP. With `"off"` and `"shadow"` they are left to the kernel of
        /// this host, which may need them, as for VRRP. The strictest of the VIP's services counts.
        protocols: OneOf<FilterMode>, Ingress, inherited(policy::Filters::default().protocols);
    }

    /// Whose SYNs have to prove their source: the relay answers a SYN of an unproven client with an ACK that only a host which
    /// receives it can refuse in the right way; then its next SYN passes. Connections are not touched otherwise. A service has these values
    /// where its `[services.proof]` says nothing else.
    Proof {
        /// `"off"`: nobody's. `"always"`: those of every unproven client. `"above"`: the same while a service gets more SYNs of
        /// unproven clients than `above`, and for some seconds after.
        syn: OneOf<ProofMode>, Ingress, inherited(ProofMode::Off);
        /// SYNs of unproven clients, a second.
        above: Integer<u32, 1, { defaults::PACKET_RATE_MAX }>, Ingress, depends("required with `syn = \"above\"`, else refused; a service without its own has that of `[proof]`");
    }

    /// Files of listed prefixes, one IPv4 prefix or address a line, with comments after `#` or `;`, as public lists have them.
    Lists {
        /// Files of blocked prefixes.
        block_files: List<AbsolutePath, 1, { defaults::LIST_FILES_MAX }>, Ingress, optional("none");
        /// Files of allowed prefixes.
        allow_files: List<AbsolutePath, 1, { defaults::LIST_FILES_MAX }>, Ingress, optional("none");
    }

    /// A prefix whose packets are blocked or allowed. Blocked ones are dropped; allowed ones are never limited, nor filtered, nor banned by
    /// the relay on its own. Of prefixes that hold an address the longest counts.
    ListedPrefix {
        /// IPv4 prefix; an address alone is a prefix of its own.
        prefix: Prefix, Ingress, required;
        /// Why it is listed.
        reason: Sentence<{ defaults::LIST_REASON_MAX }>, Ingress, optional("none");
        /// From when on it no longer holds.
        expires: Instant, Ingress, optional("never");
    }

    /// What an ingress relay keeps of clients: what each of them sent to each service and what came of it.
    Clients {
        /// Clients of services that there is room for. Memory: 160 bytes a place, and twice as many places as entries, rounded up to a
        /// power of two: 320 MiB for the default. When it is full, unproven clients give their places to new ones.
        entries: Integer<u32, { defaults::CLIENT_ENTRIES_MIN }, { defaults::CLIENT_ENTRIES_MAX }>, Ingress, default(defaults::CLIENT_ENTRIES);
        /// Length of the prefixes that `prefix_` limits are about.
        prefix_length: Integer<u8, { defaults::PREFIX_LENGTH_MIN }, 32>, Ingress, default(defaults::PREFIX_LENGTH);
        /// ACKs that ask clients for a proof, a second and CPU: beyond that their SYNs are dropped.
        challenge_rate: Integer<u32, 1, { defaults::CHALLENGE_RATE_MAX }>, Ingress, default(defaults::CHALLENGE_RATE);
    }

    /// Samples of dropped packets, for `xdp-relay events` and `xdp-relay capture`.
    Events {
        /// Samples a second, for each reason and CPU; 0 for none.
        rate: Integer<u32, 0, { defaults::EVENT_RATE_MAX }>, Both, default(defaults::EVENT_RATE);
    }

    /// Limits of the ICMP errors this relay generates: one token bucket for all and one for each client prefix.
    Icmp {
        /// ICMP errors per second.
        rate: Integer<u32, 1, { defaults::ICMP_RATE_MAX }>, Both, default(defaults::ICMP_RATE);
        /// ICMP errors per second to one /24; not more than `rate`.
        prefix_rate: Integer<u32, 1, { defaults::ICMP_RATE_MAX }>, Both, default(defaults::ICMP_PREFIX_RATE);
    }

    /// The flow table: which ingress relay a client's flow came through, so that replies go the same way.
    Flows {
        /// Flows remembered; rounded up to four times a power of two. 16 bytes of memory each.
        entries: Integer<u32, { defaults::FLOW_ENTRIES_MIN }, { defaults::FLOW_ENTRIES_MAX }>, Egress, default(defaults::FLOW_ENTRIES);
        /// A flow without packets for this long may give its place to a new one.
        idle_timeout: Lasting<{ defaults::FLOW_IDLE_MS_MIN }, { defaults::FLOW_IDLE_MS_MAX }>, Egress, default(defaults::FLOW_IDLE_TIMEOUT);
    }

    /// Keeping next hops alive: forwarding in XDP alone never refreshes the kernel's neighbour table.
    Neighbours {
        /// How often a next hop in state STALE is probed.
        probe_interval: Lasting<{ defaults::PROBE_MS_MIN }, { defaults::PROBE_MS_MAX }>, Both, default(defaults::PROBE_INTERVAL);
    }
}

/// The backends of one service.
pub(super) type Backends = Tables<Backend, { defaults::BACKENDS_MAX }>;
/// The prefixes of one list.
pub(super) type ListedPrefixes = Tables<ListedPrefix, { defaults::LISTED_MAX }>;
/// Packets or connections a second.
pub(super) type PacketRate = Rate<1, { defaults::PACKET_RATE_MAX }>;
/// Bytes a second.
pub(super) type ByteRate = Rate<{ defaults::BYTE_RATE_MIN }, { defaults::BYTE_RATE_MAX }>;
/// The VIPs of one service.
pub(super) type Vips = List<Address, 1, { defaults::VIPS_MAX }>;

/// Who rewrites addresses, as the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Translate {
    Ingress,
    None,
}

impl Choice for Translate {
    const WORDS: &'static [(&'static str, Self)] = &[("ingress", Self::Ingress), ("none", Self::None)];
    const REFUSED: &'static [(&'static str, &'static str)] =
        &[("egress", "translation by the egress relay is not available yet")];
}

impl Choice for RoleName {
    const WORDS: &'static [(&'static str, Self)] = &[("ingress", Self::Ingress), ("egress", Self::Egress)];
}

impl Choice for AttachMode {
    const WORDS: &'static [(&'static str, Self)] = &[("driver", Self::Driver), ("generic", Self::Generic)];
}

impl Choice for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
}

/// When the source of a SYN has to prove itself, as the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProofMode {
    Off,
    Above,
    Always,
}

impl Choice for ProofMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("above", Self::Above), ("always", Self::Always)];
}

impl Choice for FilterMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("shadow", Self::Shadow), ("enforce", Self::Enforce)];
}

impl Choice for OverLimit {
    const WORDS: &'static [(&'static str, Self)] = &[("drop", Self::Drop), ("mark_down", Self::MarkDown)];
}
