//! The tables of a relay in memory, and the kernel's answers as [`world`] has them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_abi::bucket::Bucket;
use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::event::EventBudget;
use relay_abi::flow::{Flow, FlowKey, FlowSet};
use relay_abi::limit::PrefixSet;
use relay_abi::limits::{BUCKETS, CLIENT_WAYS, FLOW_WAYS, REASON_CODES, SERVICES, TALLY_CODES};
use relay_abi::list::{self, Line};
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use relay_abi::service_state::{ServiceCounters, ServiceState};
use relay_abi::{Image, Ipv4, Mac, Tally};
use relay_core::tables::{Route, RouteQuery};
use relay_core::{Apart, Tables};

use super::flow::Words;
use super::world::{self, Way};

/// Tables of the host's runs.
#[derive(Debug)]
pub struct MemTables {
    /// The configuration in force.
    pub image: Option<Box<Image>>,
    /// The kernel's tick counter.
    pub now: Cell<u64>,
    /// Interface index of the edge.
    pub edge: u32,
    /// Whether the kernel forwards on the edge.
    pub forwarding: bool,
    /// Another CPU wins each race.
    pub contended: bool,
    /// The spill table takes nothing.
    pub spill_refuses: bool,
    pub spilled: RefCell<HashMap<FlowKey, u64>>,
    pub neighbours: HashMap<NeighbourKey, Neighbour>,
    pub reports: RefCell<Vec<NeighbourKey>>,
    pub buckets: RefCell<Vec<Bucket>>,
    pub tallies: RefCell<[u64; TALLY_CODES]>,
    /// The client table; as many sets as the image has.
    pub clients: Vec<ClientSet>,
    pub client_details: Vec<ClientDetails>,
    pub prefixes: Vec<PrefixSet>,
    pub service_states: Vec<ServiceState>,
    pub service_counters: Vec<ServiceCounters>,
    pub fair_costs: Vec<u64>,
    /// The lists, by slot; empty for none.
    pub lists: [Vec<Line>; list::slot::COUNT],
    pub event_budgets: RefCell<Vec<EventBudget>>,
    /// Code, length and suppressed events of each report.
    pub events: RefCell<Vec<(u8, usize, u64)>>,
    /// The ring of events is full.
    pub events_lost: bool,
    flows: Vec<FlowSet>,
}

impl MemTables {
    /// Tables with this image, and this flow table.
    #[must_use]
    pub fn new(image: Option<Box<Image>>, edge: u32, flows: &[Words]) -> Self {
        let set = |words: &Words| {
            FlowSet(std::array::from_fn::<Flow, FLOW_WAYS, _>(|entry| Flow {
                addresses: AtomicU64::new(words[2 * entry]),
                state: AtomicU64::new(words[2 * entry + 1]),
            }))
        };
        let (client_sets, prefix_sets) = image
            .as_ref()
            .map_or((1, 1), |image| (image.globals.client_mask + 1, image.globals.prefix_mask + 1));
        Self {
            clients: many(client_sets as usize),
            client_details: many(client_sets as usize * CLIENT_WAYS),
            prefixes: many(prefix_sets as usize),
            service_states: many(SERVICES),
            service_counters: many(SERVICES),
            fair_costs: vec![0; SERVICES],
            lists: Default::default(),
            event_budgets: RefCell::new(vec![EventBudget::default(); REASON_CODES]),
            events: RefCell::default(),
            events_lost: false,
            image,
            now: Cell::new(NOW),
            edge,
            forwarding: true,
            contended: false,
            spill_refuses: false,
            spilled: RefCell::default(),
            neighbours: HashMap::new(),
            reports: RefCell::default(),
            buckets: RefCell::new(vec![Bucket::default(); BUCKETS as usize]),
            tallies: RefCell::new([0; TALLY_CODES]),
            flows: flows.iter().map(set).collect(),
        }
    }

    /// The flow table's words.
    #[must_use]
    pub fn flow_words(&self) -> Vec<Words> {
        let words = |set: &FlowSet| {
            let mut words = Words::default();
            for (entry, flow) in set.0.iter().enumerate() {
                words[2 * entry] = flow.addresses.load(Ordering::Relaxed);
                words[2 * entry + 1] = flow.state.load(Ordering::Relaxed);
            }
            words
        };
        self.flows.iter().map(words).collect()
    }
}

/// A day after the start, with a tick that is not at a round number.
pub const NOW: u64 = 24 * 3600 * 250 + 0x1234_5678;

impl Apart for MemTables {}

impl Tables for MemTables {
    type List = Vec<Line>;

    fn image(&self) -> Option<&Image> {
        self.image.as_deref()
    }

    fn flow_set(&self, set: u32) -> Option<&FlowSet> {
        self.flows.get(set as usize)
    }

    fn load(&self, word: &AtomicU64) -> u64 {
        word.load(Ordering::SeqCst)
    }

    fn store(&self, word: &AtomicU64, value: u64) {
        word.store(value, Ordering::SeqCst);
    }

    fn swap(&self, word: &AtomicU64, old: u64, new: u64) -> bool {
        !self.contended && word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn add(&self, word: &AtomicU64, value: u64) -> u64 {
        word.fetch_add(value, Ordering::SeqCst)
    }

    fn exchange(&self, word: &AtomicU64, value: u64) -> u64 {
        word.swap(value, Ordering::SeqCst)
    }

    fn client_set(&self, set: u32) -> Option<&ClientSet> {
        self.clients.get(set as usize)
    }

    fn client_details(&self, place: u32) -> Option<&ClientDetails> {
        self.client_details.get(place as usize)
    }

    fn prefix_set(&self, set: u32) -> Option<&PrefixSet> {
        self.prefixes.get(set as usize)
    }

    fn service_state(&self, service: u16) -> Option<&ServiceState> {
        self.service_states.get(usize::from(service))
    }

    fn service_counters(&self, service: u16) -> Option<&ServiceCounters> {
        self.service_counters.get(usize::from(service))
    }

    fn fair_cost(&self, service: u16) -> u64 {
        self.fair_costs.get(usize::from(service)).copied().unwrap_or(0)
    }

    fn list(&self, slot: u32) -> Option<&Vec<Line>> {
        self.lists.get(slot as usize)
    }

    fn list_line<'list>(&self, list: &'list Vec<Line>, line: u32) -> Option<&'list Line> {
        list.get(line as usize)
    }

    fn event_budget(&self, code: u8) -> Option<EventBudget> {
        self.event_budgets.borrow().get(usize::from(code)).copied()
    }

    fn set_event_budget(&self, code: u8, budget: EventBudget) {
        if let Some(place) = self.event_budgets.borrow_mut().get_mut(usize::from(code)) {
            *place = budget;
        }
    }

    fn report_dropped(&self, reason_code: u8, length: usize, suppressed: u64) -> bool {
        if !self.events_lost {
            self.events.borrow_mut().push((reason_code, length, suppressed));
        }
        !self.events_lost
    }

    fn spilled_flow(&self, key: &FlowKey) -> Option<u64> {
        self.spilled.borrow().get(key).copied()
    }

    fn spill_flow(&self, key: &FlowKey, state: u64) -> bool {
        if !self.spill_refuses {
            self.spilled.borrow_mut().insert(*key, state);
        }
        !self.spill_refuses
    }

    fn bucket(&self, index: u32) -> Option<Bucket> {
        self.buckets.borrow().get(index as usize).copied()
    }

    fn set_bucket(&self, index: u32, bucket: Bucket) {
        if let Some(place) = self.buckets.borrow_mut().get_mut(index as usize) {
            *place = bucket;
        }
    }

    fn jiffies(&self) -> u64 {
        self.now.get()
    }

    fn route(&self, query: &RouteQuery) -> Route {
        if !self.forwarding {
            return Route::ForwardingDisabled;
        }
        let destination = Ipv4Addr::from(query.destination.0);
        let Some(entry) = world::ROUTES.iter().find(|entry| within(destination, entry.network)) else {
            return Route::Unreachable;
        };
        let next_hop = match entry.way {
            Way::Unreachable | Way::Prohibited => return Route::Unreachable,
            // The kernel forwards nothing to a link's broadcast address.
            Way::Link if broadcast(destination, entry.network) => return Route::Unreachable,
            Way::Link => destination,
            Way::Through(gateway) => named(gateway),
        };
        if query.total_length > entry.mtu.unwrap_or(world::LINK_MTU) {
            return Route::TooBig;
        }
        let known = world::NEIGHBOURS.iter().find(|(name, _)| named(name) == next_hop);
        match known.and_then(|(_, station)| world::station(station).ok()) {
            Some(station) => {
                let source = world::station("edge_mac").unwrap_or_default();
                let neighbour = Neighbour { destination: Mac(station), source: Mac(source) };
                Route::Hop { ifindex: self.edge, stations: relay_core::wire::ethernet::to(&neighbour) }
            }
            None => Route::NoNeighbour(NeighbourKey { ifindex: self.edge, address: Ipv4(next_hop.octets()) }),
        }
    }

    fn neighbour(&self, key: &NeighbourKey) -> Option<Neighbour> {
        self.neighbours.get(key).copied()
    }

    fn report_missing(&self, key: &NeighbourKey) -> bool {
        self.reports.borrow_mut().push(*key);
        true
    }

    fn forgotten(&self, number: u64) -> u64 {
        number
    }

    fn equal(&self, a: u64, b: u64) -> u32 {
        u32::from(a == b)
    }

    fn tally(&self, tally: Tally) {
        self.tallies.borrow_mut()[tally as usize] += 1;
    }
}

fn many<T: Default>(count: usize) -> Vec<T> {
    std::iter::repeat_with(T::default).take(count).collect()
}

fn within(address: Ipv4Addr, (network, bits): ([u8; 4], u8)) -> bool {
    let mask = u32::MAX << (32 - u32::from(bits));
    (address.to_bits() ^ Ipv4Addr::from(network).to_bits()) & mask == 0
}

fn broadcast(address: Ipv4Addr, (_, bits): ([u8; 4], u8)) -> bool {
    let host = u32::MAX >> bits;
    address.to_bits() & host == host
}

fn named(name: &str) -> Ipv4Addr {
    world::address(name).unwrap_or(Ipv4Addr::UNSPECIFIED)
}
