//! Names of the maps and programs in the object file, which are also the names of their pins.

/// `ARRAY_OF_MAPS[1]`: slot 0 holds the array that holds the [`crate::Image`] in force.
pub const GENERATIONS: &str = "GENERATIONS";
/// `PERCPU_ARRAY[1]` of [`crate::counters::Counters`].
pub const COUNTERS: &str = "COUNTERS";
/// `ARRAY` of [`crate::flow::FlowSet`], memory-mappable.
pub const FLOWS: &str = "FLOWS";
/// `LRU_HASH`: [`crate::flow::FlowKey`] to the flow's state word, for flows whose set is full.
pub const FLOW_SPILL: &str = "FLOW_SPILL";
/// `HASH`: [`crate::neighbour::NeighbourKey`] to [`crate::neighbour::Neighbour`].
pub const NEIGHBOURS: &str = "NEIGHBOURS";
/// `RINGBUF` of [`crate::neighbour::NeighbourKey`].
pub const NEIGHBOUR_MISSES: &str = "NEIGHBOUR_MISSES";
/// `PERCPU_ARRAY` of [`crate::bucket::Bucket`].
pub const ICMP_BUCKETS: &str = "ICMP_BUCKETS";
/// `ARRAY[1]` of [`crate::meta::Meta`].
pub const META: &str = "META";

/// Every map that is pinned.
pub const ALL: [&str; 8] =
    [GENERATIONS, COUNTERS, FLOWS, FLOW_SPILL, NEIGHBOURS, NEIGHBOUR_MISSES, ICMP_BUCKETS, META];

/// The XDP program of an ingress relay.
pub const PROGRAM_INGRESS: &str = "ingress";
/// The XDP program of an egress relay.
pub const PROGRAM_EGRESS: &str = "egress";
