//! Where relays are driven: a network namespace with one veth pair, which ends with the thread that made it and those that this
//! thread has started.

use std::ffi::CStr;
use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::addresses::{BACKEND, LOCAL, PEER, VIP};
use crate::process::output_of;

/// The near end, `relay`, is where the packets come in; what is sent from it arrives at the far end.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Of the near end.
    pub ifindex: u32,
    /// Of the near end.
    pub near_mac: [u8; 6],
    /// Of the far end, where the other relay and the service's host are.
    pub far_mac: [u8; 6],
}

/// The interface that packets come in on.
pub const NEAR: &str = "relay";
/// The other end of the link.
pub const FAR: &str = "far";

impl Stage {
    /// Moves the calling thread into a namespace of its own, and builds the stage there.
    pub fn build() -> Result<Self> {
        // SAFETY: the call takes flags alone, and moves only the calling thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            bail!("cannot make a network namespace: {}: run as root", std::io::Error::last_os_error());
        }
        // A queue for each CPU, so that two CPUs that send do not wait for each other.
        let queues = ["numtxqueues", CPUS, "numrxqueues", CPUS].join(" ");
        ip(&format!("link add {NEAR} {queues} type veth peer name {FAR} {queues}"))?;
        for device in ["lo", NEAR, FAR] {
            ip(&format!("link set {device} up"))?;
        }
        ip(&format!("address add {LOCAL}/24 dev {NEAR}"))?;
        ip(&format!("address add {VIP}/32 dev {NEAR}"))?;
        ip(&format!("route add default via {PEER}"))?;
        fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1").context("cannot let routes be asked for")?;
        let far_mac = mac(FAR)?;
        let text = far_mac.map(|byte| format!("{byte:02x}")).join(":");
        for neighbour in [PEER, BACKEND] {
            ip(&format!("neigh add {neighbour} lladdr {text} nud permanent dev {NEAR}"))?;
        }
        Ok(Self { ifindex: ifindex(c"relay")?, near_mac: mac(NEAR)?, far_mac })
    }
}

const CPUS: &str = "2";

/// Runs a test on a thread of its own, with which its stage ends.
pub fn apart(test: fn() -> Result<()>) -> Result<()> {
    thread::spawn(test).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Keeps the calling thread on a CPU: test runs happen on the CPU that asks for them.
pub fn stay_on(cpu: usize) -> Result<()> {
    // SAFETY: a CPU set is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid, and the macro checks the number.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is valid and of the size given; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
        bail!("cannot stay on CPU {cpu}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

/// The CPU that the calling thread is on.
pub fn this_cpu() -> Result<usize> {
    // SAFETY: the call takes no pointer.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).context("cannot tell the current CPU")
}

fn ip(words: &str) -> Result<String> {
    output_of(Command::new("ip").args(words.split_whitespace()))
}

fn mac(device: &str) -> Result<[u8; 6]> {
    let links: serde_json::Value = serde_json::from_str(&ip(&format!("-j link show {device}"))?)?;
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
