//! Programs that only benchmarks and tests load: drivers that make one packet after the other for the program measured, and
//! the programs measured against.
//!
//! In a live-frame test run the kernel hands out the same pages again and again, as the last run left them: a driver writes the
//! whole packet anew, with another client, before it jumps to the program measured.
//!
//! On a target other than BPF this is an empty program, so that the workspace builds everywhere.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the only way to atomic operations on this target")
)]

#[cfg(target_arch = "bpf")]
mod driver;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
