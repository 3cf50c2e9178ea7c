//! Samples of dropped packets, into the ring `EVENTS`.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_xdp_load_bytes};
use relay_abi::event::{EVENT_BYTES, Event};

use crate::maps::EVENTS;

/// Writes one field of a record; not the record as a whole, which would be put together on the stack.
macro_rules! put {
    ($event:ident, $field:ident, $value:expr) => {
        // SAFETY: the record has room for one event.
        let place = unsafe { &raw mut (*$event).$field };
        // SAFETY: as above; the fields are plain numbers.
        unsafe { place.write($value) };
    };
}

/// Writes the first bytes of a frame of `length` bytes into the ring; whether there was room.
#[inline(always)]
pub(crate) fn report(context: *mut xdp_md, reason_code: u8, length: usize, suppressed: u64) -> bool {
    let Some(mut record) = EVENTS.reserve_untyped::<Event>(0) else { return false };
    let event = record.as_mut_ptr();
    // SAFETY: the helper takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the kernel hands a valid context to the program.
    let ifindex = unsafe { (*context).ingress_ifindex };
    // SAFETY: as for the clock.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    put!(event, time_ns, now);
    put!(event, length, length as u32);
    put!(event, ifindex, ifindex);
    put!(event, reason, reason_code as u32);
    put!(event, suppressed, suppressed.min(u32::MAX as u64) as u32);
    put!(event, cpu, cpu);
    // SAFETY: the record has room for one event.
    let start = unsafe { &raw mut (*event).start }.cast::<u8>();
    let captured = if length >= EVENT_BYTES {
        EVENT_BYTES
    } else {
        for word in 0..EVENT_BYTES / 8 {
            // SAFETY: the bytes have this many words, and the record is aligned to words.
            let place = unsafe { start.cast::<u64>().add(word) };
            // SAFETY: as above.
            unsafe { place.write_volatile(0) };
        }
        // Never 0, which the helper refuses: a frame has a header.
        length & (EVENT_BYTES - 1) | (length == 0) as usize
    };
    put!(event, captured, captured as u32);
    // SAFETY: the buffer has at least as many bytes; the helper checks the packet's bounds.
    let refused = unsafe { bpf_xdp_load_bytes(context, 0, start.cast(), captured as u32) };
    if refused == 0 {
        record.submit(0);
    } else {
        record.discard(0);
    }
    refused == 0
}
