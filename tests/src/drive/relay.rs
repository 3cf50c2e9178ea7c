//! A relay's program with its maps filled as the controller does it, but attached to nothing.

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, ArrayOfMaps, Map, MapData, PerCpuArray};
use aya::programs::ProgramFd;
use aya::{Ebpf, EbpfLoader};
use relay_abi::counters::{Counter, Counters};
use relay_abi::limits::CLIENT_WAYS;
use relay_abi::{Image, Reason, Verdict, maps};
use relay_userspace::compile::{self, Link, Links, NextHops, ResolvedHop};
use relay_userspace::config::{Secrets, examine_bytes};
use relay_userspace::load::OBJECT;

use super::addresses::{BACKEND, LOCAL, PEER, VIP};
use super::driver::{fd, run_once, xdp};
use super::packets::{TCP_PORT, UDP_PORT};
use super::stage::{NEAR, Stage};

/// A loaded relay.
pub struct Relay {
    object: Ebpf,
    program: &'static str,
}

/// Index of the UDP service at an ingress relay.
pub const UDP_SERVICE: u8 = 0;
/// Index of the TCP service at an ingress relay.
pub const TCP_SERVICE: u8 = 1;

impl Relay {
    /// An ingress relay with a service over UDP and one over TCP. `policy` is added to the configuration.
    pub fn ingress(stage: &Stage, policy: &str) -> Result<Self> {
        let image = compiled(stage, &ingress_config(policy))?;
        Self::load(maps::PROGRAM_INGRESS, &image)
    }

    /// An egress relay of a service over UDP.
    pub fn egress(stage: &Stage) -> Result<Self> {
        let image = compiled(stage, &egress_config())?;
        Self::load(maps::PROGRAM_EGRESS, &image)
    }

    fn load(program: &'static str, image: &Image) -> Result<Self> {
        let globals = &image.globals;
        let client_sets = globals.client_mask + 1;
        let mut object = EbpfLoader::new()
            .map_max_entries(maps::FLOWS, globals.flow_mask + 1)
            .map_max_entries(maps::CLIENTS, client_sets)
            .map_max_entries(maps::CLIENT_DETAILS, client_sets * CLIENT_WAYS as u32)
            .map_max_entries(maps::PREFIXES, globals.prefix_mask + 1)
            .load(OBJECT)
            .context("cannot load the maps of the relay")?;
        xdp(&mut object, program)?.load().with_context(|| format!("cannot load the program {program}"))?;
        let mut relay = Self { object, program };
        relay.publish(image)?;
        Ok(relay)
    }

    fn publish(&mut self, image: &Image) -> Result<()> {
        let mut inner = Array::<MapData, Image>::create(1, MMAPABLE)?;
        inner.set(0, image, 0)?;
        let mut generations: ArrayOfMaps<_, Array<MapData, Image>> =
            self.map_mut(maps::GENERATIONS)?.try_into()?;
        generations.set(0, &inner, 0)?;
        Ok(())
    }

    /// The program.
    pub fn program(&mut self) -> Result<ProgramFd> {
        fd(xdp(&mut self.object, self.program)?)
    }

    /// Runs the program on one frame: the action it returns, and the frame it leaves.
    pub fn run_once(&mut self, frame: &[u8], stage: &Stage) -> Result<(u32, Vec<u8>)> {
        run_once(xdp(&mut self.object, self.program)?, frame, stage)
    }

    /// What ended with a reason, on all CPUs.
    pub fn ended(&self, reason: Reason) -> Result<Counter> {
        let counters: PerCpuArray<_, Counters> = self.map(maps::COUNTERS)?.try_into()?;
        let mut sum = Counter::default();
        for each in counters.get(&0, 0)?.iter() {
            for counter in Verdict::ALL.map(|verdict| each.counter(verdict, reason)) {
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
        }
        Ok(sum)
    }

    /// A map of the object.
    pub(super) fn map(&self, name: &str) -> Result<&Map> {
        self.object.map(name).with_context(|| format!("the object has no map {name}"))
    }

    /// A map of the object, to change it.
    pub(super) fn map_mut(&mut self, name: &str) -> Result<&mut Map> {
        self.object.map_mut(name).with_context(|| format!("the object has no map {name}"))
    }
}

/// The image of a configuration, as the controller makes it once it knows links and next hops.
pub(super) fn compiled(stage: &Stage, text: &str) -> Result<Box<Image>> {
    let key = tempfile::NamedTempFile::new()?;
    std::fs::write(&key, "000102030405060708090a0b0c0d0e0f\n")?;
    let text = text.replace("KEY_FILE", &key.path().display().to_string());
    let report = examine_bytes("driven.toml".into(), text.into_bytes(), Secrets::Required);
    let Some(config) = report.config() else {
        bail!("the configuration is wrong:\n{}", report.json());
    };
    let link = Link { ifindex: stage.ifindex, mac: stage.near_mac, mtu: 1500, name: NEAR.to_owned() };
    let links = Links {
        edge: link.clone(),
        tunnel: link,
        own_addresses: vec![LOCAL, VIP],
        edge_address: LOCAL,
        clock: relay_userspace::jiffies::clock()?,
    };
    let hop =
        ResolvedHop { ifindex: stage.ifindex, destination_mac: stage.far_mac, source_mac: stage.near_mac };
    let hops: NextHops = [(PEER, hop), (BACKEND, hop)].into_iter().collect();
    Ok(compile::compile(config, &links, &hops, TABLE_SEED, 1)?)
}

pub(super) fn ingress_config(policy: &str) -> String {
    let service = |protocol: &str, port: u16| {
        format!(
            r#"
[[services]]
name = "{protocol}"
vips = ["{VIP}"]
protocol = "{protocol}"
port = {port}
[[services.backends]]
name = "backend-1"
address = "{BACKEND}"
"#
        )
    };
    format!(
        r#"
role = "ingress"
node = "driven"
hash_key_file = "KEY_FILE"
[interfaces]
public = "{NEAR}"
tunnel = "{NEAR}"
mode = "driver"
[tunnel]
local = "{LOCAL}"
[[peers]]
name = "egress-1"
address = "{PEER}"
{policy}
{}{}
"#,
        service("udp", UDP_PORT),
        service("tcp", TCP_PORT)
    )
}

fn egress_config() -> String {
    format!(
        r#"
role = "egress"
node = "driven"
[interfaces]
service = "{NEAR}"
tunnel = "{NEAR}"
mode = "driver"
[tunnel]
local = "{LOCAL}"
[[peers]]
name = "ingress-1"
address = "{PEER}"
[[services]]
name = "udp"
protocol = "udp"
[[services.backends]]
name = "backend-1"
address = "{BACKEND}"
port = {UDP_PORT}
"#
    )
}

/// `BPF_F_MMAPABLE`, which arrays of images and lists have.
const MMAPABLE: u32 = 1 << 10;

/// Any: tables are the same in each run.
pub(super) const TABLE_SEED: u64 = 0x5eed_5eed_5eed_5eed;
