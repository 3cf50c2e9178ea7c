//! Counters of this CPU.

use aya_ebpf::bindings::xdp_md;
use relay_abi::counters::Counters;
use relay_abi::limits::{REASON_CODES, TALLY_CODES};
use relay_abi::{Tally, Verdict};

use crate::maps::COUNTERS;

/// Counts the end of a packet of `bytes` bytes, by the code of its reason.
#[inline(always)]
pub(crate) fn count(context: *mut xdp_md, verdict: Verdict, code: u8, bytes: u64) {
    let row = Counters::row(verdict, code) ^ unknown_zero(context);
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: the pointer is to this CPU's value, which nothing else touches while the program runs on this CPU.
    let counters: &mut Counters = unsafe { &mut *counters };
    if let Some(counter) = counters.rows.get_mut(row & (ROWS - 1)) {
        counter.packets += 1;
        counter.bytes += bytes;
    }
}

/// Counts an event inside the path.
#[inline(always)]
pub(crate) fn tally(context: *mut xdp_md, tally: Tally) {
    const { assert!(TALLY_CODES.is_power_of_two()) };
    let event = tally as usize ^ unknown_zero(context);
    let Some(counters) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: as in `count`.
    let counters: &mut Counters = unsafe { &mut *counters };
    if let Some(events) = counters.tallies.get_mut(event & (TALLY_CODES - 1)) {
        *events += 1;
    }
}

/// Zero, but the verifier does not know it. It follows each reason to this place as a constant, and without CAP_PERFMON refuses
/// one addition to a pointer whose constant differs from path to path; a number it does not know it masks, and accepts.
#[inline(always)]
pub(crate) fn unknown_zero(context: *mut xdp_md) -> usize {
    // SAFETY: the kernel hands a valid context to the program.
    let field = unsafe { &raw const (*context).ingress_ifindex };
    // SAFETY: as above; volatile, so that the compiler does not know it either.
    let first = unsafe { field.read_volatile() };
    // SAFETY: as above.
    let second = unsafe { field.read_volatile() };
    (first ^ second) as usize
}

const ROWS: usize = Verdict::COUNT * REASON_CODES;
const _: () = assert!(ROWS.is_power_of_two());
