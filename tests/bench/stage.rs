//! Where it is measured: a network namespace of this process with one veth pair, which ends with the process.

use std::ffi::CStr;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::packets::{BACKEND, LOCAL, PEER, VIP};

/// The near end, `relay`, is where the packets come in; what is sent from it arrives at the far end.
pub(crate) struct Stage {
    pub(crate) ifindex: u32,
    pub(crate) near_mac: [u8; 6],
    pub(crate) far_mac: [u8; 6],
}

pub(crate) const NEAR: &str = "relay";
pub(crate) const FAR: &str = "far";

impl Stage {
    pub(crate) fn build() -> Result<Self> {
        // SAFETY: the process has one thread; the call takes no pointer.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            bail!("cannot make a network namespace: {}: run as root", std::io::Error::last_os_error());
        }
        pin_to_one_cpu()?;
        ip(&["link", "add", NEAR, "type", "veth", "peer", "name", FAR])?;
        for device in [NEAR, FAR] {
            ip(&["link", "set", device, "up"])?;
        }
        ip(&["address", "add", &format!("{LOCAL}/24"), "dev", NEAR])?;
        ip(&["address", "add", &format!("{VIP}/32"), "dev", NEAR])?;
        ip(&["route", "add", "198.18.0.0/15", "via", &PEER.to_string()])?;
        fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1").context("cannot let routes be asked for")?;
        let far_mac = mac(FAR)?;
        let text = far_mac.map(|byte| format!("{byte:02x}")).join(":");
        for neighbour in [PEER, BACKEND] {
            ip(&["neigh", "add", &neighbour.to_string(), "lladdr", &text, "nud", "permanent", "dev", NEAR])?;
        }
        Ok(Self { ifindex: ifindex(c"relay")?, near_mac: mac(NEAR)?, far_mac })
    }
}

/// Test runs happen on the CPU that asks for them.
fn pin_to_one_cpu() -> Result<()> {
    // SAFETY: a CPU set is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the call takes no pointer.
    let current = unsafe { libc::sched_getcpu() };
    let cpu = usize::try_from(current).context("cannot tell the current CPU")?;
    // SAFETY: the set is valid and the CPU within its size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is valid and of the size given.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
        bail!("cannot stay on one CPU: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn mac(device: &str) -> Result<[u8; 6]> {
    let links: serde_json::Value = serde_json::from_str(&ip(&["-j", "link", "show", device])?)?;
    let text = links[0]["address"].as_str().context("no link-layer address")?;
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_bytes| anyhow::anyhow!("{text} is no Ethernet address"))
}

fn ifindex(device: &CStr) -> Result<u32> {
    // SAFETY: the name ends with a zero byte.
    match unsafe { libc::if_nametoindex(device.as_ptr()) } {
        0 => bail!("cannot find the interface {}", device.to_string_lossy()),
        index => Ok(index),
    }
}
