//! Asking: everything the checks judge. What cannot be found out is left out, never guessed.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use relay_abi::{Reason, Verdict};

use super::facts::{Complaint, Echo, Facts, Found, Link, Machine, Reach, Relay, Running, Settings, Wanted};
use super::routing::outer_mtu;
use crate::config::valid::{Config, EgressWay, Role};
use crate::exit::Failure;
use crate::host;
use crate::inspect::{self, Interface, Kernel, Neighbour, NeighbourState, Route, RouteKind};
use crate::pinned::Node;
use crate::pins::{self, Pins};

/// How long neighbours and peers get to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether anything may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// ARP requests for next hops, echo requests to peers.
    Allowed,
    /// Nothing at all.
    Forbidden,
}

/// Asks for everything; `config` is the configuration, if one was named.
pub fn facts(
    config: Option<Result<Config, Vec<Complaint>>>,
    pin_directory: &Path,
    sending: Sending,
) -> Result<Facts, Failure> {
    let pin_directory = match &config {
        Some(Ok(config)) => config.pin_directory.clone(),
        _ => pin_directory.to_owned(),
    };
    let relay = match config {
        None => Wanted::Nothing,
        Some(Err(complaints)) => Wanted::Unusable(complaints),
        Some(Ok(config)) => Wanted::Relay(Box::new(relay(config, sending)?)),
    };
    Ok(Facts { machine: machine(&pin_directory)?, relay })
}

fn machine(pin_directory: &Path) -> Result<Machine, Failure> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    Ok(Machine {
        release: host::kernel_release()
            .map_err(|error| Failure::io("ask for the kernel's version", &error))?,
        jit: read("/proc/sys/net/core/bpf_jit_enable").trim().parse().ok(),
        pin_directory: pin_directory.to_owned(),
        bpf_fs: pins::on_bpf_fs(pin_directory)?,
        capabilities,
    })
}

fn relay(config: Config, sending: Sending) -> Result<Relay, Failure> {
    let asked = |error: io::Error| Failure::io("ask the kernel for interfaces and routes", &error);
    let mut kernel = Kernel::open().map_err(asked)?;
    let interfaces = kernel.interfaces().map_err(asked)?;
    let addresses = kernel.addresses().map_err(asked)?;
    let links = links(&config, &interfaces);
    let mut relay = Relay {
        running: running(&config),
        all: settings("all"),
        ipv6_forwarding: setting("net/ipv6/conf/all/forwarding") != 0,
        loopback: settings("lo"),
        peers: Vec::new(),
        backends: Vec::new(),
        config,
        links,
        interfaces,
        addresses,
    };
    let peers = relay.config.peers.iter().map(|peer| (peer.name.clone(), peer.address)).collect();
    relay.peers = reaches(&mut kernel, peers, sending).map_err(asked)?;
    relay.backends = reaches(&mut kernel, backends(&relay.config), sending).map_err(asked)?;
    if sending == Sending::Allowed {
        echo(&mut relay);
    }
    Ok(relay)
}

fn links(config: &Config, interfaces: &[Interface]) -> Vec<Link> {
    let (key, edge) = match &config.role {
        Role::Ingress(ingress) => ("public", &ingress.public),
        Role::Egress(egress) => ("service", &egress.service),
    };
    let mut links = vec![link(key, edge, interfaces)];
    if config.tunnel.interface != *edge {
        links.push(link("tunnel", &config.tunnel.interface, interfaces));
    }
    links
}

fn link(key: &'static str, name: &str, interfaces: &[Interface]) -> Link {
    let found = interfaces.iter().find(|interface| interface.name == name).map(|interface| {
        let lower = interface.lower.filter(|_| !interface.peer_elsewhere);
        let other = interfaces.iter().find(|other| Some(other.ifindex) == lower);
        let vlans = interfaces
            .iter()
            .filter(|vlan| vlan.kind.as_deref() == Some("vlan") && vlan.lower == Some(interface.ifindex));
        Found {
            interface: interface.clone(),
            offloads: inspect::offloads(name).ok(),
            features: inspect::xdp_features(interface.ifindex).ok().flatten(),
            other_end: other
                .and_then(|other| Some((other.name.clone(), inspect::offloads(&other.name).ok()?))),
            vlans: vlans.map(|vlan| vlan.name.clone()).collect(),
            settings: settings(name),
        }
    });
    Link { key, name: name.to_owned(), found }
}

/// A setting that this kernel does not have is off.
fn setting(key: &str) -> u32 {
    fs::read_to_string(format!("/proc/sys/{key}")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn settings(interface: &str) -> Settings {
    let read = |name: &str| setting(&format!("net/ipv4/conf/{interface}/{name}"));
    Settings {
        rp_filter: read("rp_filter"),
        forwarding: read("forwarding") != 0,
        send_redirects: read("send_redirects") != 0,
        accept_redirects: read("accept_redirects") != 0,
    }
}

/// The backends that an egress relay delivers to, each address once.
fn backends(config: &Config) -> Vec<(String, Ipv4Addr)> {
    let Role::Egress(egress) = &config.role else { return Vec::new() };
    let mut backends: Vec<(String, Ipv4Addr)> = Vec::new();
    let mut add = |name: &str, address: Ipv4Addr| {
        if backends.iter().all(|(_, known)| *known != address) {
            backends.push((name.to_owned(), address));
        }
    };
    for service in &egress.services {
        match &service.way {
            EgressWay::Translated { backends } => {
                backends.iter().for_each(|backend| add(&backend.name, backend.address));
            }
            EgressWay::Keep { backends, .. } => {
                backends.iter().for_each(|host| add(&host.name, host.address))
            }
        }
    }
    backends
}

fn reaches(
    kernel: &mut Kernel,
    targets: Vec<(String, Ipv4Addr)>,
    sending: Sending,
) -> io::Result<Vec<Reach>> {
    let mut reaches = Vec::new();
    for (name, address) in targets {
        let route = kernel.route(address)?;
        reaches.push(Reach { name, address, route, neighbour: None, echo: None });
    }
    let unknown = |known: &[Neighbour], reach: &Reach| {
        next_hop(reach).filter(|(ifindex, hop)| state(known, *ifindex, *hop) != Some(NeighbourState::Known))
    };
    let mut known = kernel.neighbours()?;
    if sending == Sending::Allowed {
        // Those that cannot be asked for without CAP_NET_ADMIN stay unknown.
        let open: Vec<(u32, Ipv4Addr)> = reaches
            .iter()
            .filter_map(|reach| unknown(&known, reach))
            .filter(|(ifindex, hop)| kernel.resolve(*ifindex, *hop).is_ok())
            .collect();
        let step = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        while waited < PATIENCE && !open.is_empty() {
            known = kernel.neighbours()?;
            if open.iter().all(|(ifindex, hop)| state(&known, *ifindex, *hop) == Some(NeighbourState::Known))
            {
                break;
            }
            sleep(step);
            waited += step;
        }
        // The kernel goes on asking for a while; on a link a second of silence is an answer.
        for neighbour in known.iter_mut().filter(|neighbour| neighbour.state == NeighbourState::Asked) {
            if open.contains(&(neighbour.ifindex, neighbour.address)) {
                neighbour.state = NeighbourState::Failed;
            }
        }
    }
    for reach in &mut reaches {
        reach.neighbour = next_hop(reach).and_then(|(ifindex, hop)| state(&known, ifindex, hop));
    }
    Ok(reaches)
}

fn next_hop(reach: &Reach) -> Option<(u32, Ipv4Addr)> {
    let route: Route = reach.route.filter(|route| route.kind == RouteKind::Unicast)?;
    Some((route.ifindex, route.gateway.unwrap_or(reach.address)))
}

fn state(known: &[Neighbour], ifindex: u32, address: Ipv4Addr) -> Option<NeighbourState> {
    known
        .iter()
        .find(|neighbour| neighbour.ifindex == ifindex && neighbour.address == address)
        .map(|neighbour| neighbour.state)
}

/// Asks the peers whose next hop answers.
fn echo(relay: &mut Relay) {
    let Some(outer) =
        outer_mtu(relay, &relay.config.tunnel.interface).and_then(|mtu| u16::try_from(mtu).ok())
    else {
        return;
    };
    let local = relay.config.tunnel.local;
    for peer in relay.peers.iter_mut().filter(|peer| peer.neighbour == Some(NeighbourState::Known)) {
        let ask = |size| inspect::echo(local, peer.address, size, PATIENCE);
        // Not allowed to ask, or without the tunnel address: nothing is said.
        if let Ok(small) = ask(inspect::SMALLEST) {
            peer.echo = Some(Echo { small, full: small && ask(outer).unwrap_or(false) });
        }
    }
}

fn running(config: &Config) -> Running {
    let pins = Pins::new(&config.pin_directory, &config.node);
    let controller = crate::lock::holder_of(&pins).ok().flatten();
    let programs = |node: &Node| -> Vec<u32> {
        node.links().unwrap_or_default().iter().map(|link| link.program_id).collect()
    };
    let others = Pins::nodes(&config.pin_directory).unwrap_or_default();
    let others = others.into_iter().filter(|other| other.node() != config.node).filter_map(|other| {
        let name = other.node().to_owned();
        Some((name, programs(&Node::open(other).ok()?)))
    });
    let others = others.collect();
    let Ok(node) = Node::open(pins) else { return Running { controller, others, ..Running::default() } };
    let head_room = node.counters().map_or(0, |totals| {
        totals
            .rows()
            .find(|(verdict, reason, _)| (*verdict, *reason) == (Verdict::Drop, Reason::HeadRoom))
            .map_or(0, |(_, _, counter)| counter.packets)
    });
    Running { controller, programs: programs(&node), head_room_packets: head_room, others }
}
