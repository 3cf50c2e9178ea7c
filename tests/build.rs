//! Puts the object with the drivers where `include_bytes!(env!("RELAY_DRIVERS"))` finds it.

use std::process::ExitCode;

#[path = "../xtask/src/bpf/mod.rs"]
mod bpf;
#[path = "../xtask/src/bpf/embed.rs"]
mod embed;

fn main() -> ExitCode {
    embed::embed("bench", "RELAY_DRIVERS")
}
