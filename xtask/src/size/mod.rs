//! `cargo xtask size`: what the BPF programs cost: instructions, what the verifier looks at, stack.

mod budget;
mod chain;
mod verify;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::{bpf::compile::MAIN, build, setup, workspace};

/// Load the BPF programs into the kernel and print the size of each.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Fail if a program is over its budget in xtask/budget.toml
    #[arg(long)]
    check: bool,
}

impl Options {
    pub(crate) const CHECK: Self = Self { json: false, check: true };
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Size {
    pub(crate) program: String,
    /// Given to the kernel, subprograms included.
    pub(crate) instructions: u64,
    /// Looked at by the verifier, each as often as it did; the kernel's limit is 1,000,000.
    pub(crate) verified_instructions: u64,
    /// Of the deepest chain of calls; the kernel's limit is 512.
    pub(crate) stack_bytes: u64,
    /// Of machine code; 0 without a JIT compiler.
    pub(crate) jited_bytes: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !workspace::is_root()? {
        bail!("loading BPF programs needs root: run `cargo xtask size` as root");
    }
    setup::ensure(&[setup::Group::Bpf])?;
    let path = build::object(MAIN)?;
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let sizes = verify::sizes(&object).with_context(|| format!("cannot measure {}", path.display()))?;
    if options.json {
        for size in &sizes {
            println!("{}", serde_json::to_string(size)?);
        }
    } else {
        print_table(&sizes);
    }
    if options.check { budget::check(&sizes) } else { Ok(()) }
}

fn print_table(sizes: &[Size]) {
    println!(
        "{:<16} {:>12} {:>12} {:>11} {:>11}",
        "program", "instructions", "verified", "stack bytes", "jited bytes"
    );
    for size in sizes {
        println!(
            "{:<16} {:>12} {:>12} {:>11} {:>11}",
            size.program, size.instructions, size.verified_instructions, size.stack_bytes, size.jited_bytes
        );
    }
}
