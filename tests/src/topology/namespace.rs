//! One network namespace: made, entered, run programs in, removed. It knows nothing of the relay.

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::process::output_of;

/// Where iproute2 keeps the names; entering by this path leaves the mount namespace, and so bpffs, alone.
const NAMES: &str = "/run/netns";

/// A named namespace. It is a name only: cloning it makes no second namespace, dropping it removes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it, with loopback up and IPv6 off, so that nobody talks unasked.
    pub(super) fn create(name: &str) -> Result<Self> {
        output_of(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self { name: name.to_owned() };
        namespace.enter(|| {
            for scope in ["all", "default"] {
                write_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
            }
            Ok(())
        })?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// A namespace that something else made.
    pub fn existing(name: &str) -> Result<Self> {
        let namespace = Self { name: name.to_owned() };
        if !namespace.path().exists() {
            bail!("there is no network namespace {name}; `ip netns` lists those that are");
        }
        Ok(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(NAMES).join(&self.name)
    }

    /// The names of all namespaces of this machine.
    pub fn all_names() -> Result<Vec<String>> {
        if !PathBuf::from(NAMES).exists() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(NAMES).with_context(|| format!("list {NAMES}"))?;
        entries
            .map(|entry| {
                let entry = entry.with_context(|| format!("list {NAMES}"))?;
                Ok(entry.file_name().to_string_lossy().into_owned())
            })
            .collect()
    }

    /// Kills what still runs inside and removes the name. Only for namespaces this crate made: whatever runs in one
    /// was started for it.
    pub(super) fn remove(&self) -> Result<()> {
        let inside = output_of(Command::new("ip").args(["netns", "pids", &self.name]))?;
        for id in inside.split_whitespace().filter_map(|word| word.parse::<i32>().ok()) {
            // SAFETY: takes two numbers. A process that ended meanwhile is no error here.
            unsafe { libc::kill(id, libc::SIGKILL) };
        }
        output_of(Command::new("ip").args(["netns", "del", &self.name]))?;
        Ok(())
    }

    /// A command that will run `program` inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Runs `ip` inside and gives its output.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        output_of(self.command("ip").args(arguments))
    }

    /// Runs several `ip` commands inside at once.
    pub fn ip_batch(&self, lines: &[String]) -> Result<()> {
        for line in lines {
            output_of(self.command("ip").args(line.split_whitespace()))?;
        }
        Ok(())
    }

    /// Runs `work` on a thread of its own inside, to its end.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.set()?;
                work()
            });
            thread.join().map_err(|panic| panicked(&*panic))?
        })
    }

    /// Starts `work` on a thread of its own inside.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let namespace = self.clone();
        std::thread::spawn(move || {
            namespace.set()?;
            work()
        })
    }

    /// Writes a value under /proc/sys as seen inside.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.enter(|| write_sysctl(key, value))
    }

    /// What `ip -j -d link show` says of one interface.
    pub fn link(&self, device: &str) -> Result<Value> {
        let text = self.ip(&["-j", "-d", "-s", "link", "show", "dev", device])?;
        let mut links: Vec<Value> =
            serde_json::from_str(&text).with_context(|| format!("read `ip -j link` of {device}"))?;
        links.pop().with_context(|| format!("`ip -j link` shows no {device} in {}", self.name))
    }

    pub fn mac(&self, device: &str) -> Result<[u8; 6]> {
        let link = self.link(device)?;
        let text = link["address"].as_str().with_context(|| format!("{device} has no MAC address"))?;
        parse_mac(text).with_context(|| format!("read the MAC address {text} of {device}"))
    }

    pub fn set_mac(&self, device: &str, mac: [u8; 6]) -> Result<()> {
        let text = mac.map(|byte| format!("{byte:02x}")).join(":");
        self.ip(&["link", "set", "dev", device, "address", &text])?;
        Ok(())
    }

    /// One counter of the kernel's own statistics, as in `Tcp: RetransSegs`.
    pub fn kernel_counter(&self, protocol: &str, name: &str) -> Result<i64> {
        let text = self.enter(|| {
            let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").context("read net/snmp")?;
            let more =
                std::fs::read_to_string("/proc/thread-self/net/netstat").context("read net/netstat")?;
            Ok(snmp + &more)
        })?;
        let prefix = format!("{protocol}:");
        let mut rows = text.lines().filter(|line| line.starts_with(&prefix));
        let (names, values) = rows
            .next()
            .zip(rows.next())
            .with_context(|| format!("the kernel has no statistics named {protocol}"))?;
        let position = names.split_whitespace().position(|word| word == name);
        position
            .and_then(|at| values.split_whitespace().nth(at))
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("the kernel has no counter {protocol} {name}"))
    }

    /// Moves the calling thread inside. Only for threads made for that.
    fn set(&self) -> Result<()> {
        let path = self.path();
        let file =
            std::fs::File::open(&path).with_context(|| format!("open the namespace {}", path.display()))?;
        // SAFETY: the descriptor is open during the call; only the calling thread moves.
        if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("enter the namespace {}", self.name));
        }
        Ok(())
    }
}

fn write_sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{key}");
    std::fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    anyhow!("a thread inside a namespace panicked: {text}")
}

pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> =
        text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_has_six_parts() {
        assert_eq!(parse_mac("02:00:00:00:00:0a"), Some([2, 0, 0, 0, 0, 10]));
        assert_eq!(parse_mac("02:00:00:00:00"), None);
        assert_eq!(parse_mac("02:00:00:00:00:zz"), None);
    }
}
