//! What a pinned set of maps says of itself, so that a later start knows whether it may adopt them.

use bytemuck::{Pod, Zeroable};

/// First word of [`Meta`]: "xdprelay" in ASCII.
pub const MAGIC: u64 = u64::from_be_bytes(*b"xdprelay");

/// Raised with every change to the layout or meaning of a map value.
pub const ABI_VERSION: u32 = 2;

/// [`Meta::role`] of an ingress relay.
pub const ROLE_INGRESS: u32 = 1;
/// [`Meta::role`] of an egress relay.
pub const ROLE_EGRESS: u32 = 2;

/// The value of the map `META`, written once, before the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Meta {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`ABI_VERSION`] of the program that made the maps.
    pub abi_version: u32,
    /// [`ROLE_INGRESS`] or [`ROLE_EGRESS`].
    pub role: u32,
    /// Seed of the placement in the flow table and the client tables: random, and the same as long as they live.
    pub table_seed: u64,
    /// When the maps were made, in seconds since 1970.
    pub created_seconds: u64,
}
