//! Keys and values of the maps of [`super::kernel_lru`], which user space fills.

use relay_abi::{Be16, Ipv4};

/// A service, by what its clients send to.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct ServiceKey(pub(crate) [u32; 2]);

impl ServiceKey {
    /// The key of a service.
    #[inline(always)]
    pub(crate) const fn new(vip: Ipv4, port: Be16, protocol: u8) -> Self {
        let [p0, p1] = port.0;
        Self([vip.word(), u32::from_ne_bytes([p0, p1, protocol, 0])])
    }
}

/// Index of the counter of packets that were forwarded.
pub(crate) const FORWARDED: u32 = 0;
