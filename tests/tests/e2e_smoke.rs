//! The topology itself, without a relay: kernel routing must carry what the relay will carry.

use anyhow::Result;
use relay_tests::topology::addresses::{BACKEND, CLIENT};
use relay_tests::topology::{Options, Place, Topology};
use relay_tests::{privileged, process::output_of};

fn routed(options: Options) -> Result<()> {
    let topology = Topology::build(Options { open_routing: true, ..options })?;
    let backend = BACKEND.to_string();
    output_of(
        topology.at(Place::Client)?.command("ping").args(["-c", "2", "-i", "0.05", "-W", "2", &backend]),
    )?;
    let client = CLIENT.to_string();
    output_of(
        topology.at(Place::Service)?.command("ping").args(["-c", "2", "-i", "0.05", "-W", "2", &client]),
    )?;
    Ok(())
}

#[test]
fn every_variant_of_the_topology_routes() -> Result<()> {
    privileged("every_variant_of_the_topology_routes", || {
        for bits in 0..32_u8 {
            routed(Options {
                one_armed_ingress: bits & 1 != 0,
                one_armed_egress: bits & 2 != 0,
                client_router: bits & 4 != 0,
                service_router: bits & 8 != 0,
                watched_tunnel: bits & 16 != 0,
                ..Options::default()
            })?;
        }
        Ok(())
    })
}
