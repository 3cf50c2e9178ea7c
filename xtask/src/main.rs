//! `cargo xtask`: everything that is done to this repository, one command each. CI does nothing else.

mod bench;
mod bpf;
mod build;
mod ci;
mod demo;
mod generate;
mod links;
mod lint;
mod process;
mod setup;
mod size;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, tests and measures xdp-relay.",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Options),
    Build(build::Options),
    Demo(demo::Options),
    Test(test::Options),
    Bench(bench::Options),
    Size(size::Options),
    Generate(generate::Options),
    Lint(lint::Options),
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::Build(options) => build::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Size(options) => size::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Lint(options) => lint::run(&options),
        Command::Ci(options) => ci::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
