//! `cargo xtask setup`: installs what is missing, and nothing else. Whether a thing is there is found out by looking
//! for it, so that a second run has nothing to do.

mod apt;
mod needs;

use std::{env, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    bpf::toolchain::{self, Compiler, LINKER, Toolchain},
    lint, process, workspace,
};

const LINKER_VERSION: &str = "0.13.0";

/// Install what building and testing need: a BPF toolchain, Debian packages.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// What to prepare for; everything by default
    #[arg(value_enum)]
    groups: Vec<Group>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// A rustc with `core` for BPF, and bpf-linker
    Bpf,
    /// What the end-to-end tests and the demo run: nginx, curl, tcpdump ...
    Test,
    /// rustfmt, and clippy for the host and for BPF
    Lint,
}

const ALL: &[Group] = &[Group::Bpf, Group::Test, Group::Lint];

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure(if options.groups.is_empty() { ALL } else { &options.groups })?;
    if let Ok(toolchain) = Toolchain::detect() {
        eprintln!("BPF toolchain: {toolchain}");
    }
    eprintln!("nothing is missing");
    Ok(())
}

/// Installs what of `groups` is missing. Says nothing if nothing is.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    let plan = Plan::new(groups)?;
    apt::install(&plan.packages)?;
    if plan.nightly {
        install_nightly()?;
    }
    if plan.linker {
        install_linker()?;
    }
    if groups.contains(&Group::Lint) {
        install_components()?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Plan {
    /// Debian's.
    packages: Vec<&'static str>,
    /// rustup's nightly compiler.
    nightly: bool,
    /// bpf-linker, built here.
    linker: bool,
}

impl Plan {
    fn new(groups: &[Group]) -> Result<Self> {
        let mut plan = Self::default();
        let compiler = toolchain::compiler();
        if groups.contains(&Group::Bpf) {
            plan.linker = toolchain::linker().is_none();
            if compiler.is_none() {
                plan.add_compiler()?;
            }
            if plan.linker && !plan.nightly && !matches!(compiler, Some(Compiler::Nightly { .. })) {
                plan.packages.extend(missing(needs::LINKER));
            }
        }
        if groups.contains(&Group::Test) {
            plan.packages.extend(missing(needs::TEST));
        }
        if groups.contains(&Group::Lint)
            && !plan.nightly
            && compiler.as_ref().and_then(lint::driver).is_none()
        {
            match compiler {
                Some(Compiler::Nightly { .. }) => plan.nightly = true,
                Some(Compiler::Prebuilt { .. }) | None => plan.packages.push(needs::LINT_PACKAGE),
            }
        }
        Ok(plan)
    }

    /// Debian's compiler first, rustup's where that cannot be had.
    fn add_compiler(&mut self) -> Result<()> {
        let rustup = toolchain::find("rustup").is_some();
        if apt::offers(needs::COMPILER_PACKAGES, rustup)? {
            self.packages.extend(needs::COMPILER_PACKAGES);
        } else if rustup {
            self.nightly = true;
        } else {
            bail!(
                "there is no compiler for BPF and no way to install one: install rustup, whose nightly with rust-src \
                 does, or on Debian {}",
                needs::COMPILER_PACKAGES.join(" ")
            );
        }
        Ok(())
    }
}

fn missing(needs: &'static [needs::Need]) -> impl Iterator<Item = &'static str> {
    needs.iter().filter(|need| need.is_missing()).map(|need| need.package)
}

fn install_nightly() -> Result<()> {
    let mut command = Command::new("rustup");
    command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    command.args(["--component", "rust-src", "--component", "clippy"]);
    process::run_with_progress("setup: installing rustup's nightly with rust-src", &mut command)
}

fn install_linker() -> Result<()> {
    let package = format!("{LINKER}@{LINKER_VERSION}");
    let mut command;
    match toolchain::compiler() {
        Some(Compiler::Prebuilt { .. }) => {
            command = workspace::cargo("install");
            command.args([package.as_str(), "--locked", "--no-default-features", "--features", "llvm-22"]);
            command.env("LLVM_PREFIX", needs::LLVM_PREFIX).env("PATH", path_with(needs::LLVM_PREFIX)?);
        }
        Some(Compiler::Nightly { cargo, rustc }) => {
            command = Command::new(cargo);
            command.args(["install", package.as_str(), "--locked"]).env("RUSTC", rustc);
        }
        None => bail!("cannot build {LINKER}: no rustc with `core` for BPF was found after installing one"),
    }
    // A build of its own, with the machine's own flags.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    process::run_with_progress(&format!("setup: building {package} with cargo install"), &mut command)?;
    if toolchain::linker().is_none() {
        bail!("{package} was installed, but not to a directory in PATH: add cargo's bin directory to PATH");
    }
    Ok(())
}

fn path_with(prefix: &str) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let first = PathBuf::from(prefix).join("bin");
    Ok(env::join_paths(std::iter::once(first).chain(env::split_paths(&path)))?)
}

/// rustfmt and clippy of the host toolchain.
fn install_components() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let there = workspace::cargo(subcommand)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
        if there {
            continue;
        }
        if toolchain::find("rustup").is_none() {
            bail!("`cargo {subcommand}` is missing: install {component} for the cargo in use");
        }
        let mut command = Command::new("rustup");
        command.args(["component", "add", component]);
        process::run_with_progress(&format!("setup: adding {component} with rustup"), &mut command)?;
    }
    Ok(())
}
