//! The maps. Their names are those of `relay_abi::maps`, and of their pins.

use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use relay_abi::Image;
use relay_abi::bucket::Bucket;
use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::counters::Counters;
use relay_abi::event::EventBudget;
use relay_abi::flow::{FlowKey, FlowSet};
use relay_abi::limit::PrefixSet;
use relay_abi::limits;
use relay_abi::list::{self, Line};
use relay_abi::meta::Meta;
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::service_state::{ServiceCounters, ServiceState};

/// Memory-mappable: user space reads it without system calls, and its values start at a page.
const MMAPABLE: usize = 1 << 10;
/// Inner maps need not have as many entries as the template: `BPF_F_INNER_MAP`.
const ANY_LENGTH: usize = 1 << 12;

#[btf_map]
pub(crate) static GENERATIONS: ArrayOfMaps<Array<Image, 1, MMAPABLE>, 1> = ArrayOfMaps::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static FLOWS: Array<FlowSet, { limits::FLOW_SETS_DEFAULT as usize }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static FLOW_SPILL: LruHashMap<FlowKey, u64, { limits::FLOW_SPILL_ENTRIES as usize }> =
    LruHashMap::new();

#[btf_map]
pub(crate) static NEIGHBOURS: HashMap<NeighbourKey, Neighbour, { limits::NEIGHBOURS as usize }> =
    HashMap::new();

#[btf_map]
pub(crate) static NEIGHBOUR_MISSES: RingBuf<(), { limits::NEIGHBOUR_MISS_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub(crate) static ICMP_BUCKETS: PerCpuArray<Bucket, { limits::BUCKETS as usize }> = PerCpuArray::new();

#[btf_map]
pub(crate) static CLIENTS: Array<ClientSet, { limits::CLIENT_SETS_DEFAULT as usize }, MMAPABLE> =
    Array::new();

#[btf_map]
pub(crate) static CLIENT_DETAILS: Array<
    ClientDetails,
    { limits::CLIENT_SETS_DEFAULT as usize * limits::CLIENT_WAYS },
    MMAPABLE,
> = Array::new();

#[btf_map]
pub(crate) static PREFIXES: Array<PrefixSet, { limits::PREFIX_SETS_DEFAULT as usize }, MMAPABLE> =
    Array::new();

#[btf_map]
pub(crate) static SERVICE_STATES: Array<ServiceState, { limits::SERVICES }, MMAPABLE> = Array::new();

#[btf_map]
pub(crate) static SERVICE_COUNTERS: PerCpuArray<ServiceCounters, { limits::SERVICES }> = PerCpuArray::new();

#[btf_map]
pub(crate) static FAIR_COSTS: Array<u64, { limits::SERVICES }, MMAPABLE> = Array::new();

/// A list: an array of any length.
pub(crate) type List = Array<Line, 1, { MMAPABLE | ANY_LENGTH }>;

#[btf_map]
pub(crate) static LISTS: ArrayOfMaps<List, { list::slot::COUNT }> = ArrayOfMaps::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<(), { limits::EVENT_RING_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub(crate) static EVENT_BUDGETS: PerCpuArray<EventBudget, { limits::REASON_CODES }> = PerCpuArray::new();

#[btf_map]
pub(crate) static META: Array<Meta, 1> = Array::new();
