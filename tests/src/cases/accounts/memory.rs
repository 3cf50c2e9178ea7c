//! The words of tables in memory.

use std::array::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::limit::PrefixSet;
use relay_abi::service_state::{ServiceCounters, ServiceState};

use super::Words;
use crate::cases::relay::SERVICES;
use crate::cases::tables::MemTables;

impl Words {
    /// Writes them into tables.
    pub fn store(&self, tables: &MemTables) {
        write(&self.clients, &tables.clients, client_set);
        write(&self.details, &tables.client_details, details);
        write(&self.prefixes, &tables.prefixes, prefix_set);
        write(&self.states, &tables.service_states, state);
        write(&self.counters, &tables.service_counters, counters);
    }

    /// Reads them from tables.
    #[must_use]
    pub fn load(tables: &MemTables) -> Self {
        Self {
            clients: read(&tables.clients, client_set),
            details: read(&tables.client_details, details),
            prefixes: read(&tables.prefixes, prefix_set),
            states: read(&tables.service_states[..SERVICES], state),
            counters: read(&tables.service_counters[..SERVICES], counters),
        }
    }
}

fn write<T, const N: usize>(words: &[[u64; N]], rows: &[T], fields: impl Fn(&T) -> [&AtomicU64; N]) {
    for (row, words) in rows.iter().zip(words) {
        for (field, word) in fields(row).into_iter().zip(words) {
            field.store(*word, Ordering::SeqCst);
        }
    }
}

fn read<T, const N: usize>(rows: &[T], fields: impl Fn(&T) -> [&AtomicU64; N]) -> Vec<[u64; N]> {
    rows.iter().map(|row| fields(row).map(|field| field.load(Ordering::SeqCst))).collect()
}

fn client_set(ClientSet(clients): &ClientSet) -> [&AtomicU64; 16] {
    from_fn(|index| {
        let client = &clients[index / 4];
        let [packets, bytes] = &client.dues;
        [&client.state, &client.counts, packets, bytes][index % 4]
    })
}

fn prefix_set(PrefixSet(prefixes): &PrefixSet) -> [&AtomicU64; 16] {
    from_fn(|index| {
        let prefix = &prefixes[index / 4];
        let [packets, bytes] = &prefix.dues;
        [&prefix.key, packets, bytes, &prefix.connections_due][index % 4]
    })
}

fn details(details: &ClientDetails) -> [&AtomicU64; 16] {
    let ClientDetails {
        packets,
        bytes,
        return_packets,
        return_bytes,
        connections,
        connections_due,
        seen,
        drops,
    } = details;
    let [a, b, c, d, e, f, g, h, i] = drops;
    [
        packets,
        bytes,
        return_packets,
        return_bytes,
        connections,
        connections_due,
        seen,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
    ]
}

fn state(state: &ServiceState) -> [&AtomicU64; 8] {
    let ([packets, bytes], [unplaced_packets, unplaced_bytes]) = (&state.dues, &state.unplaced_dues);
    [
        packets,
        bytes,
        &state.connections_due,
        unplaced_packets,
        unplaced_bytes,
        &state.unplaced_connections_due,
        &state.unproven_syns,
        &state.challenged_until,
    ]
}

fn counters(counters: &ServiceCounters) -> [&AtomicU64; 22] {
    let gone = &counters.gone;
    from_fn(|index| match index {
        0 => &counters.forward_packets,
        1 => &counters.forward_bytes,
        2 => &counters.return_packets,
        3 => &counters.return_bytes,
        4 => &counters.connections,
        5 => &counters.dropped_packets,
        6 => &counters.dropped_bytes,
        7 => &counters.evicted,
        8 => &gone.packets,
        9 => &gone.bytes,
        10 => &gone.return_packets,
        11 => &gone.return_bytes,
        12 => &gone.connections,
        _ => &gone.drops[index - 13],
    })
}
