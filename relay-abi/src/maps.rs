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

/// `ARRAY` of [`crate::client::ClientSet`], memory-mappable.
pub const CLIENTS: &str = "CLIENTS";
/// `ARRAY` of [`crate::client::ClientDetails`], memory-mappable: one for each place in `CLIENTS`.
pub const CLIENT_DETAILS: &str = "CLIENT_DETAILS";
/// `ARRAY` of [`crate::limit::PrefixSet`], memory-mappable.
pub const PREFIXES: &str = "PREFIXES";
/// `ARRAY` of [`crate::service_state::ServiceState`], memory-mappable: one for each service.
pub const SERVICE_STATES: &str = "SERVICE_STATES";
/// `PERCPU_ARRAY` of [`crate::service_state::ServiceCounters`]: one for each service.
pub const SERVICE_COUNTERS: &str = "SERVICE_COUNTERS";
/// `ARRAY` of words, memory-mappable: for each service what a packet, or a byte in units of
/// 2^-[`crate::limit::BYTE_SHIFT`], costs a client at its fair share; 0 at peace. Written by the controller.
pub const FAIR_COSTS: &str = "FAIR_COSTS";
/// `ARRAY_OF_MAPS`: at each of [`crate::list::slot`] an `ARRAY` of [`crate::list::Line`], memory-mappable, of any length; or none.
pub const LISTS: &str = "LISTS";
/// `RINGBUF` of [`crate::event::Event`].
pub const EVENTS: &str = "EVENTS";
/// `PERCPU_ARRAY` of [`crate::event::EventBudget`]: one for each code of a reason.
pub const EVENT_BUDGETS: &str = "EVENT_BUDGETS";

/// Every map that is pinned.
pub const ALL: [&str; 17] = [
    GENERATIONS,
    COUNTERS,
    FLOWS,
    FLOW_SPILL,
    NEIGHBOURS,
    NEIGHBOUR_MISSES,
    ICMP_BUCKETS,
    CLIENTS,
    CLIENT_DETAILS,
    PREFIXES,
    SERVICE_STATES,
    SERVICE_COUNTERS,
    FAIR_COSTS,
    LISTS,
    EVENTS,
    EVENT_BUDGETS,
    META,
];

/// The XDP program of an ingress relay.
pub const PROGRAM_INGRESS: &str = "ingress";
/// The XDP program of an egress relay.
pub const PROGRAM_EGRESS: &str = "egress";
