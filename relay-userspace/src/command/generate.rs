//! `xdp-relay generate`: the pages and files that are made from the program itself. Hidden from users' help.

use clap::{Args, Subcommand};

use crate::command::output;
use crate::config;
use crate::exit::{Exit, Failure};

/// Print documentation made from the program itself
#[derive(Args, Debug)]
pub struct Generate {
    #[command(subcommand)]
    page: Page,
}

#[derive(Debug, Subcommand)]
enum Page {
    /// The configuration reference, `docs/config.md`
    ConfigReference,
}

impl Generate {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        match self.page {
            Page::ConfigReference => output::text(&config::reference())?,
        }
        Ok(Exit::Ok)
    }
}
