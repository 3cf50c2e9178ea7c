//! A relay's program with its maps filled, as the controller would, but attached to nothing.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, ArrayOfMaps, MapData, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use relay_abi::counters::Counters;
use relay_abi::{Image, Reason, Verdict, maps};
use relay_userspace::compile::{self, Link, Links, NextHops, ResolvedHop};
use relay_userspace::config::{Secrets, examine_bytes};

use crate::packets::{BACKEND, LOCAL, PEER, VIP};
use crate::stage::{NEAR, Stage};

pub(crate) struct Relay {
    ebpf: Ebpf,
    program: &'static str,
}

impl Relay {
    pub(crate) fn load(object: &Path, ingress: bool, stage: &Stage) -> Result<Self> {
        let bytes = std::fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::FLOWS, FLOW_SETS)
            .load(&bytes)
            .context("cannot load the maps of the relay")?;
        let program = if ingress { maps::PROGRAM_INGRESS } else { maps::PROGRAM_EGRESS };
        let image = image(ingress, stage)?;
        publish(&mut ebpf, &image)?;
        xdp(&mut ebpf, program)?.load().with_context(|| format!("cannot load the program {program}"))?;
        Ok(Self { ebpf, program })
    }

    pub(crate) fn program(&mut self) -> Result<&mut Xdp> {
        xdp(&mut self.ebpf, self.program)
    }

    /// Packets that ended with a reason, on all CPUs.
    pub(crate) fn ended(&self, reason: Reason) -> Result<u64> {
        let counters: PerCpuArray<_, Counters> =
            self.ebpf.map(maps::COUNTERS).context("no counters")?.try_into()?;
        let values = counters.get(&0, 0)?;
        let of = |each: &Counters| Verdict::ALL.map(|verdict| each.counter(verdict, reason).packets);
        Ok(values.iter().flat_map(of).sum())
    }
}

pub(crate) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

fn publish(ebpf: &mut Ebpf, image: &Image) -> Result<()> {
    const MMAPABLE: u32 = 1 << 10;
    let mut inner = Array::<MapData, Image>::create(1, MMAPABLE)?;
    inner.set(0, image, 0)?;
    let generations = ebpf.map_mut(maps::GENERATIONS).context("no generations")?;
    let mut generations: ArrayOfMaps<_, Array<MapData, Image>> = generations.try_into()?;
    generations.set(0, &inner, 0)?;
    Ok(())
}

fn image(ingress: bool, stage: &Stage) -> Result<Box<Image>> {
    let key = tempfile::NamedTempFile::new()?;
    std::fs::write(&key, "000102030405060708090a0b0c0d0e0f\n")?;
    let text = if ingress { ingress_config(&key.path().display().to_string()) } else { egress_config() };
    let report = examine_bytes("bench.toml".into(), text.into_bytes(), Secrets::Required);
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
    Ok(compile::compile(config, &links, &hops, 0x5eed_5eed_5eed_5eed, 1)?)
}

fn ingress_config(key_file: &str) -> String {
    format!(
        r#"
role = "ingress"
node = "bench"
hash_key_file = "{key_file}"
[interfaces]
public = "{NEAR}"
tunnel = "{NEAR}"
mode = "driver"
[tunnel]
local = "{LOCAL}"
[[peers]]
name = "egress-1"
address = "{PEER}"
[[services]]
name = "udp"
vips = ["{VIP}"]
protocol = "udp"
port = 5000
[[services.backends]]
name = "backend-1"
address = "{BACKEND}"
"#
    )
}

fn egress_config() -> String {
    format!(
        r#"
role = "egress"
node = "bench"
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
port = 5000
"#
    )
}

/// As the configuration's default number of flows asks for.
const FLOW_SETS: u32 = 1 << 18;
