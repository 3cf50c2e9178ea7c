//! `xdp-relay unload`: takes a data plane down. Its traffic stops.

use std::path::PathBuf;

use clap::Args;
use relay_abi::maps;

use crate::command::output;
use crate::exit::{Exit, Failure};
use crate::pins::{self, Pins};
use crate::{load, lock};

const EXAMPLES: &str = "\
Examples:
  xdp-relay unload                    the only node of this host
  xdp-relay unload --node ingress-1

Ends with 0 also if nothing was pinned, 1 while a controller runs for the node.";

/// Detach a node's program and remove everything it pinned; its traffic stops
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Unload {
    /// Node; may be left out when only one is pinned
    #[arg(long)]
    node: Option<String>,

    /// Directory that holds the nodes' pins
    #[arg(long, value_name = "DIR", default_value = pins::DEFAULT_PIN_DIRECTORY)]
    pin_directory: PathBuf,
}

impl Unload {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        let Some(pins) = self.chosen()? else {
            output::line(&format!("nothing is pinned in {}", self.pin_directory.display()))?;
            return Ok(Exit::Ok);
        };
        if !pins.directory().exists() {
            output::line(&format!("nothing is pinned for node {}", pins.node()))?;
            return Ok(Exit::Ok);
        }
        let _lock = lock::lock_pins(&pins)?;
        // Links first: a program must not lose its maps while it runs. Then META, for without it the rest is known to be
        // a leftover if we are interrupted.
        let interfaces = load::detach_all(&pins)?;
        pins::remove(&pins.map(maps::META))?;
        pins.remove_leftovers()?;
        pins.remove_directory()?;
        let from = match interfaces.as_slice() {
            [] => String::new(),
            interfaces => format!(", detached from {}", interfaces.join(" and ")),
        };
        output::line(&format!("unloaded node {}{from}", pins.node()))?;
        Ok(Exit::Ok)
    }

    fn chosen(&self) -> Result<Option<Pins>, Failure> {
        if let Some(node) = &self.node {
            return Ok(Some(Pins::new(&self.pin_directory, node)));
        }
        let mut nodes = Pins::nodes(&self.pin_directory)?;
        if nodes.len() > 1 {
            let names: Vec<&str> = nodes.iter().map(Pins::node).collect();
            return Err(Failure::new(
                Exit::Usage,
                format!("{} has several nodes: {}", self.pin_directory.display(), names.join(", ")),
            )
            .hint("choose one with --node"));
        }
        Ok(nodes.pop())
    }
}
