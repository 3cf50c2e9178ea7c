//! The published topology in network namespaces: built for real (ARP, routes, offloads), removed by a guard.

pub mod addresses;
pub mod namespace;
mod pass_program;
pub mod plan;
mod wire_up;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

pub use namespace::Namespace;
pub use plan::{End, Link, Options, Place, Plan};

use crate::process::output_of;

/// Namespaces of tests are `xr<process id>-<counter>-<host>`: unique, and known to be abandoned when the process is gone.
const TEST_PREFIX: &str = "xr";
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A standing topology. Dropping it, also in a panic, removes it.
#[derive(Debug)]
pub struct Topology {
    name: String,
    plan: Plan,
    options: Options,
    places: BTreeMap<Place, Namespace>,
    directory: PathBuf,
    keep: bool,
}

impl Topology {
    /// A topology with a name of its own.
    pub fn build(options: Options) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self::build_named(&format!("{TEST_PREFIX}{}-{number}", std::process::id()), options)
    }

    /// A topology with a chosen name, for one that outlives its maker; [`remove_named`] removes it.
    pub fn build_named(name: &str, options: Options) -> Result<Self> {
        let plan = Plan::of(&options);
        let directory = std::env::temp_dir().join(name);
        if directory.exists() || names_of(name)?.next().is_some() {
            bail!("a topology named {name} stands already; remove it first");
        }
        std::fs::create_dir(&directory)
            .with_context(|| format!("create the directory {}", directory.display()))?;
        // From here on the guard cleans up whatever exists.
        let mut topology = Self {
            name: name.to_owned(),
            places: BTreeMap::new(),
            directory,
            keep: false,
            plan: plan.clone(),
            options,
        };
        for place in plan.places() {
            let namespace = Namespace::create(&format!("{name}-{}", place.label()))?;
            topology.places.insert(place, namespace);
        }
        wire_up::wire_up(&topology)?;
        Ok(topology)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A directory for files of this topology: configurations, logs, captures. Removed with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn has(&self, place: Place) -> bool {
        self.places.contains_key(&place)
    }

    pub fn at(&self, place: Place) -> Result<&Namespace> {
        self.places
            .get(&place)
            .with_context(|| format!("this topology has no {}; its options leave it out", place.label()))
    }

    pub fn namespaces(&self) -> impl Iterator<Item = (Place, &Namespace)> {
        self.places.iter().map(|(place, namespace)| (*place, namespace))
    }

    /// The device of a relay named for its arm (`public`, `tunnel` or `service`), or the only one of a one-armed relay.
    pub fn relay_device(&self, place: Place, arm: &str) -> Result<&'static str> {
        let devices = self.devices(place);
        let named = devices.iter().find(|device| **device == arm || **device == plan::ONE_ARM);
        named.copied().with_context(|| format!("{} has no {arm} device", place.label()))
    }

    /// The devices of a relay that carry its program: one or two.
    pub fn devices(&self, place: Place) -> Vec<&'static str> {
        let ends = self.plan.links.iter().flat_map(|link| &link.ends);
        ends.filter(|end| end.place == place).map(|end| end.device).collect()
    }

    /// The port of the switch on which the frames of the link to `place` can be captured.
    pub fn switch_port(&self, place: Place) -> Result<String> {
        let link = self
            .plan
            .links
            .iter()
            .find(|link| link.needs_switch() && link.ends.iter().any(|end| end.place == place));
        let link = link.with_context(|| format!("no switch is on a link of {}", place.label()))?;
        Ok(wire_up::port_name(link, place))
    }

    /// Makes a watched tunnel narrow: this many bits a second go towards `place`, and what waits longer than 50 ms is lost, as
    /// on a real link.
    pub fn narrow_tunnel(&self, place: Place, bits_per_second: u64) -> Result<()> {
        let link = self.plan.links.iter().find(|link| link.name == "tunnel" && link.needs_switch());
        let port = wire_up::port_name(link.context("no switch is on the tunnel")?, place);
        let rate = format!("{bits_per_second}bit");
        let mut command = self.at(Place::Switch)?.command("tc");
        command.args(["qdisc", "replace", "dev", &port, "root", "tbf"]);
        output_of(command.args(["rate", &rate, "burst", "16kb", "latency", "50ms"]))?;
        Ok(())
    }

    /// Where the relays of this topology pin: their own directory, gone with the topology.
    pub fn pin_directory(&self) -> PathBuf {
        pin_directory_of(&self.name)
    }

    /// Leaves everything standing when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = remove_named(&self.name) {
            eprintln!("{error:#}");
        }
    }
}

/// Removes the topology of this name, with all that runs in it; nothing to remove is no error.
pub fn remove_named(name: &str) -> Result<()> {
    for namespace in names_of(name)? {
        Namespace::existing(&namespace)?.remove()?;
    }
    let pins = pin_directory_of(name);
    if pins.exists() {
        std::fs::remove_dir_all(&pins).with_context(|| format!("remove the pins in {}", pins.display()))?;
    }
    let directory = std::env::temp_dir().join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Ok(())
}

/// Removes topologies of test processes that were killed before their guards could.
pub fn remove_abandoned() -> Result<()> {
    let mut abandoned: Vec<String> = Namespace::all_names()?
        .iter()
        .filter_map(|name| owner_of(name))
        .filter(|(owner, _)| !Path::new(&format!("/proc/{owner}")).exists())
        .map(|(_, name)| name)
        .collect();
    abandoned.sort();
    abandoned.dedup();
    abandoned.iter().try_for_each(|name| remove_named(name))
}

/// The process that owns a namespace of a test, and the topology's name.
fn owner_of(namespace: &str) -> Option<(u32, String)> {
    let mut parts = namespace.splitn(3, '-');
    let owner = parts.next()?.strip_prefix(TEST_PREFIX)?.parse().ok()?;
    let number: u32 = parts.next()?.parse().ok()?;
    parts.next()?;
    Some((owner, format!("{TEST_PREFIX}{owner}-{number}")))
}

fn names_of(topology: &str) -> Result<impl Iterator<Item = String>> {
    let own: Vec<String> = Place::ALL.iter().map(|place| format!("{topology}-{}", place.label())).collect();
    Ok(Namespace::all_names()?.into_iter().filter(move |name| own.contains(name)))
}

fn pin_directory_of(name: &str) -> PathBuf {
    PathBuf::from("/sys/fs/bpf").join(name)
}

/// The BPF filesystem, mounted if it is not: the relays pin there.
pub fn mount_bpffs() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    if mounts.lines().any(|line| line.split_whitespace().nth(1) == Some("/sys/fs/bpf")) {
        return Ok(());
    }
    output_of(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_have_an_owner() {
        assert_eq!(owner_of("xr12-3-client-router"), Some((12, "xr12-3".to_owned())));
        assert_eq!(owner_of("xr12-3"), None);
        assert_eq!(owner_of("xrelay-3-client"), None);
        assert_eq!(owner_of("demo-client"), None);
    }
}
