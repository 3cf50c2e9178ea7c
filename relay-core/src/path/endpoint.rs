//! What an address, or an address and port, is to this relay.

use relay_abi::endpoint::{EndpointSet, Kind, key, set_of};
use relay_abi::limits::ENDPOINT_SETS;
use relay_abi::{Be16, Image, Ipv4};

use crate::wire::ipv4::Protocol;

/// An endpoint that was found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) index: u16,
}

impl Found {
    const NOTHING: Self = Self { kind: Kind::EMPTY, index: 0 };
}

/// The endpoint with this port, else the one of the same address and protocol with any port.
#[inline(always)]
pub(super) fn port(image: &Image, address: Ipv4, port: Be16, protocol: Protocol) -> Found {
    let found = look_up(image, address, port, protocol.0);
    if found.kind != Kind::EMPTY { found } else { look_up(image, address, Be16::ZERO, protocol.0) }
}

/// What the address itself is.
#[inline(always)]
pub(super) fn address(image: &Image, address: Ipv4) -> Found {
    look_up(image, address, Be16::ZERO, 0)
}

/// Whether an address belongs to the relays or to the service's hosts: no client has it.
#[inline(always)]
pub(super) fn ours(image: &Image, of: Ipv4) -> bool {
    address(image, of).kind != Kind::EMPTY
}

#[inline(always)]
fn look_up(image: &Image, address: Ipv4, port: Be16, protocol: u8) -> Found {
    let key = key(address, port, protocol);
    let set = set_of(image.globals.endpoint_seed, image.globals.endpoint_mask, key) & (ENDPOINT_SETS - 1);
    let Some(EndpointSet(ways)) = image.endpoints.get(set) else { return Found::NOTHING };
    let mut found = Found::NOTHING;
    for way in ways {
        if way.key == key {
            found = Found { kind: way.kind, index: way.index };
        }
    }
    found
}
