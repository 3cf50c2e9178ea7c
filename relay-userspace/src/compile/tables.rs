//! How large the tables are that a configuration sizes.

use std::fmt;

use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::flow::FlowSet;
use relay_abi::limit::PrefixSet;
use relay_abi::limits::{CLIENT_WAYS, FLOW_WAYS};

use crate::config::policy::Clients;
use crate::config::valid::{Config, Flows, Role};

/// Sets of a flow table with room for the entries asked for: a power of two.
#[must_use]
pub fn flow_sets(flows: Flows) -> u32 {
    flows.entries.max(1).div_ceil(FLOW_WAYS as u32).next_power_of_two()
}

/// Sets of a client table with twice the places asked for, so that few clients find their set full: a power of two.
#[must_use]
pub fn client_sets(clients: &Clients) -> u32 {
    (2 * clients.entries.max(1)).div_ceil(CLIENT_WAYS as u32).next_power_of_two()
}

/// Sets of a prefix table that suits a client table: a sixteenth of its places.
#[must_use]
pub fn prefix_sets(clients: &Clients) -> u32 {
    (client_sets(clients) / 16).max(64)
}

/// Bytes of memory; shown in whole KiB or MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            0 => write!(f, "{} KiB", self.0.div_ceil(1 << 10)),
            _ => write!(f, "{} MiB", self.0.div_ceil(1 << 20)),
        }
    }
}

/// What the tables take that a configuration sizes: those of clients at an ingress relay, that of flows at an egress relay.
#[must_use]
pub fn table_memory(config: &Config) -> Memory {
    let bytes = |count: u32, size: usize| u64::from(count) * size as u64;
    Memory(match &config.role {
        Role::Ingress(ingress) => {
            let clients = &ingress.clients;
            let set = size_of::<ClientSet>() + CLIENT_WAYS * size_of::<ClientDetails>();
            bytes(client_sets(clients), set) + bytes(prefix_sets(clients), size_of::<PrefixSet>())
        }
        Role::Egress(egress) => bytes(flow_sets(egress.flows), size_of::<FlowSet>()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compile::sample;

    #[test]
    fn flow_tables_are_powers_of_two() {
        let sets = |entries| flow_sets(Flows { entries, idle_timeout: Duration::ZERO });
        assert_eq!([1, 4, 5, 1024, 1025, 1 << 20].map(sets), [1, 1, 2, 256, 512, 1 << 18]);
        assert_eq!(sets(67_108_864), 1 << 24);
    }

    #[test]
    fn the_memory_is_that_of_the_tables() {
        let clients = |entries| {
            let mut config = sample::ingress();
            let Role::Ingress(ingress) = &mut config.role else { panic!("no ingress relay") };
            ingress.clients.entries = entries;
            table_memory(&config).0
        };
        // 160 bytes a place, 32 a prefix.
        assert_eq!(clients(1_048_576), (320 << 20) + (4 << 20));
        assert_eq!(clients(1024), 2048 * 160 + 64 * 4 * 32);
        assert_eq!(clients(1025), 4096 * 160 + 64 * 4 * 32);
        assert_eq!(clients(16_777_216), (5 << 30) + (64 << 20));
        assert_eq!(table_memory(&sample::egress()).0, 4096 * 16);
    }

    #[test]
    fn memory_is_shown_in_a_fitting_unit() {
        assert_eq!([1024, (1 << 20) - 1].map(|bytes| Memory(bytes).to_string()), ["1 KiB", "1024 KiB"]);
        assert_eq!([1 << 20, (324 << 20) + 1].map(|bytes| Memory(bytes).to_string()), ["1 MiB", "325 MiB"]);
    }
}
