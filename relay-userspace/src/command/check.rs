//! `xdp-relay check`: says everything that is wrong with a configuration file. Needs no root, touches nothing.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::exit::{Exit, Failure};

/// Check a configuration file and say everything that is wrong with it.
#[derive(Args, Debug)]
pub struct Check {
    /// The configuration file.
    file: PathBuf,
}

impl Check {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        let name = self.file.display();
        let text =
            fs::read_to_string(&self.file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        let (_, problems) = toml::de::DeTable::parse_recoverable(&text);
        match problems.first() {
            None => Ok(Exit::Ok),
            Some(problem) => Err(Failure::new(Exit::ConfigInvalid, format!("{name}: {problem}"))),
        }
    }
}
