//! How full the flow table is, read through a memory mapping: a million entries without a system call each.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use relay_abi::flow::{ANSWERED, BUSY, FlowSet};
use relay_abi::limits::FLOW_WAYS;
use relay_abi::maps;
use serde::Serialize;

use super::Node;
use super::map::ReadOnlyMap;
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
        let table = ReadOnlyMap::open_mappable(&self.pins().map(maps::FLOWS))?;
        table.expect_value_size(size_of::<FlowSet>())?;
        let mapping = Mapping::of(&table).map_err(|error| table.failed("map", &error))?;
        let (mut used, mut answered) = (0, 0);
        for entry in mapping.words().chunks_exact(2) {
            // The kernel side writes the state last; a torn read counts an entry as before or after, which is as good.
            let (addresses, state) = (entry[0].load(Ordering::Relaxed), entry[1].load(Ordering::Relaxed));
            if addresses != 0 && state != BUSY {
                used += 1;
                answered += u64::from(state & ANSWERED != 0);
            }
        }
        let spill = self.map(maps::FLOW_SPILL)?;
        Ok(Occupancy {
            used_entries: used,
            answered_entries: answered,
            capacity_entries: u64::from(table.max_entries()) * FLOW_WAYS as u64,
            spilled_entries: spill.count()?,
            spill_capacity_entries: u64::from(spill.max_entries()),
        })
    }
}

/// A read-only mapping of a whole array of flow sets.
struct Mapping {
    start: NonNull<AtomicU64>,
    bytes: usize,
}

impl Mapping {
    fn of(table: &ReadOnlyMap) -> io::Result<Self> {
        let bytes = table.max_entries() as usize * size_of::<FlowSet>();
        // SAFETY: a new mapping at an address the kernel chooses touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                table.descriptor().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start.cast())
            .map(|start| Self { start, bytes })
            .ok_or_else(|| io::Error::other("mapped at address zero"))
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping starts at a page, is `bytes` long and lives as long as `self`; the kernel writes whole
        // 64-bit words, and nothing here stores to them.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes / size_of::<AtomicU64>()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length and no slice of it outlives `self`.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.bytes);
        }
    }
}
