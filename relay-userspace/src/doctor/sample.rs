//! Facts in which nothing is wrong, for tests to break one at a time.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::facts::{Echo, Found, Link, Machine, Reach, Relay, Running, Settings};
use crate::config::policy::{Clients, Events, Lists, Policy};
use crate::config::valid::{
    AttachMode, Config, Egress, EgressService, EgressWay, Endpoint, Flows, HashKey, Icmp, Ingress,
    IngressBackend, IngressService, IngressWay, Neighbours, Peer, PeerIndex, Port, Protocol, Role, Tunnel,
};
use crate::inspect::{Address, Interface, NeighbourState, Offloads, Route, RouteKind, XdpFeatures};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 10);
const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 51);
const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

pub(super) fn machine() -> Machine {
    Machine {
        release: "6.18.1".into(),
        jit: Some(1),
        pin_directory: PathBuf::from("/sys/fs/bpf/xdp-relay"),
        bpf_fs: true,
        capabilities: (1 << 41) - 1,
    }
}

fn config(role: Role) -> Config {
    Config {
        events: Events::default(),
        node: "sample".into(),
        pin_directory: PathBuf::from("/sys/fs/bpf/xdp-relay"),
        state_directory: PathBuf::from("/run/xdp-relay"),
        mode: AttachMode::Driver,
        tunnel: Tunnel { interface: "eth1".into(), local: LOCAL, mtu: None, ttl: 64, dscp: 0 },
        peers: vec![Peer { name: "other".into(), address: PEER }],
        icmp: Icmp { rate: 1000, prefix_rate: 50 },
        neighbours: Neighbours { probe_interval: Duration::from_secs(2) },
        role,
    }
}

fn link(key: &'static str, ifindex: u32, name: &str, mtu: u32) -> Link {
    let interface = Interface {
        ifindex,
        name: name.into(),
        mtu,
        up: true,
        carrier: true,
        kind: Some("veth".into()),
        peer_elsewhere: true,
        ..Interface::default()
    };
    let offloads =
        Offloads { driver: "veth".into(), tx_checksum: false, rx_vlan: false, lro: false, gro: true };
    let settings = Settings::default();
    let found = Found {
        interface,
        offloads: Some(offloads),
        features: Some(XdpFeatures { native: true, target: true }),
        other_end: None,
        vlans: Vec::new(),
        settings,
    };
    Link { key, name: name.into(), found: Some(found) }
}

fn reach(name: &str, address: Ipv4Addr, ifindex: u32) -> Reach {
    Reach {
        name: name.into(),
        address,
        route: Some(Route { kind: RouteKind::Unicast, ifindex, gateway: None, mtu: None }),
        neighbour: Some(NeighbourState::Known),
        echo: None,
    }
}

fn relay(config: Config, key: &'static str) -> Relay {
    let links = vec![link(key, 2, "eth0", 1480), link("tunnel", 3, "eth1", 1500)];
    let address = |ifindex, address, prefix_length| Address { ifindex, address, prefix_length };
    Relay {
        interfaces: links.iter().filter_map(|link| link.found.clone()).map(|found| found.interface).collect(),
        addresses: vec![
            address(2, Ipv4Addr::new(192, 168, 100, 1), 24),
            address(2, VIP, 32),
            address(3, LOCAL, 24),
        ],
        all: Settings::default(),
        ipv6_forwarding: false,
        loopback: Settings { forwarding: true, ..Settings::default() },
        peers: vec![Reach { echo: Some(Echo { small: true, full: true }), ..reach("other", PEER, 3) }],
        backends: Vec::new(),
        running: Running::default(),
        links,
        config,
    }
}

pub(super) fn ingress() -> Relay {
    let backend = IngressBackend {
        name: "web-1".into(),
        address: BACKEND,
        port: Port::Number(443),
        weight: 1,
        peers: vec![PeerIndex(0)],
    };
    let services = vec![IngressService {
        policy: Policy::default(),
        name: "web".into(),
        protocol: Protocol::Tcp,
        port: Port::Number(443),
        way: IngressWay::Translate { vip: VIP, backends: vec![backend] },
    }];
    let ingress = Ingress {
        public: "eth0".into(),
        hash_key: HashKey::new([7; 16]),
        clients: Clients::default(),
        lists: Lists::default(),
        services,
    };
    relay(config(Role::Ingress(ingress)), "public")
}

pub(super) fn egress() -> Relay {
    let backend = Endpoint { name: "web-1".into(), address: BACKEND, port: Port::Number(443) };
    let services = vec![EgressService {
        name: "web".into(),
        protocol: Protocol::Tcp,
        way: EgressWay::Translated { backends: vec![backend] },
    }];
    let flows = Flows { entries: 1024, idle_timeout: Duration::from_secs(300) };
    let egress = Egress { service: "eth0".into(), hash_key: None, flows, services };
    let mut relay = relay(config(Role::Egress(egress)), "service");
    relay.backends = vec![reach("web-1", BACKEND, 2)];
    relay
}
