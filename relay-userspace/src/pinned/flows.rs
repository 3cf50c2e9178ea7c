//! How full the flow table is, read through a memory mapping.

use std::sync::atomic::Ordering::Relaxed;

use relay_abi::flow::{ANSWERED, BUSY, FlowSet};
use relay_abi::limits::FLOW_WAYS;
use relay_abi::maps;
use serde::Serialize;

use super::Node;
use super::mapping::Mapping;
use crate::exit::Failure;

/// How full the flow table of an egress relay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Occupancy {
    /// Entries that hold a flow, old ones included: an entry is given away only when its place is needed.
    pub used_entries: u64,
    /// Of these, flows that saw a reply.
    pub answered_entries: u64,
    /// Entries the table has.
    pub capacity_entries: u64,
    /// Flows in the spill table beside it.
    pub spilled_entries: u64,
    /// Entries the spill table has.
    pub spill_capacity_entries: u64,
}

impl Node {
    /// Counts the flows.
    pub fn occupancy(&self) -> Result<Occupancy, Failure> {
        let table = Mapping::<FlowSet>::read(&self.pins().map(maps::FLOWS))?;
        let (mut used, mut answered) = (0, 0);
        for flow in table.values().iter().flat_map(|set| &set.0) {
            // The kernel side writes the state last; a torn read counts an entry as before or after, which is as good.
            let (addresses, state) = (flow.addresses.load(Relaxed), flow.state.load(Relaxed));
            if addresses != 0 && state != BUSY {
                used += 1;
                answered += u64::from(state & ANSWERED != 0);
            }
        }
        let spill = self.map(maps::FLOW_SPILL)?;
        Ok(Occupancy {
            used_entries: used,
            answered_entries: answered,
            capacity_entries: (table.values().len() * FLOW_WAYS) as u64,
            spilled_entries: spill.count()?,
            spill_capacity_entries: u64::from(spill.max_entries()),
        })
    }
}
