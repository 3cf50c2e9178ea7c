//! Finds a compiler with a `core` for BPF, and the linker.

use std::{
    env,
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

pub(crate) const LINKER: &str = "bpf-linker";

/// Where Debian's `rustc-web` puts its compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler and the linker, both there.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
}

/// The two ways to a `core` for the BPF target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// A released rustc with a prebuilt `core` (Debian's `libstd-rust-web-dev-bpf`).
    Prebuilt { rustc: PathBuf },
    /// rustup's nightly, which builds `core` from the `rust-src` component.
    Nightly { cargo: PathBuf, rustc: PathBuf },
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) compiler: bool,
    pub(crate) linker: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compiler = "a rustc with `core` for BPF";
        match (self.compiler, self.linker) {
            (true, true) => write!(f, "{compiler} and {LINKER}"),
            (true, false) => f.write_str(compiler),
            (false, _) => f.write_str(LINKER),
        }
    }
}

impl Toolchain {
    pub(crate) fn detect() -> Result<Self, Missing> {
        match (compiler(), linker()) {
            (Some(compiler), Some(linker)) => Ok(Self { compiler, linker }),
            (compiler, linker) => Err(Missing { compiler: compiler.is_none(), linker: linker.is_none() }),
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rustc = match &self.compiler {
            Compiler::Prebuilt { rustc } | Compiler::Nightly { rustc, .. } => rustc,
        };
        let version = output(rustc, ["--version"]).unwrap_or_default();
        let core = match self.compiler {
            Compiler::Prebuilt { .. } => "prebuilt core",
            Compiler::Nightly { .. } => "core from rust-src",
        };
        write!(f, "{} ({version}, {core}), {}", rustc.display(), self.linker.display())
    }
}

/// The compiler to use: Debian's before rustup's, because its version is the one the project is tested with.
pub(crate) fn compiler() -> Option<Compiler> {
    prebuilt().or_else(nightly)
}

fn prebuilt() -> Option<Compiler> {
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    let libdir = output(&rustc, ["--print", "target-libdir", "--target", BPF_TARGET])?;
    let has_core = Path::new(&libdir)
        .read_dir()
        .ok()?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"));
    has_core.then_some(Compiler::Prebuilt { rustc })
}

fn nightly() -> Option<Compiler> {
    let rustup = find("rustup")?;
    let rustc = PathBuf::from(output(&rustup, ["which", "--toolchain", "nightly", "rustc"])?);
    let cargo = PathBuf::from(output(&rustup, ["which", "--toolchain", "nightly", "cargo"])?);
    let sysroot = output(&rustc, ["--print", "sysroot"])?;
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    source.exists().then_some(Compiler::Nightly { cargo, rustc })
}

pub(crate) fn linker() -> Option<PathBuf> {
    find(LINKER)
}

/// Looks a program up in `PATH`, then where cargo installs and where administrators' tools live, which an
/// ordinary user's `PATH` leaves out.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_bin = cargo_home().map(|home| home.join("bin"));
    env::split_paths(&path)
        .chain(cargo_bin)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

pub(crate) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Standard output of a command that succeeded, without the line end.
fn output<const N: usize>(program: &Path, arguments: [&str; N]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments.map(OsStr::new))
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
