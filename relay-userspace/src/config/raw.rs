//! The configuration as the file says it: every key of every table, written once.
//!
//! Each row expands to a field of the raw type, the code that reads it, and a row of `docs/config.md`. A row is
//! `key: shape, roles, presence;` and its doc comment, which users read too.

use relay_abi::limits;

use super::defaults;
use super::document::{At, Field, Key, Keys, Presence, RoleName, Roles, Shape, Table, TableReader, Tables};
use super::shape::{
    AbsolutePath, Address, Choice, Integer, InterfaceName, Lasting, List, NodeName, ObjectName, OneOf,
    PortOrAny, Scalar,
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
