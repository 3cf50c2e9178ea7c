//! The maps of a loaded object, filled and read as the controller does it.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use bytemuck::Zeroable as _;
use relay_abi::bucket::Bucket;
use relay_abi::counters::Counters;
use relay_abi::event::EventBudget;
use relay_abi::flow::FlowKey;
use relay_abi::limits::{BUCKETS, REASON_CODES};
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::{Image, maps as names};

use super::CPU;
use crate::cases::accounts::Words as AccountWords;
use crate::cases::flow::Words;
use crate::cases::relay::Relay;

/// `BPF_F_MMAPABLE`, which the arrays that hold images and lists have.
const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_INNER_MAP`, which those that hold lists have as well.
const ANY_LENGTH: u32 = 1 << 12;

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

    /// Fills the tables that an ingress relay keeps of its clients. What this CPU is to have counted, it alone has.
    pub(super) fn set_accounts(&mut self, words: &AccountWords) -> Result<()> {
        self.write(names::CLIENTS, &words.clients)?;
        self.write(names::CLIENT_DETAILS, &words.details)?;
        self.write(names::PREFIXES, &words.prefixes)?;
        self.write(names::SERVICE_STATES, &words.states)?;
        let mut counters = self.service_counters()?;
        for (index, words) in (0..).zip(&words.counters) {
            let mut values = vec![[0; 22]; cpus()?];
            values[CPU] = *words;
            let values = PerCpuValues::try_from(values).context("a value for each CPU")?;
            counters.set(index, values, 0).context("write SERVICE_COUNTERS")?;
        }
        Ok(())
    }

    pub(super) fn accounts(&mut self) -> Result<AccountWords> {
        let words = AccountWords::empty();
        let counters = self.service_counters()?;
        let sum = |index| -> Result<[u64; 22]> {
            let mut sum = [0_u64; 22];
            for cpu in counters.get(&index, 0).context("read SERVICE_COUNTERS")?.iter() {
                sum = std::array::from_fn(|field| sum[field].wrapping_add(cpu[field]));
            }
            Ok(sum)
        };
        let counters = (0..words.counters.len() as u32).map(sum).collect::<Result<_>>()?;
        Ok(AccountWords {
            clients: self.read(names::CLIENTS, words.clients.len())?,
            details: self.read(names::CLIENT_DETAILS, words.details.len())?,
            prefixes: self.read(names::PREFIXES, words.prefixes.len())?,
            states: self.read(names::SERVICE_STATES, words.states.len())?,
            counters,
        })
    }

    pub(super) fn set_fair_costs(&mut self, costs: &[u64]) -> Result<()> {
        self.write(names::FAIR_COSTS, costs)
    }

    /// Puts a list in force.
    pub(super) fn set_list(&mut self, slot: u32, lines: &[[u64; 8]]) -> Result<()> {
        let mut array = Array::<_, [u64; 8]>::create(lines.len() as u32, MMAPABLE | ANY_LENGTH)
            .context("make an array for a list")?;
        for (index, line) in (0..).zip(lines) {
            array.set(index, line, 0).context("write a list")?;
        }
        let mut lists: ArrayOfMaps<_, Array<MapData, [u64; 8]>> =
            self.open(names::LISTS)?.try_into().context("open LISTS")?;
        lists.set(slot, &array, 0).context("publish a list")
    }

    /// Lets every reason be reported again.
    pub(super) fn clear_event_budgets(&mut self) -> Result<()> {
        (0..REASON_CODES as u32)
            .try_for_each(|code| self.per_cpu(names::EVENT_BUDGETS, code, EventBudget::default()))
    }

    fn service_counters(&mut self) -> Result<PerCpuArray<&mut MapData, [u64; 22]>> {
        self.open(names::SERVICE_COUNTERS)?.try_into().context("open SERVICE_COUNTERS")
    }

    fn write<V: aya::Pod>(&mut self, name: &str, values: &[V]) -> Result<()> {
        let mut array: Array<_, V> = self.open(name)?.try_into().with_context(|| format!("open {name}"))?;
        (0..).zip(values).try_for_each(|(index, value)| {
            array.set(index, value, 0).with_context(|| format!("write {name}"))
        })
    }

    fn read<V: aya::Pod>(&mut self, name: &str, count: usize) -> Result<Vec<V>> {
        let array: Array<_, V> = self.open(name)?.try_into().with_context(|| format!("open {name}"))?;
        (0..count as u32).map(|index| array.get(&index, 0).with_context(|| format!("read {name}"))).collect()
    }

    fn open(&mut self, name: &str) -> Result<&mut Map> {
        self.0.map_mut(name).with_context(|| format!("the object lacks the map {name}"))
    }

    /// Writes the same value for each CPU.
    fn per_cpu<V: aya::Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        let values = PerCpuValues::try_from(vec![value; cpus()?]).context("a value for each CPU")?;
        let mut map: PerCpuArray<_, V> =
            self.open(name)?.try_into().with_context(|| format!("open {name}"))?;
        map.set(index, values, 0).with_context(|| format!("write {name}"))
    }
}

fn cpus() -> Result<usize> {
    aya::util::nr_cpus().map_err(|(path, error)| anyhow::anyhow!("read {path}: {error}"))
}

/// Leaves in a hash map exactly these entries.
fn replace<K: aya::Pod, V: aya::Pod>(mut map: HashMap<&mut MapData, K, V>, entries: &[(K, V)]) -> Result<()> {
    let old: Vec<K> = map.keys().collect::<Result<_, MapError>>().context("list a map")?;
    for key in &old {
        map.remove(key).context("empty a map")?;
    }
    entries.iter().try_for_each(|(key, value)| map.insert(key, value, 0)).context("fill a map")
}
