//! The rows of an image while it is made: services, backends and endpoints, in the order they are met.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use relay_abi::image::{Backend, Service};
use relay_abi::limits::{BACKENDS, RING_SLOTS, SERVICES};
use relay_abi::{Be16, Image, Ipv4};

use super::endpoints::Endpoints;
use super::error::{Error, What, fits};
use super::pool::{Pool, RingId};
use crate::config::valid::{Port, Protocol};

/// What a role's part of the compiler fills.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) endpoints: Endpoints,
    pub(super) pool: Pool,
    services: Vec<(Service, RingId)>,
    backends: Vec<Backend>,
    known: HashMap<(Ipv4, Be16, u8), u16>,
}

impl Rows {
    /// Adds a service on one VIP; gives its row. `policy` is a row with what the service asks of its clients.
    pub(super) fn service(
        &mut self,
        vip: Ipv4Addr,
        port: Port,
        protocol: Protocol,
        translate: u8,
        ring: RingId,
        policy: Service,
    ) -> u16 {
        let service = Service {
            vip: Ipv4(vip.octets()),
            port: Be16::new(number(port)),
            protocol: wire(protocol),
            translate,
            ..policy
        };
        self.services.push((service, ring));
        row(self.services.len())
    }

    /// Adds a backend, or finds the one with the same address, port and protocol; gives its row.
    pub(super) fn backend(&mut self, backend: Backend, protocol: Option<Protocol>) -> u16 {
        let next = row(self.backends.len() + 1);
        let key = (backend.address, backend.port, protocol.map_or(0, wire));
        let row = *self.known.entry(key).or_insert(next);
        if row == next {
            self.backends.push(backend);
        }
        row
    }

    /// Writes everything into the image, or says what does not fit.
    pub(super) fn write(&self, image: &mut Image) -> Result<(), Error> {
        fits(What::Services, self.services.len(), SERVICES)?;
        fits(What::Backends, self.backends.len(), BACKENDS)?;
        let layout = self.pool.lay_out()?;
        fits(What::RingSlots, layout.slots.len(), RING_SLOTS)?;
        image.ring[..layout.slots.len()].copy_from_slice(&layout.slots);
        image.backends[..self.backends.len()].copy_from_slice(&self.backends);
        for (row, (service, ring)) in image.services.iter_mut().zip(&self.services) {
            let span = layout.span(*ring);
            *row = Service { ring_start: span.start, ring_length: span.length, ..*service };
        }
        let (seed, mask) = self.endpoints.place(&mut image.endpoints)?;
        image.globals.endpoint_seed = seed;
        image.globals.endpoint_mask = mask;
        Ok(())
    }
}

/// The number of the row just added. Rows past the tables' ends are refused by [`Rows::write`].
fn row(rows: usize) -> u16 {
    u16::try_from(rows - 1).unwrap_or(u16::MAX)
}

/// A port as the image has it: 0 for any.
pub(super) const fn number(port: Port) -> u16 {
    match port {
        Port::Any => 0,
        Port::Number(number) => number,
    }
}

/// A protocol's number on the wire.
pub(super) const fn wire(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}
