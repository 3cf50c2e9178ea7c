//! How the BPF objects are built, and with what.
//!
//! Answers: which toolchain is on this machine, what is the exact compiler command, where does the object land.
//! Installs nothing and knows nothing of the command line. The build scripts of `relay-userspace` and `tests` include
//! this directory by path, so that `cargo build` and `cargo xtask build` cannot drift apart; hence the standard library only.

pub(crate) mod compile;
pub(crate) mod toolchain;
