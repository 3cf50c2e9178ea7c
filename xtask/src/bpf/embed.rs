//! What a build script does so that `include_bytes!(env!(...))` finds a BPF object. Only build scripts include this file,
//! beside `mod bpf`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::bpf::{
    compile::{CompileError, OBJECTS, compile},
    toolchain::Toolchain,
};

/// What an object is made of, relative to the workspace: nothing else needs a new one.
const INPUTS: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "relay-abi/Cargo.toml",
    "relay-abi/src",
    "relay-core/Cargo.toml",
    "relay-core/src",
    "relay-ebpf/Cargo.toml",
    "relay-ebpf/src",
    "xtask/src/bpf",
];

/// Builds an object, by its name, and names its path in an environment variable of the crate's compiler.
pub(crate) fn embed(name: &str, variable: &str) -> ExitCode {
    let Some(object) = OBJECTS.into_iter().find(|object| object.name == name) else {
        println!("cargo::error=there is no BPF object {name}");
        return ExitCode::SUCCESS;
    };
    let directory = |name| PathBuf::from(env::var_os(name).unwrap_or_default());
    let out = directory("OUT_DIR");
    let manifest = directory("CARGO_MANIFEST_DIR");
    let workspace = manifest.parent().unwrap_or(&manifest);

    println!("cargo::rerun-if-changed=build.rs");
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    if let Ok(toolchain) = Toolchain::detect() {
        println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    }

    let built = match compile(workspace, target_directory(&out), object, false) {
        Ok(built) => built,
        Err(error @ CompileError::Compiler { .. }) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        // Cargo turns this into one line, and stops.
        Err(error) => {
            println!("cargo::error={error}");
            return ExitCode::SUCCESS;
        }
    };
    // A copy of this build's own: another build in the same target directory may replace the original.
    let copy = out.join(object.name);
    if let Err(error) = fs::copy(&built, &copy) {
        println!("cargo::error=cannot copy {} to {}: {error}", built.display(), copy.display());
    }
    println!("cargo::rustc-env={variable}={}", copy.display());
    ExitCode::SUCCESS
}

/// Cargo marks the root of its target directory; the BPF build is shared by all profiles there.
fn target_directory(out: &Path) -> &Path {
    out.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists()).unwrap_or(out)
}
