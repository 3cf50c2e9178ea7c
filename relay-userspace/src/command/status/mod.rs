//! `xdp-relay status`: what a node is and does right now, read from its pins.

mod clients;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use relay_abi::image::{NextHop, Service, translate};
use relay_abi::{Image, Ipv4, Mac, maps};
use serde::Serialize;

use crate::command::output;
use crate::command::table::Table;
use crate::exit::{Exit, Failure};
use crate::inspect::{Interface, Kernel};
use crate::lock;
use crate::pinned::{Node, Occupancy, PinnedLink, Selection};

const EXAMPLES: &str = "\
Examples:
  xdp-relay status
  xdp-relay status --json | jq -r '.peers[] | select(.resolved | not) | .address'

Ends with 0 whenever the pins can be read, also while no controller runs; with 4 if no relay has pins, 8 if they may
not be read.";

/// Show what a relay is and does right now
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    selection: Selection,

    /// Print one JSON object
    #[arg(short, long)]
    json: bool,
}

impl Status {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let state = State::of(&self.selection.open()?)?;
            if self.json {
                output::object(&state)?;
            } else {
                output::text(&state.text())?;
            }
            Ok(Exit::Ok)
        })
    }
}

/// Everything shown.
#[derive(Debug, Serialize)]
struct State {
    schema_version: u32,
    node: String,
    role: &'static str,
    abi_version: u32,
    /// Number of the configuration in force; it rises with every change, also of a next hop.
    generation: u64,
    created: String,
    uptime_seconds: u64,
    controller: Controller,
    tunnel: Tunnel,
    /// False: the interfaces are in another network namespace, where nothing can be said of them from here.
    in_this_network_namespace: bool,
    interfaces: Vec<Attachment>,
    peers: Vec<Peer>,
    services: Vec<ServiceRow>,
    backends: Vec<Backend>,
    /// Egress relays only.
    flows: Option<Occupancy>,
    /// Ingress relays only.
    clients: Option<clients::Clients>,
    maps: Vec<MapRow>,
    memory_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Controller {
    running: bool,
    pid: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Tunnel {
    local: Ipv4Addr,
    mtu: u16,
}

#[derive(Debug, Serialize)]
struct Attachment {
    name: String,
    ifindex: u32,
    /// `driver` or `generic`; null when the program is not on the interface.
    xdp_mode: Option<&'static str>,
    program_id: u32,
    /// Whether the interface is on and has a link.
    up: bool,
}

/// Where packets for an address go.
#[derive(Debug, Serialize)]
struct Hop {
    resolved: bool,
    interface: Option<String>,
    mac: Option<String>,
}

#[derive(Debug, Serialize)]
struct Peer {
    index: usize,
    address: Ipv4Addr,
    #[serde(flatten)]
    hop: Hop,
}

#[derive(Debug, Serialize)]
struct ServiceRow {
    vip: Ipv4Addr,
    /// Null: any port.
    port: Option<u16>,
    protocol: &'static str,
    translate: &'static str,
    /// What is picked from: backends, or on an ingress relay with `translate = "none"` peers.
    picks: &'static str,
    choices: Vec<u16>,
    ring_slots: u32,
}

#[derive(Debug, Serialize)]
struct Backend {
    index: usize,
    address: Ipv4Addr,
    /// Null: the port stays as it is.
    port: Option<u16>,
    /// Ingress relays: the peers that reach it.
    peers: Option<Vec<u8>>,
    /// Egress relays: the way to it.
    #[serde(flatten)]
    hop: Option<Hop>,
}

#[derive(Debug, Serialize)]
struct MapRow {
    name: &'static str,
    memory_bytes: u64,
}

impl State {
    fn of(node: &Node) -> Result<Self, Failure> {
        let image = node.image()?;
        let links = node.links()?;
        let (here, interfaces) = seen_by(&links, interfaces()?);
        let egress = node.role() == "egress";
        let created = node.meta().created_seconds;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let pid = lock::holder_of(node.pins())?;
        let maps = maps::ALL
            .iter()
            .map(|name| Ok(MapRow { name, memory_bytes: node.map(name)?.memory_bytes()? }))
            .collect::<Result<Vec<MapRow>, Failure>>()?;
        Ok(Self {
            schema_version: 1,
            node: node.pins().node().to_owned(),
            role: node.role(),
            abi_version: node.meta().abi_version,
            generation: image.globals.generation,
            created: humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(created)).to_string(),
            uptime_seconds: now.saturating_sub(created),
            controller: Controller { running: pid.is_some(), pid },
            tunnel: Tunnel { local: address(image.globals.tunnel_address), mtu: image.globals.tunnel_mtu },
            in_this_network_namespace: here,
            interfaces: attachments(links, &interfaces),
            peers: peers(&image, &interfaces),
            services: services(&image, egress),
            backends: backends(&image, egress, &interfaces),
            flows: if egress { Some(node.occupancy()?) } else { None },
            clients: clients::Clients::of(node)?,
            memory_bytes: maps.iter().map(|map| map.memory_bytes).sum::<u64>() + size_of::<Image>() as u64,
            maps,
        })
    }

    fn text(&self) -> String {
        let controller = match self.controller.pid {
            Some(pid) => format!("running (process {pid})"),
            None => "not running; the data plane works on, but next hops are no longer kept fresh".to_owned(),
        };
        let uptime = humantime::format_duration(Duration::from_secs(self.uptime_seconds));
        let mut text = format!(
            "node        {} ({} relay)\ncontroller  {controller}\ngeneration  {}\ncreated     {} ({uptime} ago)\ntunnel      {}, packets up to {} bytes\nmemory      {} KiB of maps\n",
            self.node,
            self.role,
            self.generation,
            self.created,
            self.tunnel.local,
            self.tunnel.mtu,
            self.memory_bytes.div_ceil(1024),
        );
        if let Some(flows) = &self.flows {
            text.push_str(&format!(
                "flows       {} of {} entries used, {} answered; {} of {} in the spill table\n",
                flows.used_entries,
                flows.capacity_entries,
                flows.answered_entries,
                flows.spilled_entries,
                flows.spill_capacity_entries,
            ));
        }
        if let Some(clients) = &self.clients {
            text.push_str(&clients.line());
        }
        if !self.in_this_network_namespace {
            text.push_str(
                "interfaces  in another network namespace; to see them: nsenter --net=FILE xdp-relay status\n",
            );
        }
        let mut add = |table: Table| {
            text.push('\n');
            text.push_str(&table.text());
        };
        let mut table = Table::new(&["interface", "xdp", ">program", "link"]);
        for interface in &self.interfaces {
            table.row([
                interface.name.clone(),
                interface.xdp_mode.unwrap_or("not attached").into(),
                interface.program_id.to_string(),
                if interface.up { "up" } else { "down" }.into(),
            ]);
        }
        add(table);
        let mut table = Table::new(&[">peer", "address", "next hop"]);
        for peer in &self.peers {
            table.row([peer.index.to_string(), peer.address.to_string(), peer.hop.text()]);
        }
        add(table);
        if !self.services.is_empty() {
            let mut table = Table::new(&["service", "protocol", ">port", "translate", "picks from"]);
            for service in &self.services {
                table.row([
                    service.vip.to_string(),
                    service.protocol.into(),
                    port(service.port),
                    service.translate.into(),
                    format!("{} {}", service.picks, list(&service.choices)),
                ]);
            }
            add(table);
        }
        if let Some(clients) = &self.clients {
            add(clients.table());
        }
        if !self.backends.is_empty() {
            let mut table = Table::new(&[">backend", "address", ">port", "way"]);
            for backend in &self.backends {
                let way = match (&backend.hop, &backend.peers) {
                    (Some(hop), _) => hop.text(),
                    (None, Some(peers)) => format!("peers {}", list(peers)),
                    (None, None) => String::new(),
                };
                table.row([backend.index.to_string(), backend.address.to_string(), port(backend.port), way]);
            }
            add(table);
        }
        text
    }
}

impl Hop {
    fn of(hop: &NextHop, interfaces: &[Interface]) -> Self {
        if hop.ifindex == 0 {
            return Self { resolved: false, interface: None, mac: None };
        }
        let name = interfaces.iter().find(|interface| interface.ifindex == hop.ifindex);
        let stations: [u8; 12] = bytemuck::cast(hop.stations);
        let [a, b, c, d, e, f, ..] = stations;
        Self {
            resolved: true,
            interface: Some(name.map_or_else(|| format!("#{}", hop.ifindex), |found| found.name.clone())),
            mac: Some(format!("{:?}", Mac([a, b, c, d, e, f]))),
        }
    }

    fn text(&self) -> String {
        match (&self.mac, &self.interface) {
            (Some(mac), Some(interface)) => format!("{mac} on {interface}"),
            _ => "not resolved".to_owned(),
        }
    }
}

fn interfaces() -> Result<Vec<Interface>, Failure> {
    Kernel::open()
        .and_then(|mut kernel| kernel.interfaces())
        .map_err(|error| Failure::io("ask the kernel for its interfaces", &error))
}

/// Whether the relay's interfaces are in this network namespace, and the interfaces by which to name what has an index.
/// The same index means another interface in another namespace.
fn seen_by(links: &[PinnedLink], ours: Vec<Interface>) -> (bool, Vec<Interface>) {
    let attached = || links.iter().filter(|link| link.ifindex != 0);
    let here = attached().next().is_none()
        || attached().any(|link| {
            let found = ours.iter().find(|interface| interface.ifindex == link.ifindex);
            let xdp = found.and_then(|interface| interface.xdp);
            xdp.is_some_and(|xdp| xdp.program_id == link.program_id)
        });
    if here {
        return (true, ours);
    }
    let named = |link: &PinnedLink| Interface {
        ifindex: link.ifindex,
        name: link.interface.clone(),
        ..Interface::default()
    };
    (false, attached().map(named).collect())
}

fn attachments(links: Vec<PinnedLink>, interfaces: &[Interface]) -> Vec<Attachment> {
    let row = |link: PinnedLink| {
        let interface = interfaces.iter().find(|interface| interface.ifindex == link.ifindex);
        let xdp = interface.and_then(|interface| interface.xdp);
        Attachment {
            // The interface may have been renamed since.
            name: interface.map_or(link.interface, |interface| interface.name.clone()),
            ifindex: link.ifindex,
            xdp_mode: xdp.filter(|xdp| xdp.program_id == link.program_id).map(|xdp| xdp.mode.label()),
            program_id: link.program_id,
            up: interface.is_some_and(|interface| interface.up && interface.carrier),
        }
    };
    links.into_iter().map(row).collect()
}

fn peers(image: &Image, interfaces: &[Interface]) -> Vec<Peer> {
    let used = image.peers.iter().enumerate().filter(|(_, peer)| peer.address != Ipv4::ZERO);
    used.map(|(index, peer)| Peer {
        index,
        address: address(peer.address),
        hop: Hop::of(&peer.next_hop, interfaces),
    })
    .collect()
}

fn services(image: &Image, egress: bool) -> Vec<ServiceRow> {
    let used = image.services.iter().filter(|service| service.vip != Ipv4::ZERO);
    used.map(|service| ServiceRow {
        vip: address(service.vip),
        port: specific(service.port.value()),
        protocol: if service.protocol == 6 { "tcp" } else { "udp" },
        translate: if service.translate == translate::NONE { "none" } else { "ingress" },
        picks: if service.translate == translate::NONE && !egress { "peers" } else { "backends" },
        choices: choices(image, service),
        ring_slots: service.ring_length,
    })
    .collect()
}

fn choices(image: &Image, service: &Service) -> Vec<u16> {
    let start = service.ring_start as usize;
    let slots = image.ring.get(start..start + service.ring_length as usize).unwrap_or(&[]);
    slots.iter().copied().collect::<BTreeSet<u16>>().into_iter().collect()
}

fn backends(image: &Image, egress: bool, interfaces: &[Interface]) -> Vec<Backend> {
    let used = image.backends.iter().enumerate().filter(|(_, backend)| backend.address != Ipv4::ZERO);
    used.map(|(index, backend)| {
        let slots = backend.peers.get(..usize::from(backend.peer_count)).unwrap_or(&[]);
        let peers: BTreeSet<u8> = slots.iter().copied().collect();
        Backend {
            index,
            address: address(backend.address),
            port: specific(backend.port.value()),
            peers: (!egress).then(|| peers.into_iter().collect()),
            hop: egress.then(|| Hop::of(&backend.next_hop, interfaces)),
        }
    })
    .collect()
}

fn address(address: Ipv4) -> Ipv4Addr {
    Ipv4Addr::from(address.0)
}

const fn specific(port: u16) -> Option<u16> {
    if port == 0 { None } else { Some(port) }
}

fn port(port: Option<u16>) -> String {
    port.map_or_else(|| "any".to_owned(), |port| port.to_string())
}

fn list<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use relay_abi::Be16;
    use relay_abi::image;

    use super::*;

    fn image() -> Box<Image> {
        let mut image = bytemuck::allocation::zeroed_box::<Image>();
        image.services[0] = Service {
            vip: Ipv4([192, 168, 100, 10]),
            port: Be16::new(443),
            protocol: 6,
            translate: translate::INGRESS,
            ring_start: 2,
            ring_length: 3,
            ..Service::zeroed()
        };
        image.ring[..6].copy_from_slice(&[9, 9, 1, 0, 1, 9]);
        image.backends[0] = image::Backend {
            address: Ipv4([192, 168, 100, 51]),
            peer_count: 2,
            peers: [0; 16],
            ..image::Backend::zeroed()
        };
        image.peers[0].address = Ipv4([10, 0, 0, 2]);
        image.peers[0].next_hop = NextHop {
            ifindex: 3,
            stations: bytemuck::cast([2_u8, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 8]),
            ..NextHop::zeroed()
        };
        image.peers[1].address = Ipv4([10, 0, 0, 3]);
        image
    }

    #[test]
    fn only_rows_in_use_are_shown() {
        let image = image();
        let services = services(&image, false);
        assert_eq!(services.len(), 1);
        assert_eq!((services[0].port, services[0].picks, services[0].ring_slots), (Some(443), "backends", 3));
        assert_eq!(services[0].choices, [0, 1]);
        let backends = backends(&image, false, &[]);
        assert_eq!((backends.len(), backends[0].port, &backends[0].peers), (1, None, &Some(vec![0])));
    }

    #[test]
    fn next_hops_are_named_by_their_interface() {
        let eth1 = Interface { ifindex: 3, name: "eth1".into(), ..Interface::default() };
        let peers = peers(&image(), &[eth1]);
        assert_eq!(peers[0].hop.text(), "02:00:00:00:00:07 on eth1");
        assert_eq!(peers[1].hop.text(), "not resolved");
        assert_eq!(Hop::of(&image().peers[0].next_hop, &[]).interface.unwrap(), "#3");
    }

    #[test]
    fn interfaces_of_another_namespace_are_not_taken_for_ours() {
        let link = |ifindex| PinnedLink { interface: "eth1".into(), ifindex, program_id: 7 };
        let other = Interface { ifindex: 3, name: "wrong".into(), ..Interface::default() };
        let (here, seen) = seen_by(&[link(3)], vec![other.clone()]);
        assert_eq!((here, seen.len(), seen[0].name.as_str()), (false, 1, "eth1"));
        // The interface is gone, so nothing is attached anywhere.
        assert!(seen_by(&[link(0)], vec![other]).0);
    }

    #[test]
    fn json_has_the_unit_in_every_key_and_flat_next_hops() {
        let json = serde_json::to_value(&peers(&image(), &[])[1]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "index": 1, "address": "10.0.0.3", "resolved": false, "interface": null, "mac": null
            })
        );
        let json = serde_json::to_value(&backends(&image(), true, &[])[0]).unwrap();
        assert_eq!(json["resolved"], false);
    }
}
