//! The binary `xdp-relay`: reads the command line, runs one command, ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    relay_userspace::cli::run().into()
}
