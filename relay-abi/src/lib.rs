//! What the kernel side and the user side of xdp-relay share: the values and names of the maps, the limits that
//! size them, and the tables of reasons and tallies.
//!
//! Nothing here decides anything. Every type that lives in a map is `repr(C)`, has no padding and has its size
//! asserted below, so that two builds with the same [`meta::ABI_VERSION`] read each other's maps.
#![no_std]

pub mod address;
pub mod bucket;
pub mod client;
pub mod counters;
pub mod endpoint;
pub mod event;
pub mod flow;
pub mod image;
mod layout;
pub mod limit;
pub mod limits;
pub mod list;
pub mod maps;
pub mod meta;
pub mod neighbour;
pub mod reason;
pub mod service_state;
pub mod tally;
pub mod verdict;

pub use address::{Be16, Ipv4, Mac};
pub use image::Image;
pub use reason::Reason;
pub use tally::Tally;
pub use verdict::Verdict;
