//! The namespace of the kernel's runs: two veths, and the routes and neighbours of [`world`].

use std::ffi::CString;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cases::world::{self, EDGE, Way};
use crate::process::output_of;

/// Moves the calling thread into a new namespace and sets that up.
pub(super) fn enter() -> Result<()> {
    // SAFETY: takes flags alone, and moves only the calling thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(std::io::Error::last_os_error()).context("make a network namespace");
    }
    // Nobody is to send anything unasked.
    for scope in ["all", "default"] {
        let key = format!("net/ipv6/conf/{scope}/disable_ipv6");
        if std::path::Path::new("/proc/sys").join(&key).exists() {
            set(&key, "1")?;
        }
    }
    ip("link set lo up")?;
    for (device, station) in world::DEVICES {
        let mac = world::station(station)?.map(|byte| format!("{byte:02x}")).join(":");
        ip(&format!("link add {device} address {mac} type veth peer name {device}-far"))?;
        ip(&format!("link set {device} mtu {} up", world::LINK_MTU))?;
        ip(&format!("link set {device}-far mtu {} up", world::LINK_MTU))?;
    }
    ip(&format!("address add {}/24 dev {EDGE}", world::address("ingress_edge")?))?;
    for (name, station) in world::NEIGHBOURS {
        let mac = world::station(station)?.map(|byte| format!("{byte:02x}")).join(":");
        ip(&format!("neighbour add {} lladdr {mac} dev {EDGE} nud permanent", world::address(name)?))?;
    }
    for entry in world::ROUTES {
        let (network, bits) = entry.network;
        let prefix = format!("{}/{bits}", std::net::Ipv4Addr::from(network));
        let mtu = entry.mtu.map_or_else(String::new, |mtu| format!(" mtu lock {mtu}"));
        match entry.way {
            // The address has brought it.
            Way::Link => continue,
            Way::Through(router) => {
                ip(&format!("route add {prefix} via {} dev {EDGE}{mtu}", world::address(router)?))?
            }
            Way::Unreachable => ip(&format!("route add unreachable {prefix}"))?,
            Way::Prohibited => ip(&format!("route add prohibit {prefix}"))?,
        }
    }
    set_forwarding(true)
}

/// Whether the kernel answers for the loopback interface, about which the program asks for routes. No other interface forwards.
pub(super) fn set_forwarding(on: bool) -> Result<()> {
    set("net/ipv4/conf/lo/forwarding", if on { "1" } else { "0" })
}

/// Index of an interface in the thread's namespace.
pub(super) fn index(device: &str) -> Result<u32> {
    let name = CString::new(device).context("name an interface")?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => bail!("there is no interface {device}"),
        index => Ok(index),
    }
}

fn ip(words: &str) -> Result<()> {
    output_of(Command::new("ip").args(words.split_whitespace())).map(drop)
}

fn set(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{key}");
    std::fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}
