//! The maps of a loaded object, filled and read as the controller does it.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use bytemuck::Zeroable as _;
use relay_abi::bucket::Bucket;
use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::counters::Counters;
use relay_abi::flow::FlowKey;
use relay_abi::limit::PrefixSet;
use relay_abi::limits::BUCKETS;
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::service_state::ServiceState;
use relay_abi::{Image, maps as names};

use crate::cases::flow::Words;
use crate::cases::relay::Relay;

/// `BPF_F_MMAPABLE`, which the arrays that hold images have.
const MMAPABLE: u32 = 1 << 10;

pub(super) struct Maps<'ebpf>(pub(super) &'ebpf mut Ebpf);

impl Maps<'_> {
    /// Puts the relay's image in force.
    pub(super) fn publish(&mut self, relay: &Relay) -> Result<()> {
        let Some(image) = &relay.image else { return Ok(()) };
        let mut array = Array::<_, Image>::create(1, MMAPABLE).context("make an array for an image")?;
        array.set(0, **image, 0).context("write an image")?;
        let mut generations: ArrayOfMaps<_, Array<MapData, Image>> =
            self.open(names::GENERATIONS)?.try_into().context("open GENERATIONS")?;
        generations.set(0, &array, 0).context("publish an image")
    }

    pub(super) fn clear_counters(&mut self) -> Result<()> {
        self.per_cpu(names::COUNTERS, 0, Counters::zeroed())
    }

    pub(super) fn counters(&mut self) -> Result<Box<Counters>> {
        let counters: PerCpuArray<_, Counters> =
            self.open(names::COUNTERS)?.try_into().context("open COUNTERS")?;
        let mut sum = Box::new(Counters::zeroed());
        for cpu in counters.get(&0, 0).context("read COUNTERS")?.iter() {
            for (sum, row) in sum.rows.iter_mut().zip(&cpu.rows) {
                sum.packets += row.packets;
                sum.bytes += row.bytes;
            }
            for (sum, tally) in sum.tallies.iter_mut().zip(&cpu.tallies) {
                *sum += tally;
            }
        }
        Ok(sum)
    }

    /// Fills all buckets: those named as said, the others with zeroes.
    pub(super) fn set_buckets(&mut self, buckets: &[(u32, Bucket)]) -> Result<()> {
        let mut all = vec![Bucket::default(); BUCKETS as usize];
        for (index, bucket) in buckets {
            all[*index as usize] = *bucket;
        }
        (0..).zip(all).try_for_each(|(index, bucket)| self.per_cpu(names::ICMP_BUCKETS, index, bucket))
    }

    /// When the bucket of the relay was filled last.
    pub(super) fn refilled(&mut self) -> Result<u64> {
        let buckets: PerCpuArray<_, Bucket> =
            self.open(names::ICMP_BUCKETS)?.try_into().context("open ICMP_BUCKETS")?;
        let values = buckets.get(&0, 0).context("read ICMP_BUCKETS")?;
        Ok(values.iter().map(|bucket| bucket.refilled).max().unwrap_or(0))
    }

    /// Fills the flow table; sets past the end of `table` are emptied.
    pub(super) fn set_flows(&mut self, table: &[Words]) -> Result<()> {
        let mut flows: Array<_, Words> = self.open(names::FLOWS)?.try_into().context("open FLOWS")?;
        for index in 0..flows.len() {
            let words = table.get(index as usize).copied().unwrap_or_default();
            flows.set(index, words, 0).context("write FLOWS")?;
        }
        Ok(())
    }

    pub(super) fn flows(&mut self) -> Result<Vec<Words>> {
        let flows: Array<_, Words> = self.open(names::FLOWS)?.try_into().context("open FLOWS")?;
        (0..flows.len()).map(|index| flows.get(&index, 0).context("read FLOWS")).collect()
    }

    /// Forgets all clients, and what was counted of services for more than this CPU.
    pub(super) fn clear_clients(&mut self) -> Result<()> {
        self.clear::<ClientSet, { size_of::<ClientSet>() / 8 }>(names::CLIENTS)?;
        self.clear::<ClientDetails, { size_of::<ClientDetails>() / 8 }>(names::CLIENT_DETAILS)?;
        self.clear::<PrefixSet, { size_of::<PrefixSet>() / 8 }>(names::PREFIXES)?;
        self.clear::<ServiceState, { size_of::<ServiceState>() / 8 }>(names::SERVICE_STATES)
    }

    /// Fills an array of values that are made of `WORDS` words with zeroes.
    fn clear<V, const WORDS: usize>(&mut self, name: &str) -> Result<()> {
        const { assert!(size_of::<V>() == 8 * WORDS) };
        let mut array: Array<_, [u64; WORDS]> =
            self.open(name)?.try_into().with_context(|| format!("open {name}"))?;
        let all = 0..array.len();
        all.into_iter()
            .try_for_each(|index| array.set(index, [0; WORDS], 0))
            .with_context(|| format!("empty {name}"))
    }

    pub(super) fn set_spilled(&mut self, flows: &[(FlowKey, u64)]) -> Result<()> {
        replace(self.open(names::FLOW_SPILL)?.try_into().context("open FLOW_SPILL")?, flows)
    }

    pub(super) fn spilled(&mut self) -> Result<Vec<(FlowKey, u64)>> {
        let map: HashMap<_, FlowKey, u64> =
            self.open(names::FLOW_SPILL)?.try_into().context("open FLOW_SPILL")?;
        map.iter().map(|flow| flow.context("read FLOW_SPILL")).collect()
    }

    pub(super) fn set_neighbours(&mut self, neighbours: &[(NeighbourKey, Neighbour)]) -> Result<()> {
        replace(self.open(names::NEIGHBOURS)?.try_into().context("open NEIGHBOURS")?, neighbours)
    }

    fn open(&mut self, name: &str) -> Result<&mut Map> {
        self.0.map_mut(name).with_context(|| format!("the object lacks the map {name}"))
    }

    /// Writes the same value for each CPU.
    fn per_cpu<V: aya::Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(path, error)| anyhow::anyhow!("read {path}: {error}"))?;
        let values = PerCpuValues::try_from(vec![value; cpus]).context("a value for each CPU")?;
        let mut map: PerCpuArray<_, V> =
            self.open(name)?.try_into().with_context(|| format!("open {name}"))?;
        map.set(index, values, 0).with_context(|| format!("write {name}"))
    }
}

/// Leaves in a hash map exactly these entries.
fn replace<K: aya::Pod, V: aya::Pod>(mut map: HashMap<&mut MapData, K, V>, entries: &[(K, V)]) -> Result<()> {
    let old: Vec<K> = map.keys().collect::<Result<_, MapError>>().context("list a map")?;
    for key in &old {
        map.remove(key).context("empty a map")?;
    }
    entries.iter().try_for_each(|(key, value)| map.insert(key, value, 0)).context("fill a map")
}
