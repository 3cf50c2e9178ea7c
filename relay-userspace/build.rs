//! Puts the BPF object where `include_bytes!(env!("RELAY_EBPF_OBJECT"))` finds it.

use std::process::ExitCode;

#[path = "../xtask/src/bpf/mod.rs"]
mod bpf;
#[path = "../xtask/src/bpf/embed.rs"]
mod embed;

fn main() -> ExitCode {
    embed::embed("relay-ebpf", "RELAY_EBPF_OBJECT")
}
