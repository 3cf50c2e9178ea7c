//! Two CPUs that account for the same clients at the same time, at full speed: what the clients add up to is what was sent.

use anyhow::{Result, ensure};
use relay_tests::drive::packets::{BYTES, Packet};
use relay_tests::drive::relay::UDP_SERVICE;
use relay_tests::drive::stage::apart;
use relay_tests::drive::{Order, Relay, Stage, TwoCpus};
use relay_tests::privileged;
use relay_userspace::clients::Difference;

#[test]
fn two_cpus_lose_no_count_of_the_clients_they_share() -> Result<()> {
    privileged("two_cpus_lose_no_count_of_the_clients_they_share", || apart(shared))
}

#[test]
fn clients_that_give_their_places_away_take_no_count_with_them() -> Result<()> {
    privileged("clients_that_give_their_places_away_take_no_count_with_them", || apart(evicted))
}

#[test]
fn what_two_cpus_drop_is_counted_as_exactly() -> Result<()> {
    privileged("what_two_cpus_drop_is_counted_as_exactly", || apart(dropped))
}

/// Clients that all have a place.
fn shared() -> Result<()> {
    let stage = Stage::build()?;
    let mut cpus = TwoCpus::load(&stage)?;
    let mut relay = Relay::ingress(&stage, &table_for(65_536))?;
    let mut sent = 0;
    for order in [Order::InTurn(1), Order::Random(16), Order::Random(1024), Order::InTurn(4096)] {
        sent += drive(&mut cpus, &mut relay, order)?;
        let evicted = exact(&relay, sent, format!("{order:?}"))?;
        ensure!(evicted == 0, "{order:?}: {evicted} clients gave their places away in a table with room");
    }
    Ok(())
}

/// Clients that take each other's places all the time, while the other CPU counts for them.
fn evicted() -> Result<()> {
    let stage = Stage::build()?;
    let mut cpus = TwoCpus::load(&stage)?;
    let mut relay = Relay::ingress(&stage, &table_for(1024))?;
    let mut sent = 0;
    for order in [Order::Random(4096), Order::InTurn(4096), Order::Random(65_536), Order::Fresh] {
        sent += drive(&mut cpus, &mut relay, order)?;
        let evicted = exact(&relay, sent, format!("{order:?}"))?;
        ensure!(evicted > 0, "{order:?}: no client gave its place away, so nothing was tested");
    }
    Ok(())
}

/// Clients over their limits, some of whose packets are forwarded.
fn dropped() -> Result<()> {
    let stage = Stage::build()?;
    let mut cpus = TwoCpus::load(&stage)?;
    let policy = format!("[limits]\nclient_packets = 1000\n{}", table_for(1024));
    let mut relay = Relay::ingress(&stage, &policy)?;
    let mut sent = 0;
    for order in [Order::InTurn(1), Order::Random(64), Order::Random(4096)] {
        sent += drive(&mut cpus, &mut relay, order)?;
        exact(&relay, sent, format!("{order:?}"))?;
    }
    let dropped = relay.totals(UDP_SERVICE)?.dropped_packets;
    ensure!(dropped > sent / 10, "{dropped} of {sent} packets were dropped: too few to test anything");
    Ok(())
}

fn table_for(clients: u32) -> String {
    format!("[clients]\nentries = {clients}\n")
}

/// Drives both CPUs; the packets sent.
fn drive(cpus: &mut TwoCpus, relay: &mut Relay, order: Order) -> Result<u64> {
    cpus.both(&relay.program()?, Packet::Forward, order, PACKETS)?;
    Ok(2 * u64::from(PACKETS))
}

/// Checks the account against what was sent; the clients that have given their places away.
fn exact(relay: &Relay, sent: u64, what: String) -> Result<u64> {
    let account = relay.account(UDP_SERVICE)?;
    let totals = &account.totals;
    ensure!(
        account.missing == Difference::default(),
        "{what}: the service's counts are more than those of its clients by {:?}",
        account.missing
    );
    ensure!(account.packets() == sent, "{what}: {} packets of {sent} are counted", account.packets());
    let bytes = totals.forward_bytes + totals.dropped_bytes;
    ensure!(bytes == sent * BYTES, "{what}: {bytes} bytes of {} are counted", sent * BYTES);
    Ok(totals.evicted)
}

/// On each CPU, of each order.
const PACKETS: u32 = 250_000;
