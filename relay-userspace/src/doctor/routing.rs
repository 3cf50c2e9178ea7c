//! Checks of addresses, sizes, routes and kernel settings.

use std::net::Ipv4Addr;

use super::facts::{Found, Link, Reach, Relay, Settings};
use super::finding::Finding;
use crate::config::valid::{Config, IngressWay, Role};
use crate::inspect::{NeighbourState, RouteKind};

/// What a tunnel adds to a packet.
const OVERHEAD: u32 = 20;
/// The largest packets that come over the Internet.
const INTERNET_MTU: u32 = 1500;

/// All checks of the ways packets take.
pub(super) fn check(relay: &Relay) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(tunnel_address(relay));
    findings.extend(service_address(relay));
    findings.extend(sizes(relay));
    findings.extend(vips(relay));
    findings.extend(routes(relay));
    findings.push(ipv6(relay));
    for link in &relay.links {
        if let Some(found) = &link.found {
            findings.extend(settings(relay, link, found));
        }
    }
    let tunnel = &relay.config.tunnel.interface;
    for peer in &relay.peers {
        findings.extend(reach(relay, "peer", tunnel, peer));
    }
    let edge = edge(&relay.config);
    for backend in &relay.backends {
        findings.extend(reach(relay, "backend", edge, backend));
    }
    findings
}

fn edge(config: &Config) -> &str {
    match &config.role {
        Role::Ingress(ingress) => &ingress.public,
        Role::Egress(egress) => &egress.service,
    }
}

fn found<'a>(relay: &'a Relay, name: &str) -> Option<&'a Found> {
    relay.links.iter().find(|link| link.name == name)?.found.as_ref()
}

fn tunnel_address(relay: &Relay) -> Option<Finding> {
    let (local, name) = (relay.config.tunnel.local, &relay.config.tunnel.interface);
    let tunnel = found(relay, name)?;
    let holder = relay.addresses.iter().find(|address| address.address == local);
    Some(match holder {
        Some(holder) if holder.ifindex == tunnel.interface.ifindex => {
            Finding::ok("tunnel_address", name, format!("has {local}/{}", holder.prefix_length))
        }
        Some(_) => {
            Finding::ok("tunnel_address", name, format!("{local} is on another interface of this host"))
        }
        None => Finding::fail(
            "tunnel_address",
            name,
            format!("tunnel.local {local} is not an address of this host: nobody can send to it"),
            format!("ip address add {local}/24 dev {name} (with the prefix length of that network)"),
        ),
    })
}

/// An egress relay without an address towards the backends cannot tell them anything.
fn service_address(relay: &Relay) -> Option<Finding> {
    let Role::Egress(egress) = &relay.config.role else { return None };
    let name = &egress.service;
    let ifindex = found(relay, name)?.interface.ifindex;
    Some(match relay.addresses.iter().find(|address| address.ifindex == ifindex) {
        Some(own) => {
            Finding::ok("service_address", name, format!("has {}/{}", own.address, own.prefix_length))
        }
        None => Finding::fail(
            "service_address",
            name,
            "it has no address: it cannot ask for backends by ARP, nor tell them the MTU of the tunnel",
            format!(
                "ip address add ADDRESS/24 dev {name} (in the network of the backends, as their gateway)"
            ),
        ),
    })
}

fn sizes(relay: &Relay) -> Option<Finding> {
    let config = &relay.config;
    let name = &config.tunnel.interface;
    let link = found(relay, name)?.interface.mtu;
    let outer = config.tunnel.mtu.map_or(link, u32::from);
    if outer > link {
        return Some(Finding::fail(
            "tunnel_mtu",
            name,
            format!("tunnel.mtu is {outer}, the interface takes {link}: larger outer packets are lost"),
            format!("ip link set dev {name} mtu {outer}, or set tunnel.mtu = {link}"),
        ));
    }
    let edge = edge(config);
    let mut inner = found(relay, edge)?.interface.mtu;
    if edge == name {
        // On one arm the MTU cannot be larger for one side: what counts is what comes in.
        inner = inner.min(INTERNET_MTU);
    }
    let wanted = inner + OVERHEAD;
    if wanted <= outer {
        let message = format!("outer packets up to {outer} bytes carry packets of {inner} bytes from {edge}");
        return Some(Finding::ok("tunnel_mtu", name, message));
    }
    let inner = outer.saturating_sub(OVERHEAD);
    Some(Finding::warn(
        "tunnel_mtu",
        name,
        format!(
            "packets over {inner} bytes do not fit: TCP is held to that by its MSS, senders of larger packets are told \
             (Fragmentation Needed), larger ones that may be fragmented are dropped"
        ),
        format!("ip link set dev {name} mtu {wanted} (on every device between the relays)"),
    ))
}

fn vips(relay: &Relay) -> Vec<Finding> {
    let Role::Ingress(ingress) = &relay.config.role else { return Vec::new() };
    let mut vips: Vec<Ipv4Addr> = ingress
        .services
        .iter()
        .flat_map(|service| match &service.way {
            IngressWay::Translate { vip, .. } => std::slice::from_ref(vip),
            IngressWay::Keep { vips, .. } => vips.as_slice(),
        })
        .copied()
        .collect();
    vips.sort_unstable();
    vips.dedup();
    vips.into_iter().map(|vip| held(relay, &ingress.public, vip)).collect()
}

fn held(relay: &Relay, public: &str, vip: Ipv4Addr) -> Finding {
    if relay.addresses.iter().any(|address| address.address == vip) {
        return Finding::ok(
            "vip",
            vip.to_string(),
            "an address of this host: the kernel answers ARP and echo for it",
        );
    }
    let fix = format!("ip address add {vip}/32 dev {public}");
    let on_link = found(relay, public).is_some_and(|public| {
        relay.addresses.iter().any(|address| {
            let mask = u32::MAX.checked_shl(32 - u32::from(address.prefix_length)).unwrap_or(0);
            address.ifindex == public.interface.ifindex
                && address.address.to_bits() & mask == vip.to_bits() & mask
        })
    });
    if on_link {
        let message =
            format!("in the network of {public}, but no address of this host: nobody answers ARP for it");
        Finding::fail("vip", vip.to_string(), message, fix)
    } else {
        let message = "no address of this host: packets come only where a router sends them here, and pings go unanswered";
        Finding::warn("vip", vip.to_string(), message, fix)
    }
}

/// How `sysctl` writes a setting: in names of interfaces dots become slashes.
fn key(interface: &str, setting: &str) -> String {
    format!("net.ipv4.conf.{}.{setting}", interface.replace('.', "/"))
}

fn settings(relay: &Relay, link: &Link, found: &Found) -> Vec<Finding> {
    let (name, own, all) = (&link.name, &found.settings, &relay.all);
    let mut findings = Vec::new();
    if own.rp_filter.max(all.rp_filter) == 1 {
        findings.push(Finding::warn(
            "rp_filter",
            name,
            "strict: what is left to the kernel (pings to a VIP, answers to health checks) is dropped where the way back \
             differs; what is relayed is not touched",
            format!("sysctl -w {}=2", key(name, "rp_filter")),
        ));
    } else {
        findings.push(Finding::ok("rp_filter", name, "not strict"));
    }
    findings.push(bypass(name, *own));
    findings.extend(redirects(name, *own, *all));
    findings
}

/// The program of an ingress relay asks the kernel for the ways to clients, about the loopback interface, which must forward.
fn routes(relay: &Relay) -> Option<Finding> {
    if !matches!(relay.config.role, Role::Ingress(_)) {
        return None;
    }
    Some(if relay.loopback.forwarding {
        Finding::ok("routes", "lo", "forwarding is on: the kernel tells the program the ways to clients")
    } else if relay.running.programs.is_empty() {
        Finding::ok("routes", "lo", "forwarding is off: run switches it on")
    } else {
        Finding::fail(
            "routes",
            "lo",
            "forwarding is off: the kernel tells no ways to clients, every answer to them is dropped (reason \
             forwarding_disabled)",
            "sysctl -w net.ipv4.conf.lo.forwarding=1",
        )
    })
}

/// IPv6 is left to the kernel: a host that routes it leads past the relay.
fn ipv6(relay: &Relay) -> Finding {
    if !relay.ipv6_forwarding {
        return Finding::ok("ipv6_forwarding", "", "off: no IPv6 goes past the relay");
    }
    Finding::warn(
        "ipv6_forwarding",
        "",
        "on: IPv6 is not relayed, the kernel routes it past the relay, and so can show the service's hosts",
        "sysctl -w net.ipv6.conf.all.forwarding=0",
    )
}

/// Nothing needs the kernel to route between the interfaces.
fn bypass(name: &str, own: Settings) -> Finding {
    if !own.forwarding {
        return Finding::ok("forwarding", name, "off: nothing goes past the relay");
    }
    Finding::warn(
        "forwarding",
        name,
        "on: the kernel routes what is not relayed, and everything while no program is attached, and so can show the addresses \
         the relay hides",
        format!("sysctl -w {}=0", key(name, "forwarding")),
    )
}

fn redirects(name: &str, own: Settings, all: Settings) -> [Finding; 2] {
    let sends = own.send_redirects || all.send_redirects;
    // A host that forwards believes redirects only if both settings say so, any other one if either does.
    let accepts = if own.forwarding {
        own.accept_redirects && all.accept_redirects
    } else {
        own.accept_redirects || all.accept_redirects
    };
    let judge = |check, bad: bool, breaks: &str, fine: &str| {
        if bad {
            let fix = format!("sysctl -w {}=0 {}=0", key("all", check), key(name, check));
            Finding::warn(check, name, breaks, fix)
        } else {
            Finding::ok(check, name, fine)
        }
    };
    [
        judge(
            "send_redirects",
            sends,
            "the kernel may tell senders of other next hops, and so show addresses that are to stay hidden",
            "the kernel tells senders of no other next hops",
        ),
        judge(
            "accept_redirects",
            accepts,
            "anybody on the link may change this host's routes",
            "nobody on the link can change this host's routes",
        ),
    ]
}

/// How a peer or backend can be reached over the interface it belongs to.
fn reach(relay: &Relay, check: &'static str, interface: &str, target: &Reach) -> Vec<Finding> {
    let subject = format!("{} ({})", target.name, target.address);
    let fail = |message: String, fix: String| vec![Finding::fail(check, &subject, message, fix)];
    let address = target.address;
    let Some(route) = &target.route else {
        return fail(
            "there is no route to it, or one that refuses it: everything for it is dropped".to_owned(),
            format!("ip route replace {address} dev {interface} (or via GATEWAY dev {interface})"),
        );
    };
    match route.kind {
        RouteKind::Unicast => {}
        RouteKind::Local => {
            return fail(
                format!("{address} is an address of this host itself"),
                format!("correct the address in the configuration, or: ip address del {address} dev DEV"),
            );
        }
        RouteKind::Other => {
            return fail(
                "its route refuses packets: everything for it is dropped".to_owned(),
                format!("ip route get {address}, and remove that route"),
            );
        }
    }
    let leaves = relay.interfaces.iter().find(|candidate| candidate.ifindex == route.ifindex);
    let leaves = leaves.map_or_else(|| format!("#{}", route.ifindex), |found| found.name.clone());
    if leaves != interface {
        return fail(
            format!(
                "its route leaves by {leaves}, not by {interface}: what comes from it is taken for a stranger's"
            ),
            format!("ip route replace {address} dev {interface} (or via GATEWAY dev {interface})"),
        );
    }
    let hop = route.gateway.unwrap_or(address);
    let mut findings = vec![match target.neighbour {
        Some(NeighbourState::Known) => {
            let via =
                route.gateway.map_or_else(|| "on the link".to_owned(), |gateway| format!("via {gateway}"));
            Finding::ok(check, &subject, format!("{via} of {leaves}"))
        }
        Some(NeighbourState::Failed) => Finding::fail(
            check,
            &subject,
            format!("{hop} answers no ARP request on {leaves}: everything for it is dropped"),
            format!(
                "start that host, or correct its address; watch with: ip neighbour show to {hop} dev {leaves}"
            ),
        ),
        Some(NeighbourState::Asked) | None => Finding::warn(
            check,
            &subject,
            format!(
                "the link-layer address of {hop} on {leaves} is not known yet; `xdp-relay run` asks for it"
            ),
            format!("ping -c1 -I {leaves} {hop}"),
        ),
    }];
    findings.extend(echoes(relay, &subject, interface, target));
    findings
}

fn echoes(relay: &Relay, subject: &str, interface: &str, target: &Reach) -> Option<Finding> {
    let echo = target.echo?;
    let outer = outer_mtu(relay, interface)?;
    let address = target.address;
    Some(match (echo.small, echo.full) {
        (true, true) => Finding::ok("path_mtu", subject, format!("packets of {outer} bytes reach it whole")),
        (true, false) => Finding::fail(
            "path_mtu",
            subject,
            format!("it answers small packets but none of {outer} bytes: large packets vanish in the tunnel"),
            format!(
                "find the size that passes (ping -M do -s {} {address}, less each time) and set tunnel.mtu to 28 more; or raise the MTU on the way",
                outer.saturating_sub(28)
            ),
        ),
        (false, _) => Finding::warn(
            "path_mtu",
            subject,
            "it answers no echo request: whether large packets reach it is unknown",
            format!("allow ICMP echo between the relays, or look there: ping -M do {address}"),
        ),
    })
}

/// Size of the largest outer packet.
pub(super) fn outer_mtu(relay: &Relay, tunnel: &str) -> Option<u32> {
    let link = found(relay, tunnel)?.interface.mtu;
    Some(relay.config.tunnel.mtu.map_or(link, u32::from))
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
