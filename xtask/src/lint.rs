//! `cargo xtask lint`: clippy with warnings denied, for the host and for the BPF target.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    bpf::{
        compile::{OBJECTS, command},
        toolchain::{Compiler, Toolchain},
    },
    process, setup, workspace,
};

/// Run clippy with warnings denied, for the host and for the BPF target.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only for the host
    #[arg(long, conflicts_with = "bpf")]
    host: bool,
    /// Only for the BPF target
    #[arg(long)]
    bpf: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(&[setup::Group::Bpf, setup::Group::Lint])?;
    if !options.bpf {
        host()?;
    }
    if options.host { Ok(()) } else { bpf() }
}

pub(crate) fn host() -> Result<()> {
    process::run(workspace::cargo("clippy").args(["--workspace", "--all-targets", "--", "-Dwarnings"]))
}

/// Lints the BPF crate as it is compiled for the kernel; the host sees an empty program there.
pub(crate) fn bpf() -> Result<()> {
    let toolchain =
        Toolchain::detect().ok().context("the BPF toolchain is missing: run `cargo xtask setup`")?;
    let driver = driver(&toolchain.compiler)
        .context("clippy for the BPF target is missing: run `cargo xtask setup`")?;
    for object in OBJECTS {
        let mut command = command(&toolchain, &driver, workspace::root(), &workspace::target(), "clippy");
        command.args(["--package", "relay-ebpf", "--bin", object.name, "--features", object.features]);
        process::run(command.args(["--", "-Dwarnings"]))?;
    }
    Ok(())
}

/// The `cargo-clippy` that belongs to the compiler for BPF: clippy is part of a compiler and does not fit another.
pub(crate) fn driver(compiler: &Compiler) -> Option<PathBuf> {
    let (Compiler::Prebuilt { rustc } | Compiler::Nightly { rustc, .. }) = compiler;
    Some(rustc.with_file_name("cargo-clippy")).filter(|path| path.exists())
}
