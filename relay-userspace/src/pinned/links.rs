//! The pinned attachments: to which interface, with which program.

use std::io;
use std::os::fd::AsFd;

use super::Node;
use crate::exit::Failure;
use crate::load::syscall;

/// An attachment that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedLink {
    /// The interface's name, as pinned.
    pub interface: String,
    /// Its index; 0 when the interface is gone.
    pub ifindex: u32,
    /// The attached program's number.
    pub program_id: u32,
}

impl Node {
    /// The node's attachments, by name of interface.
    pub fn links(&self) -> Result<Vec<PinnedLink>, Failure> {
        self.pins()
            .linked_interfaces()?
            .into_iter()
            .map(|interface| {
                let pin = self.pins().link(&interface);
                let failed =
                    |error: io::Error| Failure::io(format!("open the pinned link {}", pin.display()), &error);
                let link = syscall::open(&pin).map_err(failed)?;
                let info = syscall::link_info(link.as_fd()).map_err(failed)?;
                Ok(PinnedLink { interface, ifindex: info.ifindex, program_id: info.program_id })
            })
            .collect()
    }
}
