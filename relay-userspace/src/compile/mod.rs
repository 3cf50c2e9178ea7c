//! Compiling: a valid configuration and facts about this host become the image of the maps. Pure.
//!
//! The same configuration gives the same image on every host and in every run, but for what the host's facts say; two
//! ingress relays with equal services therefore pick the same backend for the same packet.

mod egress;
mod endpoints;
mod error;
mod globals;
mod ingress;
pub mod inputs;
mod mix;
mod peers;
mod policy;
mod pool;
mod proof_key;
mod ring;
mod rows;
#[cfg(test)]
pub(crate) mod sample;
mod tables;

pub use error::{Error, What};
pub use globals::tick_shift;
pub use ingress::service_rows;
pub use inputs::{Clock, Link, Links, NextHops, ResolvedHop};
pub use policy::due_units;
pub use tables::{Memory, client_sets, flow_sets, prefix_sets, table_memory};

use relay_abi::Image;
use relay_abi::endpoint::Kind;
use relay_abi::image::Globals;
use relay_abi::limits::PEERS;

use crate::config::valid::{Config, Role};

/// Makes the image of a configuration. `table_seed` is that of the flow table in use, `generation` the number the image
/// gets; neither influences anything else.
pub fn compile(
    config: &Config,
    links: &Links,
    next_hops: &NextHops,
    table_seed: u64,
    generation: u64,
) -> Result<Box<Image>, Error> {
    error::fits(What::Peers, config.peers.len(), PEERS)?;
    let mut image = bytemuck::allocation::zeroed_box::<Image>();
    image.globals = globals::globals(config, links, table_seed, generation);
    for (row, peer) in image.peers.iter_mut().zip(&config.peers) {
        *row = peers::peer(&config.tunnel, peer.address, next_hops);
    }
    let mut rows = rows::Rows::default();
    // Of two meanings of an address the first one counts: a VIP is usually this host's own address as well.
    match &config.role {
        Role::Ingress(ingress) => {
            ingress::services(config, ingress, links.clock.jiffies_per_second, &mut rows);
        }
        Role::Egress(egress) => egress::services(egress, next_hops, &mut rows),
    }
    for (index, peer) in (0..).zip(&config.peers) {
        rows.endpoints.add_address(peer.address, Kind::PEER, index);
    }
    for address in std::iter::once(&config.tunnel.local).chain(&links.own_addresses) {
        rows.endpoints.add_address(*address, Kind::OWN, 0);
    }
    rows.write(&mut image)?;
    Ok(image)
}

/// Whether two images do the same to every packet: equal but for the number of their generation.
#[must_use]
pub fn same(a: &Image, b: &Image) -> bool {
    let globals = Globals { generation: b.globals.generation, ..a.globals };
    // The globals come first; all types are plain bytes without padding.
    let rest = |image| &bytemuck::bytes_of::<Image>(image)[size_of::<Globals>()..];
    globals == b.globals && rest(a) == rest(b)
}

#[cfg(test)]
mod tests;
