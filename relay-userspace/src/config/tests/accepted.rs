//! What good files become.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::base::{EGRESS, INGRESS, KeyFile, report};
use crate::config::defaults;
use crate::config::valid::{
    AttachMode, Config, EgressWay, Endpoint, IngressBackend, IngressWay, Peer, PeerIndex, Port, Protocol,
    Role, WeightedHost,
};

fn accepted(text: &str) -> Config {
    let report = report(&KeyFile::new().put_into(text));
    report.config().unwrap_or_else(|| panic!("{}", report.text(crate::config::Style::Plain))).clone()
}

#[test]
fn an_ingress_relay() {
    let config = accepted(INGRESS);
    assert_eq!(config.node, "in-1");
    assert_eq!(config.mode, AttachMode::Driver);
    assert_eq!((config.tunnel.interface.as_str(), config.tunnel.local), ("eth1", Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(config.peers[1], Peer { name: "out-2".into(), address: Ipv4Addr::new(10, 0, 0, 12) });
    let Role::Ingress(ingress) = config.role else { panic!("{:?}", config.role) };
    assert_eq!(ingress.public, "eth0");
    assert_eq!(ingress.hash_key.bytes()[..3], [0x00, 0x11, 0x22]);
    let [web, dns] = ingress.services.as_slice() else { panic!("{:?}", ingress.services) };
    assert_eq!((web.name.as_str(), web.protocol, web.port), ("web", Protocol::Tcp, Port::Number(443)));
    let backend = |name: &str, last, port, peers| IngressBackend {
        name: name.into(),
        address: Ipv4Addr::new(192, 168, 100, last),
        port: Port::Number(port),
        weight: 1,
        peers,
    };
    let backends = vec![
        backend("web-1", 51, 8443, vec![PeerIndex(0), PeerIndex(1)]),
        backend("web-2", 52, 443, vec![PeerIndex(1)]),
    ];
    assert_eq!(web.way, IngressWay::Translate { vip: Ipv4Addr::new(203, 0, 113, 10), backends });
    let vips = vec![Ipv4Addr::new(203, 0, 113, 53)];
    assert_eq!(dns.way, IngressWay::Keep { vips, peers: vec![PeerIndex(0), PeerIndex(1)] });
}

#[test]
fn an_egress_relay() {
    let config = accepted(EGRESS);
    let Role::Egress(egress) = config.role else { panic!("{:?}", config.role) };
    assert_eq!(egress.service, "eth1");
    assert!(egress.hash_key.is_some());
    let [web, dns] = egress.services.as_slice() else { panic!("{:?}", egress.services) };
    let address = Ipv4Addr::new(192, 168, 100, 51);
    let backends = vec![Endpoint { name: "web-1".into(), address, port: Port::Number(8443) }];
    assert_eq!(web.way, EgressWay::Translated { backends });
    let address = Ipv4Addr::new(192, 168, 100, 61);
    let backends = vec![WeightedHost { name: "dns-1".into(), address, weight: 1 }];
    let vips = vec![Ipv4Addr::new(203, 0, 113, 53)];
    assert_eq!(dns.way, EgressWay::Keep { vips, port: Port::Number(53), backends });
}

#[test]
fn any_port_stays_any() {
    let config = accepted(
        &INGRESS.replace("port = 443\n", "port = \"any\"\n").replace("port = 8443", "port = \"any\""),
    );
    let Role::Ingress(ingress) = config.role else { panic!("{:?}", config.role) };
    let IngressWay::Translate { backends, .. } = &ingress.services[0].way else { panic!("{ingress:?}") };
    assert!(backends.iter().all(|backend| backend.port == Port::Any));

    let config = accepted(&EGRESS.replace("port = 8443", "port = \"any\""));
    let Role::Egress(egress) = config.role else { panic!("{:?}", config.role) };
    let EgressWay::Translated { backends } = &egress.services[0].way else { panic!("{egress:?}") };
    assert_eq!(backends[0].port, Port::Any);
}

#[test]
fn a_kept_port_may_be_repeated() {
    accepted(&EGRESS.replace("192.168.100.61\"", "192.168.100.61\"\nport = 53"));
}

#[test]
fn a_number_and_any_share_a_vip() {
    let other = INGRESS
        .replace("\"203.0.113.53\"", "\"203.0.113.10\"")
        .replace("protocol = \"udp\"\nport = 53", "protocol = \"tcp\"\nport = \"any\"");
    accepted(&other);
}

#[test]
fn what_the_file_leaves_out_has_the_defaults() {
    let config = accepted(INGRESS);
    assert_eq!(config.pin_directory, Path::new(defaults::PIN_DIRECTORY));
    assert_eq!(config.state_directory, Path::new(defaults::STATE_DIRECTORY));
    assert_eq!((config.tunnel.mtu, config.tunnel.ttl, config.tunnel.dscp), (None, 64, 0));
    assert_eq!((config.icmp.rate, config.icmp.prefix_rate), (1000, 50));
    assert_eq!(config.neighbours.probe_interval, Duration::from_secs(2));
    let Role::Egress(egress) = accepted(EGRESS).role else { panic!("not an egress relay") };
    assert_eq!((egress.flows.entries, egress.flows.idle_timeout), (1_048_576, Duration::from_secs(300)));
}

#[test]
fn what_the_file_says_counts() {
    let text = EGRESS.replace(
        "local = \"10.0.0.11\"",
        "local = \"10.0.0.11\"\nmtu = 9000\nttl = 255\ndscp = 0x2e\n[icmp]\nrate = 1_000_000\n\
         prefix_rate = 1\n[flows]\nentries = 1024\nidle_timeout = \"1h 30m\"\n[neighbours]\nprobe_interval = \"200ms\"",
    );
    let config = accepted(&text.replace("\"driver\"", "\"generic\""));
    assert_eq!(config.mode, AttachMode::Generic);
    assert_eq!((config.tunnel.mtu, config.tunnel.ttl, config.tunnel.dscp), (Some(9000), 255, 46));
    assert_eq!((config.icmp.rate, config.icmp.prefix_rate), (1_000_000, 1));
    assert_eq!(config.neighbours.probe_interval, Duration::from_millis(200));
    let Role::Egress(egress) = config.role else { panic!("not an egress relay") };
    assert_eq!((egress.flows.entries, egress.flows.idle_timeout.as_secs()), (1024, 5400));
}

#[test]
fn interfaces_may_be_one() {
    accepted(&INGRESS.replace("\"eth1\"", "\"eth0\""));
    accepted(&EGRESS.replace("\"eth1\"", "\"eth0\""));
}

#[test]
fn line_ends_and_arrays_of_inline_tables_do_not_matter() {
    accepted(&INGRESS.replace('\n', "\r\n"));
    let peers = "[[peers]]\nname = \"in-1\"\naddress = \"10.0.0.1\"\n";
    let inline = "peers = [{ name = \"in-1\", address = \"10.0.0.1\" }]\nrole =";
    accepted(&EGRESS.replace(peers, "").replace("role =", inline));
}
