//! The straightforward program to compare with, set up as the relay: from the same image.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::ProgramFd;
use ipnet::Ipv4Net;
use relay_abi::Image;
use relay_abi::image::{Backend, Peer, Service};

use super::driver::{fd, load_object, run_once, xdp};
use super::relay::{compiled, ingress_config};
use super::stage::Stage;

#[path = "../../../relay-ebpf/src/driver/kernel_lru_values.rs"]
mod values;

use values::{FORWARDED, ServiceKey};

/// A value of one of the maps, as bytes.
macro_rules! plain {
    ($($name:ident = $type:ty;)*) => {$(
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        struct $name($type);
        // SAFETY: words and bytes without padding.
        unsafe impl aya::Pod for $name {}
    )*};
}

plain! {
    ServiceValue = Service;
    BackendValue = Backend;
    PeerValue = Peer;
}

// SAFETY: words only, no padding.
unsafe impl aya::Pod for ServiceKey {}

/// The program with its maps filled.
pub struct KernelLru {
    object: Ebpf,
}

impl KernelLru {
    /// Loads it, with the services of an ingress relay, `rate` packets a second for each client, and blocked prefixes.
    pub fn load(stage: &Stage, rate: u64, blocked: &[Ipv4Net]) -> Result<Self> {
        let image = compiled(stage, &ingress_config(""))?;
        let mut object = load_object()?;
        xdp(&mut object, PROGRAM)?.load().with_context(|| format!("cannot load the program {PROGRAM}"))?;
        let mut lru = Self { object };
        lru.fill(&image, rate).context("cannot fill the maps of the program to compare with")?;
        lru.block(blocked).context("cannot fill the trie of blocked prefixes")?;
        Ok(lru)
    }

    fn fill(&mut self, image: &Image, rate: u64) -> Result<()> {
        let mut services: HashMap<_, ServiceKey, ServiceValue> = self.map("LRU_SERVICES")?.try_into()?;
        for service in image.services.iter().filter(|service| service.protocol != 0) {
            let key = ServiceKey::new(service.vip, service.port, service.protocol);
            let mut service = *service;
            // This program counts in nanoseconds.
            service.client.packet = 1_000_000_000 / rate;
            services.insert(key, ServiceValue(service), 0)?;
        }
        let mut backends: Array<_, BackendValue> = self.map("LRU_BACKENDS")?.try_into()?;
        for (index, backend) in (0..).zip(&image.backends) {
            backends.set(index, BackendValue(*backend), 0)?;
        }
        let mut peers: Array<_, PeerValue> = self.map("LRU_PEERS")?.try_into()?;
        for (index, peer) in (0..).zip(&image.peers) {
            peers.set(index, PeerValue(*peer), 0)?;
        }
        let mut ring: Array<_, u32> = self.map("LRU_RING")?.try_into()?;
        for (index, slot) in (0..).zip(&image.ring) {
            ring.set(index, u32::from(*slot), 0)?;
        }
        let mut own: Array<_, u32> = self.map("LRU_TUNNEL_ADDRESS")?.try_into()?;
        own.set(0, image.globals.tunnel_address.word(), 0)?;
        Ok(())
    }

    fn block(&mut self, blocked: &[Ipv4Net]) -> Result<()> {
        let mut trie: LpmTrie<_, u32, u32> = self.map("LRU_BLOCKED")?.try_into()?;
        for prefix in blocked {
            let address = u32::from_ne_bytes(prefix.network().octets());
            trie.insert(&Key::new(u32::from(prefix.prefix_len()), address), 0, 0)?;
        }
        Ok(())
    }

    /// The program.
    pub fn program(&mut self) -> Result<ProgramFd> {
        fd(xdp(&mut self.object, PROGRAM)?)
    }

    /// Runs the program on one frame: the action it returns, and the frame it leaves.
    pub fn run_once(&mut self, frame: &[u8], stage: &Stage) -> Result<(u32, Vec<u8>)> {
        run_once(xdp(&mut self.object, PROGRAM)?, frame, stage)
    }

    /// Packets that were forwarded.
    pub fn forwarded(&mut self) -> Result<u64> {
        let counters: PerCpuArray<_, u64> = self.map("LRU_COUNTERS")?.try_into()?;
        Ok(counters.get(&FORWARDED, 0)?.iter().sum())
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.object.map_mut(name).with_context(|| format!("the object has no map {name}"))
    }
}

const PROGRAM: &str = "kernel_lru";
