//! Turns a plan into devices, addresses, routes and settings of the kernel.

use anyhow::Result;

use super::Topology;
use super::namespace::Namespace;
use super::pass_program::PassProgram;
use super::plan::{End, Link, Place};
use crate::process::output_of;

/// Packets that wait when the other end's ring is full, as in front of a network card; a veth without a queue drops them.
const QUEUE: &str = "1000";
/// Bytes above which arriving segments are not merged.
const NO_MERGING: &str = "1";

pub(super) fn wire_up(topology: &Topology) -> Result<()> {
    let pass = PassProgram::load(&topology.name)?;
    for link in &topology.plan.links {
        if link.needs_switch() {
            make_switch(topology, link, &pass)?;
        } else {
            make_cable(topology, link)?;
        }
        for end in &link.ends {
            set_up_end(topology.at(end.place)?, end, link.mtu, &pass)?;
        }
    }
    for route in &topology.plan.routes {
        let mut words = vec!["route", "add"];
        words.extend(route.text.split_whitespace());
        topology.at(route.place)?.ip(&words)?;
    }
    // Relays do not route, unless a test asks for it: what is not relayed goes nowhere.
    let relays = [Place::Ingress, Place::Egress].into_iter().filter(|_| topology.options.open_routing);
    for place in [Place::ClientRouter, Place::ServiceRouter].into_iter().chain(relays) {
        if topology.has(place) {
            topology.at(place)?.sysctl("net/ipv4/ip_forward", "1")?;
            topology.at(place)?.sysctl("net/ipv4/conf/all/send_redirects", "0")?;
        }
    }
    if topology.options.service_holds_vip {
        let service = topology.at(Place::Service)?;
        // As a server behind a direct-return balancer must: hold the address, never answer ARP for it.
        service.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        service.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
        service.ip(&["address", "add", &format!("{}/32", super::addresses::VIP), "dev", "lo"])?;
    }
    Ok(())
}

/// The switch's end of the cable to `place`.
pub(super) fn port_name(link: &Link, place: Place) -> String {
    // At most 15 characters: a letter for the link, then the host.
    let initial: String = link.name.chars().take(1).collect();
    let mut name = format!("{initial}-{}", place.label());
    name.truncate(15);
    name
}

fn make_cable(topology: &Topology, link: &Link) -> Result<()> {
    if let [one, other] = link.ends.as_slice() {
        connect(topology.at(one.place)?, one.device, topology.at(other.place)?, other.device)?;
    }
    Ok(())
}

fn make_switch(topology: &Topology, link: &Link, pass: &PassProgram) -> Result<()> {
    let switch = topology.at(Place::Switch)?;
    let mtu = link.mtu.to_string();
    switch.ip(&["link", "add", link.name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
    for end in &link.ends {
        let port = port_name(link, end.place);
        connect(topology.at(end.place)?, end.device, switch, &port)?;
        switch.ip(&["link", "set", "dev", &port, "mtu", &mtu, "master", link.name, "up"])?;
        make_far_end(switch, &port, pass)?;
    }
    switch.ip(&["link", "set", "dev", link.name, "mtu", &mtu, "up"])?;
    Ok(())
}

fn connect(one: &Namespace, device: &str, other: &Namespace, other_device: &str) -> Result<()> {
    one.ip(&["link", "add", device, "type", "veth", "peer", "name", other_device, "netns", other.name()])?;
    Ok(())
}

fn set_up_end(namespace: &Namespace, end: &End, mtu: u32, pass: &PassProgram) -> Result<()> {
    for address in &end.addresses {
        namespace.ip(&["address", "add", address, "dev", end.device])?;
    }
    namespace.ip(&["link", "set", "dev", end.device, "mtu", &mtu.to_string(), "up"])?;
    if end.place.is_relay() {
        // GRO stays off here: the counter of frames that XDP saw must start with the program, not before.
        output_of(namespace.command("ethtool").args(["-K", end.device, "tx", "off", "txvlan", "off"]))?;
        return Ok(());
    }
    make_far_end(namespace, end.device, pass)
}

/// What XDP on the other end of a veth needs: complete checksums in the packet, VLAN tags in the packet, and a receiver that
/// polls and is woken. Segments are not merged on arrival, so that a capture shows each frame as it was on the wire.
fn make_far_end(namespace: &Namespace, device: &str, pass: &PassProgram) -> Result<()> {
    let mut offloads = namespace.command("ethtool");
    output_of(offloads.args(["-K", device, "tx", "off", "txvlan", "off", "tso", "off", "gso", "off"]))?;
    pass.attach(namespace, device)?;
    namespace.ip(&["link", "set", "dev", device, "gro_max_size", NO_MERGING])?;
    let mut queue = namespace.command("tc");
    output_of(queue.args(["qdisc", "replace", "dev", device, "root", "pfifo", "limit", QUEUE]))?;
    Ok(())
}
