//! The account of a client's packet: it is held against the limits of the client, its prefix and the service, and counted.
//!
//! Each look and each charge is a function of its own that is handed numbers, not pointers, so that they take turns on the stack.

use relay_abi::client::DropClass;
use relay_abi::image::{Globals, Service, option};
use relay_abi::limits::SERVICES;
use relay_abi::{Image, Reason, Tally};

use super::client::{bump, find_or_enter, forwarded, placed, service_of};
use super::limit::{self, Demand, Over};
use super::{ingress, prefix};
use crate::{Apart, Tables};

/// Whether a packet goes on, in one word: the code of the reason for which it does not (bits 0-7), the class of drops it is counted in (8-15), and
/// whether it goes on (16), or has to prove itself (17).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement(pub(super) u32);

impl Judgement {
    pub(super) const OPEN: Self = Self(1 << 16);
    /// Another generation has come into force since the packet was first looked at: it is to be looked at anew. Nothing was charged.
    pub(super) const AGAIN: Self = Self(1 << 18);
    pub(super) const CHALLENGE: Self = Self(1 << 17 | (DropClass::Unproven as u32) << 8);

    #[inline(always)]
    pub(super) const fn refused(class: DropClass, reason: Reason) -> Self {
        Self((class as u32) << 8 | reason as u32)
    }

    #[inline(always)]
    pub(super) const fn code(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    pub(super) const fn class(self) -> u32 {
        self.0 >> 8 & 0xff
    }
}

/// Charges and counts the packet if all limits have room; else it is to be counted as dropped. `demand` is a [`Demand`], `generation` that of the
/// caller's image. A [`Judgement`].
#[inline(always)]
pub fn account<T: Apart>(tables: &T, key: u64, demand: u64, generation: u64) -> u32 {
    let Some(image) = tables.image() else { return Judgement::AGAIN.0 };
    if image.globals.generation != generation {
        return Judgement::AGAIN.0;
    }
    let mut place = Demand(demand).place();
    if place == 0 {
        place = find_or_enter(tables, &image.globals, key);
    }
    let judgement = charged(tables, image, key, place, demand);
    if judgement == Judgement::OPEN.0 {
        count(tables, &image.globals, key, place, demand);
    }
    judgement
}

/// Charges the packet if all limits have room.
#[inline(never)]
fn charged<T: Tables>(tables: &T, image: &Image, key: u64, place: u32, demand: u64) -> u32 {
    let Ok(service) = ingress::service(image, service_of(key)) else {
        return Judgement::refused(DropClass::Other, Reason::Internal).0;
    };
    let service_index = service_of(key);
    let exempt = Demand(demand).exempt();
    let by_client = limit::any(&service.client) || tables.fair_cost(service_index) != 0;
    let by_client = by_client && !exempt;
    let by_prefix = limit::any(&service.prefix) && !exempt;

    let mut client = 0;
    if by_client {
        client = client_over(tables, image, key, place, demand);
    }
    let mut prefix_place = 0;
    let mut prefix = 0;
    if by_prefix {
        prefix_place = prefix::place(tables, &image.globals, key);
        prefix = prefix_over(tables, image, key, prefix_place, demand);
    }
    let marked = client | prefix;
    if marked != 0 && service.options & option::MARK_DOWN == 0 {
        return if client != 0 {
            refused(Over(client).of_client(fair_limit(tables, service, service_index)))
        } else {
            refused(Over(prefix).of_prefix())
        };
    }
    if limit::any(&service.total) {
        let over = total(tables, image, key, demand, marked);
        if over != 0 {
            return refused(Over(over).of_service());
        }
    }
    if marked != 0 {
        tables.tally(Tally::MarkedDown);
        return Judgement::OPEN.0;
    }
    if by_client {
        charge_client(tables, image, key, place, demand);
    }
    if by_prefix {
        charge_prefix(tables, image, key, prefix_place, demand);
    }
    Judgement::OPEN.0
}

#[inline(always)]
const fn refused((class, reason): (DropClass, Reason)) -> u32 {
    Judgement::refused(class, reason).0
}

#[inline(never)]
fn client_over<T: Tables>(tables: &T, image: &Image, key: u64, place: u32, demand: u64) -> u32 {
    let Ok(service) = ingress::service(image, service_of(key)) else { return 0 };
    let latest = limit::now(tables) + service.burst;
    let connection = Demand(demand).connection();
    if place != 0 {
        let (Some(client), Some(details)) = (placed(tables, place), tables.client_details(place - 1)) else {
            return 0;
        };
        limit::over(tables, &client.dues, &details.connections_due, latest, connection).0
    } else {
        let Some(state) = tables.service_state(service_of(key)) else { return 0 };
        limit::over(tables, &state.unplaced_dues, &state.unplaced_connections_due, latest, connection).0
    }
}

#[inline(never)]
fn prefix_over<T: Tables>(tables: &T, image: &Image, key: u64, place: u32, demand: u64) -> u32 {
    let Ok(service) = ingress::service(image, service_of(key)) else { return 0 };
    let latest = limit::now(tables) + service.burst;
    let Some(prefix) = prefix::at(tables, place) else { return 0 };
    limit::over(tables, &prefix.dues, &prefix.connections_due, latest, Demand(demand).connection()).0
}

/// Charges the packet to the service if that has room. What is marked down leaves half of the burst to those who keep within their limits.
#[inline(never)]
fn total<T: Tables>(tables: &T, image: &Image, key: u64, demand: u64, marked: u32) -> u32 {
    let Ok(service) = ingress::service(image, service_of(key)) else { return 0 };
    let Some(state) = tables.service_state(service_of(key)) else { return 0 };
    let demand = Demand(demand);
    let latest = limit::now(tables) + (service.burst >> (marked != 0) as u32);
    let over = limit::over(tables, &state.dues, &state.connections_due, latest, demand.connection());
    if over == Over::NOTHING {
        limit::charge(tables, &state.dues, &state.connections_due, &service.total, (0, 0), demand);
    }
    over.0
}

#[inline(never)]
fn charge_client<T: Tables>(tables: &T, image: &Image, key: u64, place: u32, demand: u64) {
    let Ok(service) = ingress::service(image, service_of(key)) else { return };
    let demand = Demand(demand);
    let cost = tables.fair_cost(service_of(key));
    let fair = if service.options & option::FAIR_BYTES != 0 { (0, cost) } else { (cost, 0) };
    if place != 0 {
        let (Some(client), Some(details)) = (placed(tables, place), tables.client_details(place - 1)) else {
            return;
        };
        limit::charge(tables, &client.dues, &details.connections_due, &service.client, fair, demand);
    } else if let Some(state) = tables.service_state(service_of(key)) {
        let connections = &state.unplaced_connections_due;
        limit::charge(tables, &state.unplaced_dues, connections, &service.client, fair, demand);
    }
}

#[inline(never)]
fn charge_prefix<T: Tables>(tables: &T, image: &Image, key: u64, place: u32, demand: u64) {
    let Ok(service) = ingress::service(image, service_of(key)) else { return };
    let Some(prefix) = prefix::at(tables, place) else { return };
    limit::charge(tables, &prefix.dues, &prefix.connections_due, &service.prefix, (0, 0), Demand(demand));
}

/// What the fair share limits, where that is stricter than the client's limit.
#[inline(always)]
fn fair_limit<T: Tables>(tables: &T, service: &Service, index: u16) -> Over {
    let cost = tables.fair_cost(index);
    if service.options & option::FAIR_BYTES != 0 {
        if cost > service.client.byte { Over::BYTES } else { Over::NOTHING }
    } else if cost > service.client.packet {
        Over::PACKETS
    } else {
        Over::NOTHING
    }
}

#[inline(always)]
fn count<T: Tables>(tables: &T, globals: &Globals, key: u64, place: u32, demand: u64) {
    const { assert!(SERVICES <= 256) };
    let Some(counters) = tables.service_counters(service_of(key)) else { return };
    let demand = Demand(demand);
    bump(tables, &counters.forward_packets, 1);
    bump(tables, &counters.forward_bytes, demand.bytes() as u64);
    if demand.connection() {
        bump(tables, &counters.connections, 1);
    }
    if place != 0
        && let Some(client) = placed(tables, place)
    {
        forwarded(tables, globals, client, key, demand);
        return;
    }
    tables.tally(Tally::ClientUnplaced);
    bump(tables, &counters.gone.packets, 1);
    bump(tables, &counters.gone.bytes, demand.bytes() as u64);
    if demand.connection() {
        bump(tables, &counters.gone.connections, 1);
    }
}
