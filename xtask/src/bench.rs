//! `cargo xtask bench`: what a packet costs, measured in the kernel.

use anyhow::{Result, bail};

use crate::{
    bpf::compile::{MAIN, Object},
    build, process, setup, workspace,
};

/// Measure nanoseconds a packet of each way over a program that only returns XDP_TX (needs root)
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Measure only the scenario of this name
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Numbers of clients, powers of two, separated by commas
    #[arg(long, value_name = "LIST", default_value = "1,1024")]
    sources: String,
    /// Samples of each scenario
    #[arg(long, value_name = "NUMBER", default_value = "24")]
    repetitions: u32,
    /// Packets in a sample
    #[arg(long, value_name = "NUMBER", default_value = "150000")]
    packets: u32,
}

/// The drivers and baselines.
pub(crate) const BENCH: Object = Object { name: "bench", features: "" };

pub(crate) fn run(options: &Options) -> Result<()> {
    if !workspace::is_root()? {
        bail!("bench loads programs into the kernel: run it as root");
    }
    setup::ensure(&[setup::Group::Bpf])?;
    let (relay, bench) = (build::object(MAIN)?, build::object(BENCH)?);
    let mut command = workspace::cargo("run");
    command.args(["--quiet", "--package", "relay-tests", "--bin", "measure", "--"]);
    command.arg("--relay").arg(relay).arg("--bench").arg(bench);
    command.args(["--sources", &options.sources]);
    command.args(["--repetitions", &options.repetitions.to_string()]);
    command.args(["--packets", &options.packets.to_string()]);
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    if options.json {
        command.arg("--json");
    }
    process::run(&mut command)
}
