//! What the packet path knows of a client at a service, copied for a rehearsal: the client's set of places with their details, its
//! prefix's set, the service's state.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;

use relay_abi::client::{self, BUSY, ClientDetails, ClientSet, VERIFIED};
use relay_abi::image::Globals;
use relay_abi::limit::PrefixSet;
use relay_abi::limits::{CLIENT_WAYS, PREFIX_WAYS};
use relay_abi::service_state::ServiceState;
use relay_abi::{Image, Ipv4, maps};
use serde::Serialize;

use super::levels::Level;
use crate::clients::Quota;
use crate::exit::Failure;
use crate::jiffies::Moment;
use crate::load::Rehearsal;
use crate::pinned::{Mapping, Node};

const CLIENT_WORDS: usize = size_of::<ClientSet>() / CLIENT_WAYS / 8;
const DETAIL_WORDS: usize = size_of::<ClientDetails>() / 8;
const PREFIX_WORDS: usize = size_of::<PrefixSet>() / PREFIX_WAYS / 8;
const STATE_WORDS: usize = size_of::<ServiceState>() / 8;
/// Of a client's words, the due times of packets and of bytes.
const DUES: usize = 2;
/// Of its details, the due time of connections.
const CONNECTIONS_DUE: usize = 5;

/// The tables that are copied from.
#[derive(Debug)]
pub(super) struct Live {
    clients: Mapping<ClientSet>,
    details: Mapping<ClientDetails>,
    prefixes: Mapping<PrefixSet>,
    states: Mapping<ServiceState>,
    fair_costs: Mapping<AtomicU64>,
}

/// A copy of what is known of a client of a service.
#[derive(Clone, Debug)]
pub(super) struct State {
    service: u8,
    clients: [u64; CLIENT_WORDS * CLIENT_WAYS],
    details: [[u64; DETAIL_WORDS]; CLIENT_WAYS],
    prefixes: [u64; PREFIX_WORDS * PREFIX_WAYS],
    state: [u64; STATE_WORDS],
    fair_cost: u64,
    /// Of the client, among the four.
    way: Option<usize>,
    prefix_way: Option<usize>,
}

/// Whether the client is in the client table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It has a place.
    Known,
    /// It would get one with its next packet.
    New,
    /// It would find none, for there are only clients that have proved themselves: such clients share the limits of one.
    Unplaced,
}

impl Live {
    pub(super) fn open(node: &Node) -> Result<Self, Failure> {
        let pins = node.pins();
        Ok(Self {
            clients: Mapping::read(&pins.map(maps::CLIENTS))?,
            details: Mapping::read(&pins.map(maps::CLIENT_DETAILS))?,
            prefixes: Mapping::read(&pins.map(maps::PREFIXES))?,
            states: Mapping::read(&pins.map(maps::SERVICE_STATES))?,
            fair_costs: Mapping::read(&pins.map(maps::FAIR_COSTS))?,
        })
    }

    pub(super) fn copy(&self, globals: &Globals, address: Ipv4Addr, service: u8) -> State {
        let key = client::key(Ipv4(address.octets()), service.into());
        let set = client::set(key, globals.table_seed, globals.client_mask);
        let prefix_key = prefix_key(globals, address, service);
        let prefix_set = client::set(prefix_key, globals.table_seed, globals.prefix_mask);
        let clients = self.clients.words(set as usize).unwrap_or([0; _]);
        let prefixes = self.prefixes.words(prefix_set as usize).unwrap_or([0; _]);
        let detail =
            |way: usize| self.details.words((client::place(set, 0) as usize) + way).unwrap_or([0; _]);
        let places = || clients.chunks(CLIENT_WORDS);
        State {
            service,
            details: std::array::from_fn(detail),
            state: self.states.words(service.into()).unwrap_or([0; _]),
            fair_cost: self.fair_costs.words::<1>(service.into()).map_or(0, |[cost]| cost),
            way: places().position(|place| place[0] != BUSY && (place[0] ^ key) & client::KEY_BITS == 0),
            prefix_way: prefixes.chunks(PREFIX_WORDS).position(|place| place[0] == prefix_key),
            clients,
            prefixes,
        }
    }
}

fn prefix_key(globals: &Globals, address: Ipv4Addr, service: u8) -> u64 {
    let masked = Ipv4(address.octets()).word() & globals.prefix_netmask;
    client::key(Ipv4(masked.to_ne_bytes()), service.into())
}

impl State {
    /// Puts the copy into a rehearsal, whose tables have one set.
    pub(super) fn put_into(&self, rehearsal: &mut Rehearsal) -> Result<(), Failure> {
        rehearsal.set(maps::CLIENTS, 0, self.clients)?;
        for (way, details) in (0..).zip(self.details) {
            rehearsal.set(maps::CLIENT_DETAILS, way, details)?;
        }
        rehearsal.set(maps::PREFIXES, 0, self.prefixes)?;
        rehearsal.set(maps::SERVICE_STATES, self.service.into(), self.state)?;
        rehearsal.set(maps::FAIR_COSTS, self.service.into(), self.fair_cost)
    }

    pub(super) fn verified(&self) -> bool {
        self.way.is_some_and(|way| self.clients[way * CLIENT_WORDS] & VERIFIED != 0)
    }

    pub(super) fn place(&self) -> Place {
        let mut states = self.clients.iter().step_by(CLIENT_WORDS);
        if self.way.is_some() {
            Place::Known
        } else if states.all(|state| *state == BUSY || state & VERIFIED != 0) {
            Place::Unplaced
        } else {
            Place::New
        }
    }

    /// How much is used of the limits that its packets meet.
    pub(super) fn levels(&self, image: &Image, moment: Moment) -> Vec<Level> {
        let Some(service) = image.services.get(usize::from(self.service)) else { return Vec::new() };
        let [packets, bytes, connections, unplaced @ .., _, _] = self.state;
        let client = match (self.way, self.place()) {
            (Some(way), _) => {
                let place = way * CLIENT_WORDS + DUES;
                [self.clients[place], self.clients[place + 1], self.details[way][CONNECTIONS_DUE]]
            }
            (None, Place::Unplaced) => unplaced,
            (None, _) => [0; 3],
        };
        let prefix = self.prefix_way.map_or([0; 3], |way| {
            let place = way * PREFIX_WORDS + 1;
            [self.prefixes[place], self.prefixes[place + 1], self.prefixes[place + 2]]
        });
        let plain = |costs| Quota::plain(costs, service.burst, moment);
        let of_client = Quota::of(service, self.fair_cost, moment);
        Level::of("client", of_client, client)
            .chain(Level::of("prefix", plain(service.prefix), prefix))
            .chain(Level::of("service", plain(service.total), [packets, bytes, connections]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytemuck::Zeroable as _;
    use relay_abi::image::Service;
    use relay_abi::limit::{Costs, DUE_SHIFT, packet_cost};

    use super::*;

    fn state() -> State {
        State {
            service: 0,
            clients: [0; _],
            details: [[0; _]; CLIENT_WAYS],
            prefixes: [0; _],
            state: [0; _],
            fair_cost: 0,
            way: None,
            prefix_way: None,
        }
    }

    #[test]
    fn a_client_is_known_or_new_or_finds_no_place() {
        let mut state = state();
        assert_eq!(state.place(), Place::New);
        for way in 0..CLIENT_WAYS {
            state.clients[way * CLIENT_WORDS] = if way == 1 { BUSY } else { VERIFIED | 7 };
        }
        assert_eq!((state.place(), state.verified()), (Place::Unplaced, false));
        state.way = Some(2);
        assert_eq!((state.place(), state.verified()), (Place::Known, true));
    }

    #[test]
    fn each_level_is_read_where_its_due_time_is() {
        let moment = Moment::new(1 << 33, SystemTime::UNIX_EPOCH, 1000, 10);
        let due = |milliseconds: u64| (moment.jiffies + milliseconds) << DUE_SHIFT;
        let all = Costs { packet: packet_cost(10, 1000), byte: 1 << 20, connection: packet_cost(10, 1000) };
        let mut image = bytemuck::allocation::zeroed_box::<Image>();
        let burst = 15 << DUE_SHIFT;
        image.services[0] = Service { client: all, prefix: all, total: all, burst, ..Service::zeroed() };
        let mut state = State { way: Some(1), prefix_way: Some(3), ..state() };
        (state.clients[CLIENT_WORDS + 2], state.clients[CLIENT_WORDS + 3]) = (due(11), due(12));
        state.details[1][CONNECTIONS_DUE] = due(13);
        for (place, ahead) in (1..).zip([14, 15, 16]) {
            state.prefixes[3 * PREFIX_WORDS + place] = due(ahead);
        }
        for (place, ahead) in [17, 18, 19, 20, 21, 22].into_iter().enumerate() {
            state.state[place] = due(ahead);
        }
        let ahead = |state: &State| -> Vec<u64> {
            state.levels(&image, moment).iter().map(|level| level.used.used_microseconds / 1000).collect()
        };
        assert_eq!(ahead(&state), [11, 12, 13, 14, 15, 16, 17, 18, 19]);
        let over: Vec<bool> = state.levels(&image, moment).iter().map(|level| level.over).collect();
        assert_eq!(over, [false, false, false, false, false, true, true, true, true]);
        (state.way, state.prefix_way) = (None, None);
        assert_eq!(ahead(&state)[..6], [0; 6]);
        state.clients = [VERIFIED; _];
        assert_eq!(ahead(&state)[..3], [20, 21, 22]);
    }
}
