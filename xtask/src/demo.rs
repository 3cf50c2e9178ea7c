//! `cargo xtask demo`: installs and builds what it misses, then becomes the demo program of `relay-tests`.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{bpf::compile::line, process, setup, workspace};

/// Show the relay at work: a client, two relays and a hidden service in network namespaces
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave everything up and say how to look around
    #[arg(long)]
    keep: bool,
    /// Remove what was left up, also after a crash
    #[arg(long, conflicts_with = "keep")]
    down: bool,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !workspace::is_root()? {
        bail!("the demo needs root, for network namespaces and XDP; run `cargo xtask demo` as root");
    }
    let built = workspace::target().join("debug");
    let mut demo = Command::new(built.join("demo"));
    // What stands is removed even where nothing can be built.
    if !(options.down && built.join("demo").exists()) {
        setup::ensure(&[setup::Group::Bpf, setup::Group::Test])?;
        process::run(workspace::cargo("build").args(["--bin", "xdp-relay", "--bin", "demo"]))?;
    }
    demo.env("XDP_RELAY_BIN", built.join("xdp-relay"));
    for (asked, flag) in [(options.keep, "--keep"), (options.down, "--down"), (options.json, "--json")] {
        if asked {
            demo.arg(flag);
        }
    }
    // It takes this process over: a Ctrl-C reaches the one program that knows what is to be removed.
    let error = demo.exec();
    Err(error).with_context(|| format!("cannot start `{}`", line(&demo)))
}
