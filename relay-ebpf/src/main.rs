//! The XDP shell around `relay-core`: the entry points, the packet over the kernel's pointers, the tables over the maps.
//! It takes no decision.
//!
//! On a target other than BPF this is an empty program, so that the workspace builds everywhere.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the only way to atomic operations on this target")
)]

#[cfg(target_arch = "bpf")]
mod apart;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod event;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod program;
#[cfg(target_arch = "bpf")]
mod route;
#[cfg(target_arch = "bpf")]
mod tables;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
