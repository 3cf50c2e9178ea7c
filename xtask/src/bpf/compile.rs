//! The one compiler command for BPF objects.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::toolchain::{BPF_TARGET, Compiler, Missing, Toolchain, cargo_home};

/// A binary of the crate `relay-ebpf` and the cargo features it is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) features: &'static str,
}

/// The object that the relay carries.
pub(crate) const MAIN: Object = Object { name: "relay-ebpf", features: "" };

/// Drivers, and programs to measure against: for benchmarks and tests.
pub(crate) const BENCH: Object = Object { name: "bench", features: "" };

/// Every BPF object, the relay's first.
pub(crate) const OBJECTS: [Object; 2] = [MAIN, BENCH];

/// Cargo profile of the root `Cargo.toml`.
const PROFILE: &str = "bpf";

/// v3 has 32-bit jumps and arithmetic (kernel 5.1). Misaligned access is legal in BPF, and byte-array headers would
/// be read a byte at a time without it; said to the linker, which makes the code, because rustc warns of the name.
/// Stack slots are not shared: without CAP_PERFMON the verifier refuses a number where a pointer was. BTF is what maps and
/// verifier logs are named by.
const CODE_GENERATION: &[&str] = &[
    "-Ctarget-cpu=v3",
    "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
    "-Clink-arg=--llvm-args=--disable-ssc",
    "-Clink-arg=--btf",
];

#[derive(Debug)]
pub(crate) enum CompileError {
    Toolchain(Missing),
    Start {
        command: String,
        source: std::io::Error,
    },
    /// With the compiler's messages, unless they went to the terminal.
    Compiler {
        command: String,
        messages: String,
    },
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toolchain(missing) => {
                write!(f, "cannot build the BPF object without {missing}: run `cargo xtask setup`")
            }
            Self::Start { command, source } => write!(f, "cannot start `{command}`: {source}"),
            Self::Compiler { command, messages } => {
                write!(f, "cannot build the BPF object: `{command}` failed")?;
                if messages.is_empty() { Ok(()) } else { write!(f, "\n{messages}") }
            }
        }
    }
}

impl std::error::Error for CompileError {}

/// Builds `object` below `target` and returns its path. `show` lets the compiler write to the terminal.
pub(crate) fn compile(
    workspace: &Path,
    target: &Path,
    object: Object,
    show: bool,
) -> Result<PathBuf, CompileError> {
    let toolchain = Toolchain::detect().map_err(CompileError::Toolchain)?;
    let mut command = command(&toolchain, &cargo(&toolchain), workspace, target, "build");
    command.args(["--package", "relay-ebpf", "--bin", object.name, "--features", object.features]);
    run(command, show)?;
    Ok(directory(target).join(BPF_TARGET).join(PROFILE).join(object.name))
}

/// The host's target directory must not be locked, or rebuilt, by the BPF build.
fn directory(target: &Path) -> PathBuf {
    target.join("bpf")
}

fn cargo(toolchain: &Toolchain) -> PathBuf {
    match &toolchain.compiler {
        Compiler::Prebuilt { .. } => PathBuf::from(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
        Compiler::Nightly { cargo, .. } => cargo.clone(),
    }
}

/// A command of `cargo`, or of a program that runs it, for the BPF target, in an environment cleared of what an outer
/// cargo set for the host.
pub(crate) fn command(
    toolchain: &Toolchain,
    cargo: &Path,
    workspace: &Path,
    target: &Path,
    subcommand: &str,
) -> Command {
    let (Compiler::Prebuilt { rustc } | Compiler::Nightly { rustc, .. }) = &toolchain.compiler;
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(belongs_to_outer_build) {
            command.env_remove(name);
        }
    }
    command
        .current_dir(workspace)
        .env("RUSTC", rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(toolchain, workspace).join("\u{1f}"))
        .args([subcommand, "--profile", PROFILE, "--target", BPF_TARGET, "--target-dir"])
        .arg(directory(target));
    match toolchain.compiler {
        // Released compilers refuse the unstable features that `aya-ebpf` is made of.
        Compiler::Prebuilt { .. } => command.env("RUSTC_BOOTSTRAP", "1"),
        Compiler::Nightly { .. } => command.arg("-Zbuild-std=core"),
    };
    command
}

/// Cargo tells its build scripts and `cargo run` children about the host build; an inner cargo would obey.
fn belongs_to_outer_build(name: &str) -> bool {
    const KEPT: &[&str] =
        &["CARGO", "CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_BUILD_JOBS", "CARGO_INCREMENTAL"];
    const KEPT_PREFIXES: &[&str] =
        &["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_TERM_", "CARGO_SOURCE_"];
    if name.starts_with("CARGO") {
        return !KEPT.contains(&name) && !KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    }
    name.starts_with("RUSTC") || matches!(name, "RUSTFLAGS" | "RUSTDOC" | "RUSTDOCFLAGS" | "RUSTUP_TOOLCHAIN")
}

fn rust_flags(toolchain: &Toolchain, workspace: &Path) -> Vec<String> {
    let mut flags: Vec<String> = CODE_GENERATION.iter().map(|&flag| flag.to_owned()).collect();
    flags.push(format!("-Clinker={}", toolchain.linker.display()));
    // The same source gives the same bytes wherever it is checked out.
    flags.push(format!("--remap-path-prefix={}=/xdp-relay", workspace.display()));
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}

fn run(mut command: Command, show: bool) -> Result<(), CompileError> {
    command.stdin(Stdio::null());
    if show {
        let status = command.status();
        let status = status.map_err(|source| CompileError::Start { command: line(&command), source })?;
        return status.success().then_some(()).ok_or_else(|| failed(&command, String::new()));
    }
    let output =
        command.output().map_err(|source| CompileError::Start { command: line(&command), source })?;
    let messages = || String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    output.status.success().then_some(()).ok_or_else(|| failed(&command, messages()))
}

fn failed(command: &Command, messages: String) -> CompileError {
    CompileError::Compiler { command: line(command), messages }
}

/// A command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
