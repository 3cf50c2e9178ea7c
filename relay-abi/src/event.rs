//! Samples of dropped packets: records of the ring `EVENTS`.

use bytemuck::{Pod, Zeroable};

/// Bytes of a packet kept in an event.
pub const EVENT_BYTES: usize = 64;

/// A packet that was dropped, as it came in. How many there are is limited for each reason and CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Event {
    /// When: nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Bytes of the frame.
    pub length: u32,
    /// Interface it came in on.
    pub ifindex: u32,
    /// Code of the reason.
    pub reason: u32,
    /// Bytes in `start`.
    pub captured: u32,
    /// Events of this reason and CPU that found no room in the budget since the last one, at most `u32::MAX`.
    pub suppressed: u32,
    /// CPU.
    pub cpu: u32,
    /// The first bytes of the frame; behind `captured` zero.
    pub start: [u8; EVENT_BYTES],
}

/// What each CPU may report of a reason: the value of `EVENT_BUDGETS` at the reason's code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct EventBudget {
    /// Tokens, as in [`crate::bucket::Bucket`].
    pub bucket: crate::bucket::Bucket,
    /// Events not reported since the last one that was.
    pub suppressed: u64,
}
