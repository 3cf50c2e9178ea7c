//! The program that the benchmark compares with does the relay's work: what it sends is the same to the byte.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use relay_tests::drive::kernel_lru::KernelLru;
use relay_tests::drive::lists::Blocklist;
use relay_tests::drive::stage::apart;
use relay_tests::drive::{Driver, Packet, Relay, Stage, sources};
use relay_tests::privileged;

#[test]
fn the_straightforward_program_sends_what_the_relay_sends() -> Result<()> {
    privileged("the_straightforward_program_sends_what_the_relay_sends", || apart(same))
}

fn same() -> Result<()> {
    const DROP: u32 = 1;
    const TRANSMIT: u32 = 3;
    const BLOCKED: u32 = 7;
    let stage = Stage::build()?;
    let mut driver = Driver::load(&stage)?;
    driver.open_link()?;
    let blocked = [sources::address(BLOCKED).into()];
    let mut relay = Relay::ingress(&stage, "")?;
    relay.block(&Blocklist::of(&blocked)?)?;
    let mut straightforward = KernelLru::load(&stage, 1000, &blocked)?;
    let frame = |client: Ipv4Addr| Packet::Forward.frame(client, stage.near_mac, stage.far_mac);
    for source in 0..100 {
        let frame = frame(sources::address(source));
        let (action, sent) = relay.run_once(&frame, &stage)?;
        let expected = if source == BLOCKED { DROP } else { TRANSMIT };
        ensure!(action == expected, "source {source}: the relay returned {action}");
        let (theirs, their_frame) = straightforward.run_once(&frame, &stage)?;
        ensure!(theirs == action, "source {source}: the relay returned {action}, the other program {theirs}");
        ensure!(their_frame == sent, "source {source}: {sent:02x?} and {their_frame:02x?}");
    }
    // Neither takes what no client can have sent.
    for martian in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::BROADCAST] {
        let frame = frame(martian);
        ensure!(
            relay.run_once(&frame, &stage)?.0 == DROP && straightforward.run_once(&frame, &stage)?.0 == DROP
        );
    }
    Ok(())
}
