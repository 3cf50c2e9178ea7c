//! `cargo xtask bench`: what a packet costs, measured in the kernel.

use anyhow::{Result, bail};

use crate::{process, setup, workspace};

/// Measure nanoseconds a packet of each way over a program that only returns XDP_TX, or XDP_DROP for what is dropped, and check that two
/// CPUs lose no count (needs root)
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Measure only the scenario of this name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Numbers of clients, powers of two, separated by commas; `fresh`: every packet from a new one. Each scenario has its own
    /// default
    #[arg(long, value_name = "LIST")]
    sources: Option<String>,
    /// Samples of each scenario
    #[arg(long, value_name = "NUMBER", default_value = "24")]
    repetitions: u32,
    /// Packets in a sample
    #[arg(long, value_name = "NUMBER", default_value = "150000")]
    packets: u32,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !workspace::is_root()? {
        bail!("bench loads programs into the kernel: run it as root");
    }
    setup::ensure(&[setup::Group::Bpf])?;
    let mut command = workspace::cargo("run");
    command.args(["--quiet", "--package", "relay-tests", "--bin", "measure", "--"]);
    command.args(["--repetitions", &options.repetitions.to_string()]);
    command.args(["--packets", &options.packets.to_string()]);
    if let Some(sources) = &options.sources {
        command.args(["--sources", sources]);
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    if options.json {
        command.arg("--json");
    }
    process::run(&mut command)
}
