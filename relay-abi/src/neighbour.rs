//! Next hops towards clients whose link-layer address the kernel has forgotten.

use bytemuck::{Pod, Zeroable};

use crate::{Ipv4, Mac};

/// A next hop on a link: key of `NEIGHBOURS`, record of `NEIGHBOUR_MISSES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct NeighbourKey {
    /// Interface index of the link.
    pub ifindex: u32,
    /// The next hop's address.
    pub address: Ipv4,
}

/// The last known way to a next hop: value of `NEIGHBOURS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Neighbour {
    /// The next hop's link-layer address.
    pub destination: Mac,
    /// The link-layer address of the interface to send from.
    pub source: Mac,
}
