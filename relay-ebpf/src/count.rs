//! Counters of this CPU.

use relay_abi::counters::Counters;
use relay_abi::limits::TALLY_CODES;
use relay_abi::{Tally, Verdict};

use crate::maps::COUNTERS;

/// Counts the end of a packet of `bytes` bytes, by the code of its reason.
#[inline(always)]
pub(crate) fn count(verdict: Verdict, code: u8, bytes: u64) {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: the pointer is to this CPU's value, which nothing else touches while the program runs on this CPU.
    let counters: &mut Counters = unsafe { &mut *counters };
    if let Some(counter) = counters.rows.get_mut(Counters::row(verdict, code)) {
        counter.packets += 1;
        counter.bytes += bytes;
    }
}

/// Counts an event inside the path.
#[inline(always)]
pub(crate) fn tally(tally: Tally) {
    const { assert!(TALLY_CODES.is_power_of_two()) };
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: as in `count`.
    let counters: &mut Counters = unsafe { &mut *counters };
    if let Some(events) = counters.tallies.get_mut(tally as usize & (TALLY_CODES - 1)) {
        *events += 1;
    }
}
