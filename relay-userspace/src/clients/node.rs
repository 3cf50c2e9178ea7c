//! The clients of a node, by its pins.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::image::option;
use relay_abi::limit::{Prefix, PrefixSet};
use relay_abi::{Image, maps};
use serde::Serialize;

use super::fair::level_of;
use super::meter::Unit;
use super::quota::Quota;
use super::services::Services;
use super::table::{Entry, Table};
use super::totals::ServiceTotals;
use crate::exit::{Exit, Failure};
use crate::jiffies::{Moment, jiffies_per_second};
use crate::pinned::{Mapping, Node};

/// The client tables of an ingress relay, mapped, and the configuration they are read by.
#[derive(Debug)]
pub struct Clients {
    sets: Mapping<ClientSet>,
    details: Mapping<ClientDetails>,
    fair_costs: Mapping<AtomicU64>,
    seed: u64,
    hz: u32,
    image: Box<Image>,
    services: Services,
}

/// How full the tables of clients and prefixes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fill {
    /// Clients of services that have a place, old ones included: a place is given away only when it is needed.
    pub used_places: u64,
    /// Of these, clients that have proved themselves.
    pub verified_places: u64,
    /// Places there are.
    pub capacity_places: u64,
    /// Prefixes of clients that have a place.
    pub used_prefixes: u64,
    /// Places for prefixes.
    pub capacity_prefixes: u64,
}

impl Clients {
    /// Maps the tables of a node.
    pub fn open(node: &Node) -> Result<Self, Failure> {
        if node.role() != "ingress" {
            let name = node.pins().node();
            return Err(Failure::new(
                Exit::Usage,
                format!("{name} is an egress relay, which keeps no clients"),
            )
            .hint("ask an ingress relay: --node NAME"));
        }
        let pins = node.pins();
        let image = node.image()?;
        Ok(Self {
            sets: Mapping::read(&pins.map(maps::CLIENTS))?,
            details: Mapping::read(&pins.map(maps::CLIENT_DETAILS))?,
            fair_costs: Mapping::read(&pins.map(maps::FAIR_COSTS))?,
            seed: node.meta().table_seed,
            hz: jiffies_per_second().map_err(|error| Failure::io("find out the kernel's tick", &error))?,
            services: Services::of(&image),
            image,
        })
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        Table::new(self.sets.values(), self.details.values(), self.seed)
    }

    /// The services.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// Now, by the clocks that the table goes by.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment::now(self.hz, self.image.globals.tick_shift)
    }

    /// A client's entries, one for each service it sent to, also of those that are no longer configured.
    #[must_use]
    pub fn of(&self, address: Ipv4Addr) -> Vec<Entry> {
        let table = self.table();
        (0..=u8::MAX).filter_map(|service| table.find(address, service)).collect()
    }

    /// The limits of the clients of a service.
    #[must_use]
    pub fn quota(&self, service: u8, moment: Moment) -> Option<Quota> {
        Some(Quota::of(self.services.get(service)?, self.fair_cost(service), moment))
    }

    /// What each client of a service may send a second while its clients ask for more than it can take; `None` at peace.
    #[must_use]
    pub fn fair_share(&self, service: u8) -> Option<(Unit, f64)> {
        let in_bytes = self.services.get(service)?.options & option::FAIR_BYTES != 0;
        let unit = if in_bytes { Unit::Bytes } else { Unit::Packets };
        level_of(self.fair_cost(service), unit, self.hz).map(|level| (unit, level))
    }

    fn fair_cost(&self, service: u8) -> u64 {
        self.fair_costs.values().get(usize::from(service)).map_or(0, |cost| cost.load(Relaxed))
    }
}

impl Node {
    /// What a service counted, over all CPUs.
    pub fn service_totals(&self, service: u8) -> Result<ServiceTotals, Failure> {
        ServiceTotals::read(&self.map(maps::SERVICE_COUNTERS)?, service)
    }

    /// Counts the clients and prefixes that have a place.
    pub fn fill(&self, clients: &Clients) -> Result<Fill, Failure> {
        let prefixes = Mapping::<PrefixSet>::read(&self.pins().map(maps::PREFIXES))?;
        let prefixes = || prefixes.values().iter().flat_map(|set| &set.0);
        let used = |prefix: &&Prefix| prefix.key.load(Relaxed) != 0;
        let table = clients.table();
        let (used_places, verified_places) = table.count();
        Ok(Fill {
            used_places,
            verified_places,
            capacity_places: table.places() as u64,
            used_prefixes: prefixes().filter(used).count() as u64,
            capacity_prefixes: prefixes().count() as u64,
        })
    }
}
