//! Each way an address, size, route or setting can be wrong, and the command that mends it.

use super::*;
use crate::doctor::facts::Echo;
use crate::doctor::finding::Level;
use crate::doctor::sample;
use crate::inspect::Route;

fn find(relay: &Relay, check: &str) -> Option<Finding> {
    // The worst one: a check may say something of several things.
    super::check(relay)
        .into_iter()
        .filter(|finding| finding.check == check)
        .max_by_key(|finding| finding.level)
}

#[track_caller]
fn expect(level: Level, check: &str, fix: &str, mut relay: Relay, change: impl FnOnce(&mut Relay)) -> String {
    change(&mut relay);
    let finding = find(&relay, check).unwrap();
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.fix.as_ref().unwrap().contains(fix), "{finding:?}");
    finding.message
}

#[track_caller]
fn failed(check: &str, fix: &str, change: impl FnOnce(&mut Relay)) -> String {
    expect(Level::Fail, check, fix, sample::ingress(), change)
}

#[track_caller]
fn warned(check: &str, fix: &str, change: impl FnOnce(&mut Relay)) -> String {
    expect(Level::Warn, check, fix, sample::ingress(), change)
}

fn link(relay: &mut Relay, index: usize) -> &mut Found {
    relay.links[index].found.as_mut().unwrap()
}

#[test]
fn good_relays_pass() {
    for relay in [sample::ingress(), sample::egress()] {
        for finding in check(&relay) {
            assert_eq!(finding.level, Level::Ok, "{finding:?}");
        }
    }
}

#[test]
fn a_tunnel_address_nobody_has_fails() {
    failed("tunnel_address", "ip address add 10.0.0.1/24 dev eth1", |relay| {
        relay.addresses.retain(|address| address.ifindex != 3);
    });
}

#[test]
fn a_tunnel_mtu_over_the_link_s_fails() {
    failed("tunnel_mtu", "ip link set dev eth1 mtu 1600", |relay| relay.config.tunnel.mtu = Some(1600));
}

#[test]
fn a_tunnel_too_small_for_full_packets_is_worth_a_warning() {
    let message =
        warned("tunnel_mtu", "ip link set dev eth1 mtu 1520", |relay| link(relay, 0).interface.mtu = 1500);
    assert!(message.starts_with("packets over 1480 bytes"), "{message}");
    let message = warned("tunnel_mtu", "mtu 1500", |relay| relay.config.tunnel.mtu = Some(1400));
    assert!(message.starts_with("packets over 1380 bytes"), "{message}");
}

#[test]
fn on_one_arm_the_tunnel_needs_room_for_what_comes_over_the_internet() {
    let one_armed = |mtu| {
        let mut relay = sample::ingress();
        relay.config.tunnel.interface = "eth0".into();
        relay.links.truncate(1);
        link(&mut relay, 0).interface.mtu = mtu;
        find(&relay, "tunnel_mtu").unwrap()
    };
    let finding = one_armed(1500);
    assert_eq!(finding.level, Level::Warn);
    assert!(finding.fix.unwrap().starts_with("ip link set dev eth0 mtu 1520"));
    assert_eq!(one_armed(1520).level, Level::Ok);
}

#[test]
fn an_egress_relay_without_an_address_towards_its_backends_fails() {
    expect(Level::Fail, "service_address", "ip address add ADDRESS/24 dev eth0", sample::egress(), |relay| {
        relay.addresses.retain(|address| address.ifindex != 2);
    });
}

#[test]
fn a_vip_nobody_answers_for_fails() {
    failed("vip", "ip address add 192.168.100.10/32 dev eth0", |relay| {
        relay.addresses.retain(|address| address.prefix_length != 32);
    });
    warned("vip", "ip address add 192.168.100.10/32 dev eth0", |relay| {
        relay.addresses.retain(|address| address.ifindex != 2);
    });
}

#[test]
fn strict_source_checks_are_worth_a_warning() {
    warned("rp_filter", "sysctl -w net.ipv4.conf.eth0.rp_filter=2", |relay| {
        link(relay, 0).settings.rp_filter = 1
    });
    // The larger of the two counts, so 2 on the interface is enough.
    warned("rp_filter", "rp_filter=2", |relay| relay.all.rp_filter = 1);
    let mut relay = sample::ingress();
    relay.all.rp_filter = 1;
    for index in 0..2 {
        link(&mut relay, index).settings.rp_filter = 2;
    }
    assert_eq!(find(&relay, "rp_filter").unwrap().level, Level::Ok);
}

#[test]
fn forwarding_is_needed_at_the_loopback_interface_and_nowhere_else() {
    failed("routes", "sysctl -w net.ipv4.conf.lo.forwarding=1", |relay| {
        relay.loopback.forwarding = false;
        relay.running.programs = vec![7];
    });
    let off = "sysctl -w net.ipv4.conf.eth1.forwarding=0";
    warned("forwarding", off, |relay| link(relay, 1).settings.forwarding = true);
    let off = "sysctl -w net.ipv4.conf.eth0.forwarding=0";
    warned("forwarding", off, |relay| link(relay, 0).settings.forwarding = true);
    expect(Level::Warn, "forwarding", off, sample::egress(), |relay| {
        link(relay, 0).settings.forwarding = true
    });
}

#[test]
fn a_router_for_ipv6_leads_past_the_relay() {
    let off = "sysctl -w net.ipv6.conf.all.forwarding=0";
    warned("ipv6_forwarding", off, |relay| relay.ipv6_forwarding = true);
    expect(Level::Warn, "ipv6_forwarding", off, sample::egress(), |relay| relay.ipv6_forwarding = true);
}

#[test]
fn redirects_are_worth_a_warning_where_they_are_in_force() {
    let send = "sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0";
    warned("send_redirects", send, |relay| link(relay, 0).settings.send_redirects = true);
    warned("send_redirects", "conf.all.send_redirects=0", |relay| relay.all.send_redirects = true);
    let mut relay = sample::ingress();
    link(&mut relay, 0).settings =
        Settings { accept_redirects: true, forwarding: true, ..Settings::default() };
    assert_eq!(find(&relay, "accept_redirects").unwrap().level, Level::Ok);
    relay.all.accept_redirects = true;
    assert_eq!(find(&relay, "accept_redirects").unwrap().level, Level::Warn);
}

#[test]
fn dots_in_names_of_interfaces_are_slashes_for_sysctl() {
    assert_eq!(key("eth0.7", "rp_filter"), "net.ipv4.conf.eth0/7.rp_filter");
}

#[test]
fn a_peer_without_a_way_fails() {
    failed("peer", "ip route replace 10.0.0.2 dev eth1", |relay| relay.peers[0].route = None);
    let route = |kind, ifindex| Some(Route { kind, ifindex, gateway: None, mtu: None });
    failed("peer", "ip address del 10.0.0.2", |relay| relay.peers[0].route = route(RouteKind::Local, 1));
    failed("peer", "ip route get 10.0.0.2", |relay| relay.peers[0].route = route(RouteKind::Other, 3));
    let message = failed("peer", "ip route replace 10.0.0.2 dev eth1", |relay| {
        relay.peers[0].route = route(RouteKind::Unicast, 2)
    });
    assert!(message.contains("leaves by eth0, not by eth1"));
}

#[test]
fn a_next_hop_that_does_not_answer_fails() {
    let message = failed("peer", "ip neighbour show to 10.0.0.2", |relay| {
        relay.peers[0].neighbour = Some(NeighbourState::Failed);
    });
    assert!(message.contains("answers no ARP"));
    warned("peer", "ping -c1 -I eth1 10.0.0.2", |relay| relay.peers[0].neighbour = None);
}

#[test]
fn a_backend_of_an_egress_relay_is_examined_at_the_service_interface() {
    expect(Level::Fail, "backend", "ip route replace 192.168.100.51 dev eth0", sample::egress(), |relay| {
        relay.backends[0].route = None;
    });
    expect(Level::Fail, "backend", "dev eth0", sample::egress(), |relay| {
        relay.backends[0].route.as_mut().unwrap().ifindex = 3;
    });
}

#[test]
fn a_path_that_swallows_large_packets_fails() {
    let echo = |small, full| move |relay: &mut Relay| relay.peers[0].echo = Some(Echo { small, full });
    let message = failed("path_mtu", "ping -M do -s 1472 10.0.0.2", echo(true, false));
    assert!(message.contains("none of 1500 bytes"));
    warned("path_mtu", "ICMP echo", echo(false, false));
}
