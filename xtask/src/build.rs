//! `cargo xtask build`: the BPF objects, then the workspace.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    bpf::compile::{OBJECTS, Object, compile},
    process, setup, workspace,
};

/// Build the BPF objects and the workspace.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build the host side optimised
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(&[setup::Group::Bpf])?;
    for each in OBJECTS {
        eprintln!("{}", object(each)?.display());
    }
    let mut command = workspace::cargo("build");
    command.arg("--workspace");
    if options.release {
        command.arg("--release");
    }
    process::run(&mut command)
}

/// Builds an object, showing the compiler's output, and returns its path.
pub(crate) fn object(object: Object) -> Result<PathBuf> {
    Ok(compile(workspace::root(), &workspace::target(), object, true)?)
}
