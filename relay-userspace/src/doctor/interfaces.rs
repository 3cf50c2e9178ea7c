//! Checks of the interfaces that the configuration names.

use std::path::Path;

use super::facts::{Found, Link, Relay};
use super::finding::Finding;
use crate::config::valid::AttachMode;
use crate::inspect::XdpMode;
use crate::pins::DEFAULT_PIN_DIRECTORY;

/// Drivers known to run XDP programs natively (Linux 6.1 to 6.18), for kernels that do not tell themselves.
const NATIVE: &[&str] = &[
    "veth",
    "virtio_net",
    "tun",
    "bnxt_en",
    "ena",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "mvpp2",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "thunder-nicvf",
    "tsnep",
    "vmxnet3",
    "xen_netfront",
    "bonding",
    "atlantic",
    "fsl_dpaa2_eth",
    "fsl_enetc",
];

/// Kinds of interface that never do.
const NEVER: &[&str] =
    &["bridge", "dummy", "802.1Q VLAN Support", "macvlan", "ipvlan", "wireguard", "openvswitch", "vxlan"];

/// Above this many bytes a frame no longer fits a page beside the room XDP needs: most drivers then refuse programs
/// that cannot handle frames in several pieces, as this one cannot.
const LARGEST_MTU: u32 = 3498;

/// All checks of one interface.
pub(super) fn check(relay: &Relay, link: &Link) -> Vec<Finding> {
    let Some(found) = &link.found else { return vec![missing(relay, link)] };
    let mut findings = vec![state(link, found)];
    findings.extend(native(relay, link, found));
    findings.extend(occupied(relay, link, found));
    findings.extend(mtu(link, found));
    findings.extend(receivers(link, found));
    findings.extend(tx_checksum(link, found));
    findings.extend(vlan(link, found));
    findings.extend(lro(link, found));
    findings
}

fn missing(relay: &Relay, link: &Link) -> Finding {
    let names: Vec<&str> = relay.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    Finding::fail(
        "interface",
        &link.name,
        format!("there is no such interface; there are: {}", names.join(", ")),
        format!("correct interfaces.{} in the configuration", link.key),
    )
}

fn state(link: &Link, found: &Found) -> Finding {
    let name = &link.name;
    if !found.interface.up {
        return Finding::fail(
            "interface",
            name,
            "it is down: nothing passes",
            format!("ip link set dev {name} up"),
        );
    }
    if !found.interface.carrier {
        return Finding::fail(
            "interface",
            name,
            "it has no link: nothing passes",
            "plug in the cable, or switch on the other end: ip link set dev OTHER-END up",
        );
    }
    Finding::ok("interface", name, format!("up, MTU {}", found.interface.mtu))
}

fn native(relay: &Relay, link: &Link, found: &Found) -> Option<Finding> {
    let name = &link.name;
    let driver = found.offloads.as_ref().map_or("unknown", |offloads| offloads.driver.as_str());
    if relay.config.mode == AttachMode::Generic {
        return Some(Finding::warn(
            "native_xdp",
            name,
            "the configuration asks for generic mode: it works everywhere, and several times slower",
            "set interfaces.mode = \"driver\" if the driver can do it",
        ));
    }
    if found.interface.xdp.is_some_and(|xdp| xdp.mode == XdpMode::Driver) {
        return Some(Finding::ok("native_xdp", name, format!("driver {driver} is running a program")));
    }
    let fix = "use a card whose driver can, or set interfaces.mode = \"generic\"";
    let cannot = |why: String| Some(Finding::fail("native_xdp", name, why, fix));
    match found.features {
        Some(features) if features.native => {
            Some(Finding::ok("native_xdp", name, format!("driver {driver} says that it can")))
        }
        // A veth says no when its other end has more sending queues than it has receiving ones.
        Some(_) if driver == "veth" => Some(Finding::fail(
            "native_xdp",
            name,
            "this veth has fewer receiving queues than its other end has sending ones: it takes no program",
            format!(
                "ethtool -L {name} rx N (N: sending queues of the other end), or make the veth again with equal numbers"
            ),
        )),
        Some(_) => cannot(format!(
            "driver {driver} says that it runs no XDP programs: nothing can be attached in driver mode"
        )),
        None if NEVER.contains(&driver) => {
            cannot(format!("driver {driver} runs no XDP programs: nothing can be attached in driver mode"))
        }
        None if NATIVE.contains(&driver) => {
            Some(Finding::ok("native_xdp", name, format!("driver {driver} is known to run XDP programs")))
        }
        None => Some(Finding::warn(
            "native_xdp",
            name,
            format!(
                "driver {driver} is not known here, and this kernel does not tell; `xdp-relay run` finds out at once"
            ),
            fix,
        )),
    }
}

fn occupied(relay: &Relay, link: &Link, found: &Found) -> Option<Finding> {
    let xdp = found.interface.xdp?;
    let name = &link.name;
    if relay.running.programs.contains(&xdp.program_id) {
        let wanted = match relay.config.mode {
            AttachMode::Driver => XdpMode::Driver,
            AttachMode::Generic => XdpMode::Generic,
        };
        let mode = xdp.mode.label();
        return Some(if xdp.mode == wanted {
            Finding::ok("xdp_program", name, format!("the program of this node, in {mode} mode"))
        } else {
            Finding::warn(
                "xdp_program",
                name,
                format!(
                    "the program of this node is attached in {mode} mode, the configuration asks for {}",
                    wanted.label()
                ),
                format!("{} and start it again", unload(relay, &relay.config.node)),
            )
        });
    }
    let others = &relay.running.others;
    if let Some((other, _)) = others.iter().find(|(_, programs)| programs.contains(&xdp.program_id)) {
        return Some(Finding::fail(
            "xdp_program",
            name,
            format!("the program of the relay {other} is on it: ours cannot be attached"),
            format!("stop {other} and then: {}", unload(relay, other)),
        ));
    }
    let off = if xdp.mode == XdpMode::Generic { "xdpgeneric" } else { "xdp" };
    Some(Finding::fail(
        "xdp_program",
        name,
        format!(
            "another XDP program (number {}, {} mode) is on it: ours cannot be attached",
            xdp.program_id,
            xdp.mode.label()
        ),
        format!(
            "find its owner with `bpftool link` and `bpftool prog show id {}` and stop it; one without an owner goes by: ip link set dev {name} {off} off",
            xdp.program_id
        ),
    ))
}

fn unload(relay: &Relay, node: &str) -> String {
    let directory = &relay.config.pin_directory;
    if directory == Path::new(DEFAULT_PIN_DIRECTORY) {
        format!("xdp-relay unload --node {node}")
    } else {
        format!("xdp-relay unload --node {node} --pin-directory {}", directory.display())
    }
}

fn mtu(link: &Link, found: &Found) -> Option<Finding> {
    let (name, mtu) = (&link.name, found.interface.mtu);
    (mtu > LARGEST_MTU && found.interface.xdp.is_none()).then(|| {
        Finding::warn(
            "mtu",
            name,
            format!("MTU {mtu}: most drivers attach a program only up to about {LARGEST_MTU}"),
            format!("ip link set dev {name} mtu 1500"),
        )
    })
}

fn is_veth(found: &Found) -> bool {
    found.interface.kind.as_deref() == Some("veth")
}

/// A veth hands frames from XDP to its other end only if that has a queue for them.
fn receivers(link: &Link, found: &Found) -> Option<Finding> {
    if !is_veth(found) {
        return None;
    }
    let name = &link.name;
    let told = found.features.map(|features| features.target);
    let seen = found.other_end.as_ref().map(|(_, offloads)| offloads.gro);
    let other = found.other_end.as_ref().map_or("OTHER-END", |(other, _)| other.as_str());
    match (told, seen) {
        (Some(true), _) | (None, Some(true)) => {
            Some(Finding::ok("veth_receives", name, "the other end takes frames from XDP"))
        }
        (Some(false), _) | (None, Some(false)) => Some(Finding::fail(
            "veth_receives",
            name,
            "the other end takes no frames from XDP (it has neither GRO nor a program, such as that of a relay that runs): all that is \
             relayed over it is lost",
            format!("ethtool -K {other} gro on (in the other end's network namespace)"),
        )),
        (None, None) => Some(Finding::warn(
            "veth_receives",
            name,
            "whether the other end takes frames from XDP cannot be seen from here; it needs GRO or an XDP program",
            "ethtool -K OTHER-END gro on (in the other end's network namespace)",
        )),
    }
}

/// What comes over a veth with checksums left to a card that does not exist looks damaged once XDP has moved it.
fn tx_checksum(link: &Link, found: &Found) -> Option<Finding> {
    if !is_veth(found) {
        return None;
    }
    let name = &link.name;
    let own = found.offloads.as_ref()?;
    if let Some((other, offloads)) = &found.other_end
        && offloads.tx_checksum
    {
        return Some(Finding::fail(
            "veth_checksum",
            name,
            format!(
                "its other end {other} sends packets with unfinished checksums: relayed, they are dropped where they arrive"
            ),
            format!("ethtool -K {other} tx off"),
        ));
    }
    if own.tx_checksum {
        return Some(Finding::warn(
            "veth_checksum",
            name,
            "this end sends packets with unfinished checksums (what this host itself sends over it; an XDP program at the \
             other end would relay them damaged); the other end cannot be seen from here and must not either",
            format!("ethtool -K {name} tx off, and the same for the other end in its network namespace"),
        ));
    }
    let message = if found.other_end.is_some() {
        "both ends finish the checksums of what they send"
    } else {
        "this end finishes its checksums; the other end, not visible from here, needs `ethtool -K OTHER-END tx off` as well"
    };
    Some(Finding::ok("veth_checksum", name, message))
}

fn vlan(link: &Link, found: &Found) -> Option<Finding> {
    let name = &link.name;
    if !found.offloads.as_ref()?.rx_vlan {
        return Some(Finding::ok("vlan_offload", name, "VLAN tags are left in the frames"));
    }
    let fix = format!("ethtool -K {name} rxvlan off");
    Some(if found.vlans.is_empty() {
        Finding::warn(
            "vlan_offload",
            name,
            "VLAN tags are taken out before XDP sees the frame: a tagged frame counts as untagged",
            fix,
        )
    } else {
        Finding::fail(
            "vlan_offload",
            name,
            format!(
                "VLAN tags are taken out before XDP sees the frame, and there are VLANs on it ({}): their packets would be \
                 relayed as untagged ones",
                found.vlans.join(", ")
            ),
            fix,
        )
    })
}

fn lro(link: &Link, found: &Found) -> Option<Finding> {
    found.offloads.as_ref()?.lro.then(|| {
        Finding::fail(
            "lro",
            &link.name,
            "the card merges received packets (LRO): most drivers then refuse a program, and merged packets fit no tunnel",
            format!("ethtool -K {} lro off", link.name),
        )
    })
}

#[cfg(test)]
#[path = "interfaces_tests.rs"]
mod tests;
