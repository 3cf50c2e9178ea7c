//! What an ingress relay's status says of its clients: how full the tables are, and what each service counted.

use relay_abi::maps;
use serde::Serialize;

use crate::clients::{Clients as Tables, Fill, ServiceTotals, Unit};
use crate::command::table::Table;
use crate::exit::Failure;
use crate::pinned::Node;

/// The tables of clients and prefixes, and the totals of the services.
#[derive(Debug, Serialize)]
pub(super) struct Clients {
    #[serde(flatten)]
    fill: Fill,
    /// Clients that gave their place to another one.
    evicted_clients: u64,
    /// Memory of both tables.
    memory_bytes: u64,
    services: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    service: String,
    /// What each client may send a second while more is asked for than the service can take.
    fair_share_packets: Option<f64>,
    fair_share_bytes: Option<f64>,
    #[serde(flatten)]
    totals: ServiceTotals,
}

impl Clients {
    /// Reads them; `None` at an egress relay.
    pub(super) fn of(node: &Node) -> Result<Option<Self>, Failure> {
        if node.role() != "ingress" {
            return Ok(None);
        }
        let tables = Tables::open(node)?;
        let services = tables
            .services()
            .iter()
            .map(|(index, _)| {
                let share = tables.fair_share(index);
                let in_unit = |unit| share.filter(|(of, _)| *of == unit).map(|(_, level)| level);
                Ok(Row {
                    service: tables.services().name(index),
                    fair_share_packets: in_unit(Unit::Packets),
                    fair_share_bytes: in_unit(Unit::Bytes),
                    totals: node.service_totals(index)?,
                })
            })
            .collect::<Result<Vec<Row>, Failure>>()?;
        Ok(Some(Self {
            fill: node.fill(&tables)?,
            evicted_clients: services.iter().map(|row| row.totals.evicted).sum(),
            memory_bytes: memory(node)?,
            services,
        }))
    }

    /// A line of the heading.
    pub(super) fn line(&self) -> String {
        let Fill { used_places, verified_places, capacity_places, used_prefixes, capacity_prefixes } =
            self.fill;
        format!(
            "clients     {used_places} of {capacity_places} places used, {verified_places} verified, {} evicted; \
             {used_prefixes} of {capacity_prefixes} prefixes; {} KiB\n",
            self.evicted_clients,
            self.memory_bytes.div_ceil(1024),
        )
    }

    /// What each service counted.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&[
            "service",
            ">packets",
            ">bytes",
            ">back",
            ">back bytes",
            ">connections",
            ">dropped",
            ">evicted",
            "fair share",
        ]);
        for row in &self.services {
            let Row { service, totals, fair_share_packets, fair_share_bytes } = row;
            let share = |level: &Option<f64>, unit| level.map(|level| format!("{level:.0} {unit}/s"));
            let share = share(fair_share_packets, "packets").or_else(|| share(fair_share_bytes, "bytes"));
            table.row([
                service.clone(),
                totals.forward_packets.to_string(),
                totals.forward_bytes.to_string(),
                totals.return_packets.to_string(),
                totals.return_bytes.to_string(),
                totals.connections.to_string(),
                totals.dropped_packets.to_string(),
                totals.evicted.to_string(),
                share.unwrap_or_else(|| "-".into()),
            ]);
        }
        table
    }
}

/// Memory of the tables that grow with the number of clients.
fn memory(node: &Node) -> Result<u64, Failure> {
    let tables = [maps::CLIENTS, maps::CLIENT_DETAILS, maps::PREFIXES];
    tables.iter().map(|name| node.map(name)?.memory_bytes()).sum()
}
