//! What an ingress relay has counted of its clients, read as its commands read it.

use anyhow::Result;
use aya::maps::PerCpuArray;
use relay_abi::maps;
use relay_userspace::clients::{Counts, Difference, ServiceTotals, Sums, Table};

use super::mapping::Mapping;
use super::relay::{Relay, TABLE_SEED};

/// The account of a service.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// What all clients of the service add up to.
    pub clients: Counts,
    /// What the service counted, those that have no place any more among it.
    pub totals: ServiceTotals,
    /// By how much the service's own counts are more than what its clients and those without a place add up to.
    pub missing: Difference,
    /// Clients that have a place, of all services.
    pub places_used: u64,
}

impl Account {
    /// Forwarded and dropped packets, by clients: those with a place, and those without.
    pub fn packets(&self) -> u64 {
        self.clients.received().wrapping_add(self.totals.gone.received())
    }

    /// Forwarded bytes, by clients.
    pub fn forwarded_bytes(&self) -> u64 {
        self.clients.bytes.wrapping_add(self.totals.gone.bytes)
    }
}

impl Relay {
    /// The account of a service.
    pub fn account(&self, service: u8) -> Result<Account> {
        let sets = Mapping::new(self.map(maps::CLIENTS)?)?;
        let details = Mapping::new(self.map(maps::CLIENT_DETAILS)?)?;
        let sums: Sums = Table::new(sets.values(), details.values(), TABLE_SEED).sums();
        let totals = self.totals(service)?;
        Ok(Account {
            clients: sums.of(service),
            totals,
            missing: sums.missing(service, &totals),
            places_used: sums.used,
        })
    }

    /// What a service counted, over all CPUs.
    pub fn totals(&self, service: u8) -> Result<ServiceTotals> {
        let counters: PerCpuArray<_, OfCpu> = self.map(maps::SERVICE_COUNTERS)?.try_into()?;
        let mut totals = ServiceTotals::default();
        for of_cpu in counters.get(&service.into(), 0)?.iter() {
            totals += of_cpu.0;
        }
        Ok(totals)
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct OfCpu(ServiceTotals);

// SAFETY: words only, no padding.
unsafe impl aya::Pod for OfCpu {}
