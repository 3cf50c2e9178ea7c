//! Totals of a service, and whether they are what its clients add up to.

use std::mem::offset_of;
use std::ops::AddAssign;

use bytemuck::{Pod, Zeroable};
use relay_abi::client;
use relay_abi::limits::SERVICES;
use relay_abi::service_state::ServiceCounters;
use serde::Serialize;

use super::counts::Counts;
use super::table::Table;
use crate::exit::Failure;
use crate::pinned::ReadOnlyMap;

/// The counters of a service, over all CPUs. Laid out as [`ServiceCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable, Serialize)]
#[repr(C)]
pub struct ServiceTotals {
    /// Packets forwarded.
    pub forward_packets: u64,
    /// Bytes of IPv4 packets forwarded.
    pub forward_bytes: u64,
    /// Packets back to clients.
    pub return_packets: u64,
    /// Their bytes.
    pub return_bytes: u64,
    /// New connections.
    pub connections: u64,
    /// Packets of its clients that were dropped.
    #[serde(rename = "drop_packets")]
    pub dropped_packets: u64,
    /// Their bytes.
    #[serde(rename = "drop_bytes")]
    pub dropped_bytes: u64,
    /// Clients that gave their place to another one.
    #[serde(rename = "evicted_clients")]
    pub evicted: u64,
    /// What clients without a place account for.
    pub gone: Counts,
}

const _: () = {
    assert!(size_of::<ServiceTotals>() == size_of::<ServiceCounters>());
    assert!(offset_of!(ServiceTotals, evicted) == offset_of!(ServiceCounters, evicted));
    assert!(offset_of!(ServiceTotals, gone) == offset_of!(ServiceCounters, gone));
};

impl ServiceTotals {
    /// Reads what a service counted, from the map `SERVICE_COUNTERS`.
    pub fn read(map: &ReadOnlyMap, service: u8) -> Result<Self, Failure> {
        let mut sum = Self::default();
        for cpu in map.read_per_cpu::<Self>(service.into())? {
            sum += cpu;
        }
        Ok(sum)
    }
}

impl AddAssign for ServiceTotals {
    fn add_assign(&mut self, other: Self) {
        let to: &mut [u64] = bytemuck::cast_slice_mut(std::slice::from_mut(self));
        let from: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&other));
        for (to, from) in to.iter_mut().zip(from) {
            *to = to.wrapping_add(*from);
        }
    }
}

/// What the clients of each service add up to, by index; and the clients.
#[derive(Clone, Debug)]
pub struct Sums {
    services: Vec<Counts>,
    /// Places in use.
    pub used: u64,
    /// Of these, clients that have proved themselves.
    pub verified: u64,
}

impl Table<'_> {
    /// Adds up all places.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums { services: vec![Counts::default(); SERVICES], used: 0, verified: 0 };
        for (state, counts) in self.all() {
            sums.services[usize::from(client::service(state))] += counts;
            if state != 0 && state != client::BUSY {
                sums.used += 1;
                sums.verified += u64::from(state & client::VERIFIED != 0);
            }
        }
        sums
    }
}

impl Sums {
    /// What the clients of a service add up to.
    #[must_use]
    pub fn of(&self, service: u8) -> Counts {
        self.services.get(usize::from(service)).copied().unwrap_or_default()
    }

    /// What the counters of a service hold beyond its clients and those without a place: zero everywhere unless packets were counted
    /// between the two readings.
    #[must_use]
    pub fn missing(&self, service: u8, totals: &ServiceTotals) -> Difference {
        let mut all = self.of(service);
        all += totals.gone;
        let less = |total: u64, sum: u64| total.wrapping_sub(sum).cast_signed();
        Difference {
            forward_packets: less(totals.forward_packets, all.packets),
            forward_bytes: less(totals.forward_bytes, all.bytes),
            return_packets: less(totals.return_packets, all.return_packets),
            return_bytes: less(totals.return_bytes, all.return_bytes),
            connections: less(totals.connections, all.connections),
            drop_packets: less(totals.dropped_packets, all.dropped()),
        }
    }
}

/// Totals less what clients add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Packets forwarded.
    pub forward_packets: i64,
    /// Bytes forwarded.
    pub forward_bytes: i64,
    /// Packets back.
    pub return_packets: i64,
    /// Bytes back.
    pub return_bytes: i64,
    /// New connections.
    pub connections: i64,
    /// Packets dropped.
    pub drop_packets: i64,
}
