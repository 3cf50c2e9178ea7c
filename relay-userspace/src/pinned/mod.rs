//! A node as its pins show it, for the commands that look and never change: everything is opened for reading only.

mod counters;
mod flows;
mod links;
mod map;
mod mapping;

use std::path::{Path, PathBuf};

use bytemuck::Zeroable;
use clap::Args;
use relay_abi::meta::{self, Meta};
use relay_abi::{Image, maps};

pub use counters::Totals;
pub use flows::Occupancy;
pub use links::PinnedLink;
pub use map::ReadOnlyMap;
pub use mapping::{Mapping, Shared};

use crate::exit::{Exit, Failure};
use crate::load;
use crate::pins::{DEFAULT_PIN_DIRECTORY, Pins};

/// Which node a command is about.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Name of the relay; may be left out when only one has pins
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// Directory on a BPF filesystem that holds the pins of all relays
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIRECTORY)]
    pub pin_directory: PathBuf,
}

impl Selection {
    /// Finds the node and opens it.
    pub fn open(&self) -> Result<Node, Failure> {
        Node::open(self.find()?)
    }

    fn find(&self) -> Result<Pins, Failure> {
        let directory = self.pin_directory.display();
        if let Some(name) = &self.node {
            let pins = Pins::new(&self.pin_directory, name);
            return if exists(pins.directory())? {
                Ok(pins)
            } else {
                Err(Failure::new(Exit::NotRunning, format!("no relay named {name} has pins under {directory}"))
                    .hint("start it with `xdp-relay run --config FILE`, or name another with --node or --pin-directory"))
            };
        }
        let mut nodes = Pins::nodes(&self.pin_directory)?;
        match (nodes.pop(), nodes.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(Failure::new(Exit::NotRunning, format!("no relay has pins under {directory}"))
                .hint("start one with `xdp-relay run --config FILE`, or name the directory with --pin-directory")),
            (Some(last), _) => {
                nodes.push(last);
                let names: Vec<&str> = nodes.iter().map(Pins::node).collect();
                let message = format!("{} relays have pins under {directory}: {}", nodes.len(), names.join(", "));
                Err(Failure::new(Exit::Usage, message).hint("choose one with --node NAME"))
            }
        }
    }
}

/// The pins of one node, of a version this program understands.
#[derive(Debug)]
pub struct Node {
    pins: Pins,
    meta: Meta,
}

impl Node {
    /// Opens a node's pins.
    pub fn open(pins: Pins) -> Result<Self, Failure> {
        if !exists(&pins.map(maps::META))? {
            let directory = pins.directory().display();
            return Err(Failure::new(Exit::NotRunning, format!("the pins in {directory} are not complete"))
                .hint(
                    "a start was interrupted: start the relay again, or remove them with `xdp-relay unload`",
                ));
        }
        let mut meta = Meta::zeroed();
        ReadOnlyMap::open(&pins.map(maps::META))?.read(&mut meta)?;
        understood(&pins, &meta)?;
        Ok(Self { pins, meta })
    }

    /// The node's pins.
    #[must_use]
    pub const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// What the pins say of themselves.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// `ingress` or `egress`.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        if self.meta.role == meta::ROLE_INGRESS { "ingress" } else { "egress" }
    }

    /// Opens one of the node's maps.
    pub fn map(&self, name: &str) -> Result<ReadOnlyMap, Failure> {
        ReadOnlyMap::open(&self.pins.map(name))
    }

    /// Reads the image in force.
    pub fn image(&self) -> Result<Box<Image>, Failure> {
        load::image_in_force(&self.pins).ok_or_else(|| {
            let node = self.pins.node();
            Failure::new(Exit::NotRunning, format!("no configuration is in force for node {node}"))
                .hint("a start was interrupted: start the relay again")
        })
    }
}

/// Whether something is there; that we may not look is an error.
fn exists(path: &Path) -> Result<bool, Failure> {
    std::fs::exists(path).map_err(|error| {
        let failure = Failure::io(format!("look at {}", path.display()), &error);
        if failure.exit == Exit::Permission {
            failure.hint("run this as the user that runs the relay")
        } else {
            failure
        }
    })
}

fn understood(pins: &Pins, meta: &Meta) -> Result<(), Failure> {
    let directory = pins.directory().display();
    if meta.magic != meta::MAGIC {
        return Err(Failure::new(
            Exit::Failed,
            format!("the pins in {directory} are not those of an xdp-relay"),
        ));
    }
    if meta.abi_version != meta::ABI_VERSION {
        let (found, ours) = (meta.abi_version, meta::ABI_VERSION);
        let message =
            format!("the maps in {directory} have layout version {found}, this program reads {ours}");
        return Err(Failure::new(Exit::Failed, message)
            .hint("use the xdp-relay that runs this node, or restart the node with this one"));
    }
    if ![meta::ROLE_INGRESS, meta::ROLE_EGRESS].contains(&meta.role) {
        return Err(Failure::new(
            Exit::Failed,
            format!("the pins in {directory} name no role this program knows"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn selection(directory: &tempfile::TempDir, node: Option<&str>) -> Selection {
        Selection { node: node.map(str::to_owned), pin_directory: directory.path().to_owned() }
    }

    #[test]
    fn the_only_node_is_found_and_several_must_be_named() {
        let directory = tempfile::tempdir().unwrap();
        let none = selection(&directory, None).find().unwrap_err();
        assert_eq!(none.exit, Exit::NotRunning);
        fs::create_dir(directory.path().join("ingress-1")).unwrap();
        assert_eq!(selection(&directory, None).find().unwrap().node(), "ingress-1");
        fs::create_dir(directory.path().join("egress-1")).unwrap();
        let several = selection(&directory, None).find().unwrap_err();
        assert_eq!(several.exit, Exit::Usage);
        assert!(several.message.contains("2 relays") && several.message.ends_with("egress-1, ingress-1"));
        assert_eq!(selection(&directory, Some("egress-1")).find().unwrap().node(), "egress-1");
        assert_eq!(selection(&directory, Some("egress-2")).find().unwrap_err().exit, Exit::NotRunning);
    }

    #[test]
    fn incomplete_pins_are_not_a_running_relay() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        let failure = selection(&directory, None).open().unwrap_err();
        assert_eq!(failure.exit, Exit::NotRunning);
        assert!(failure.hint.unwrap().contains("unload"));
    }

    #[test]
    fn pins_of_others_and_of_other_versions_are_refused() {
        let pins = Pins::new(Path::new("/pins"), "a");
        let good = Meta {
            magic: meta::MAGIC,
            abi_version: meta::ABI_VERSION,
            role: meta::ROLE_EGRESS,
            ..Meta::zeroed()
        };
        assert!(understood(&pins, &good).is_ok());
        let refused = |meta| understood(&pins, &meta).unwrap_err().message;
        assert!(refused(Meta { magic: 1, ..good }).contains("not those of an xdp-relay"));
        assert!(refused(Meta { abi_version: 99, ..good }).contains("layout version 99"));
        assert!(refused(Meta { role: 9, ..good }).contains("no role"));
    }
}
