//! Configurations for the tests of this module.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::inputs::{Clock, Link, Links};
use crate::config::policy::{Clients, Events, Lists, Policy};
use crate::config::valid::{
    AttachMode, Config, Egress, EgressService, EgressWay, Endpoint, Flows, HashKey, Icmp, Ingress,
    IngressBackend, IngressService, IngressWay, Neighbours, Peer, PeerIndex, Port, Protocol, Role, Tunnel,
    WeightedHost,
};

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 10);
pub(crate) const SECOND_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 11);
pub(crate) const WEB_1: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 51);
pub(crate) const WEB_2: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 52);
pub(crate) const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const EDGE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const EPOCH_OFFSET: u64 = 425_000_000_000;

pub(crate) fn links() -> Links {
    let link = |ifindex: u8, name: &str| Link {
        ifindex: u32::from(ifindex),
        mac: [2, 0, 0, 0, 0, ifindex],
        mtu: 1500,
        name: name.into(),
    };
    Links {
        edge: link(2, "eth0"),
        tunnel: link(3, "eth1"),
        own_addresses: vec![LOCAL, VIP, EDGE],
        edge_address: EDGE,
        clock: Clock { jiffies_per_second: 250, epoch_offset: EPOCH_OFFSET },
    }
}

fn config(role: Role) -> Config {
    Config {
        node: "sample".into(),
        pin_directory: PathBuf::from("/sys/fs/bpf/xdp-relay"),
        state_directory: PathBuf::from("/run/xdp-relay"),
        mode: AttachMode::Driver,
        tunnel: Tunnel { interface: "eth1".into(), local: LOCAL, mtu: Some(1500), ttl: 64, dscp: 0 },
        peers: [FIRST_PEER, Ipv4Addr::new(10, 0, 0, 3)]
            .into_iter()
            .map(|address| Peer { name: address.to_string(), address })
            .collect(),
        icmp: Icmp { rate: 1000, prefix_rate: 50 },
        neighbours: Neighbours { probe_interval: Duration::from_secs(2) },
        events: Events::default(),
        role,
    }
}

fn key() -> HashKey {
    HashKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
}

/// A TCP service with two backends that is translated here, and a UDP one that is not.
pub(crate) fn ingress() -> Config {
    let backend = |address, weight, peers: &[usize]| IngressBackend {
        name: format!("at-{address}"),
        address,
        port: Port::Number(8443),
        weight,
        peers: peers.iter().copied().map(PeerIndex).collect(),
    };
    config(Role::Ingress(Ingress {
        public: "eth0".into(),
        hash_key: key(),
        clients: Clients { entries: 1024, ..Clients::default() },
        lists: Lists::default(),
        services: vec![
            IngressService {
                name: "web".into(),
                protocol: Protocol::Tcp,
                port: Port::Number(443),
                way: IngressWay::Translate {
                    vip: VIP,
                    backends: vec![backend(WEB_1, 3, &[0]), backend(WEB_2, 1, &[0, 1])],
                },
                policy: Policy::default(),
            },
            IngressService {
                name: "game".into(),
                protocol: Protocol::Udp,
                port: Port::Any,
                way: IngressWay::Keep {
                    vips: vec![VIP, SECOND_VIP],
                    peers: vec![PeerIndex(0), PeerIndex(1)],
                },
                policy: Policy::default(),
            },
        ],
    }))
}

/// The other side of [`ingress`].
pub(crate) fn egress() -> Config {
    let endpoint = |address| Endpoint { name: format!("at-{address}"), address, port: Port::Number(8443) };
    let host = |address, weight| WeightedHost { name: format!("at-{address}"), address, weight };
    config(Role::Egress(Egress {
        service: "eth0".into(),
        hash_key: Some(key()),
        flows: Flows { entries: 4096, idle_timeout: Duration::from_secs(300) },
        services: vec![
            EgressService {
                name: "web".into(),
                protocol: Protocol::Tcp,
                way: EgressWay::Translated { backends: vec![endpoint(WEB_1), endpoint(WEB_2)] },
            },
            EgressService {
                name: "game".into(),
                protocol: Protocol::Udp,
                way: EgressWay::Keep {
                    vips: vec![VIP, SECOND_VIP],
                    port: Port::Any,
                    backends: vec![host(WEB_1, 1), host(WEB_2, 2)],
                },
            },
            EgressService {
                name: "voice".into(),
                protocol: Protocol::Tcp,
                way: EgressWay::Keep {
                    vips: vec![VIP],
                    port: Port::Number(5060),
                    backends: vec![host(WEB_2, 2), host(WEB_1, 1)],
                },
            },
        ],
    }))
}
