//! What clients are found to ask for, and what of it they get: the meter, the fair share and the packet path's limits together.

use std::sync::atomic::Ordering::Relaxed;

use relay_abi::Ipv4;
use relay_abi::client::{DETAILED, DropClass, count, key, state};
use relay_abi::limit::DUE_SHIFT;

use super::tests::{Fabricated, address};
use super::*;

const DUE: u64 = 1 << DUE_SHIFT;
const BURST: u64 = 50;

/// Looks at a table whose services are measured in packets, but service 1 in bytes and service 9 not at all.
fn look(meter: &mut Meter, table: &Fabricated, jiffies: u64, limited: bool) -> Vec<Sent> {
    let measured = |unit| Some(Measured { unit, burst: BURST * DUE, limited });
    let mut services = [measured(Unit::Packets); 256];
    services[1] = measured(Unit::Bytes);
    services[9] = None;
    let mut sent = Vec::new();
    meter.look(&table.table(), &services, jiffies, |client| sent.push(client));
    sent
}

#[test]
fn what_was_sent_is_what_was_counted_since_the_last_look() {
    let table = Fabricated::new(64);
    let (client, _) = table.place(address(1), 0, 0).unwrap();
    client.counts.store(count(100) * 1000, Relaxed);
    let mut meter = Meter::default();
    assert_eq!(look(&mut meter, &table, 1000, false), []);
    assert_eq!(look(&mut meter, &table, 1025, false), []);
    client.counts.fetch_add(count(100) * 17, Relaxed);
    let (new, _) = table.place(address(2), 0, 0).unwrap();
    new.counts.store(count(100) * 13, Relaxed);
    let (unmeasured, _) = table.place(address(3), 9, 0).unwrap();
    unmeasured.counts.store(count(100) * 13, Relaxed);
    let mut sent: Vec<(u64, u64)> = look(&mut meter, &table, 1050, false)
        .iter()
        .map(|sent| (sent.forwarded, sent.asked / SCALE))
        .collect();
    sent.sort_unstable();
    assert_eq!(sent, [(13, 13), (17, 17)]);
}

#[test]
fn drops_are_looked_at_where_the_burst_was_exceeded() {
    let table = Fabricated::new(64);
    let (client, details) = table.place(address(1), 0, DETAILED).unwrap();
    let mut meter = Meter::default();
    details.drops[DropClass::LimitPackets as usize].store(40, Relaxed);
    look(&mut meter, &table, 1000, true);
    client.counts.store(count(100) * 5, Relaxed);
    details.drops[DropClass::LimitPackets as usize].store(70, Relaxed);
    client.dues[0].store((1020 + BURST) * DUE, Relaxed);
    let sent = look(&mut meter, &table, 1025, true);
    assert_eq!(sent, [Sent { service: 0, forwarded: 5, asked: 35 * SCALE, exempt: false }]);
}

#[test]
fn dropped_bytes_are_packets_of_the_clients_mean_length() {
    let table = Fabricated::new(64);
    let (client, details) = table.place(address(1), 1, DETAILED).unwrap();
    let mut meter = Meter::default();
    look(&mut meter, &table, 1000, true);
    client.counts.store(count(1500) * 10, Relaxed);
    client.dues[1].store(2000 * DUE, Relaxed);
    details.drops[DropClass::LimitBytes as usize].store(4, Relaxed);
    let sent = look(&mut meter, &table, 1025, true);
    assert_eq!(sent, [Sent { service: 1, forwarded: 15_000, asked: 21_000 * SCALE, exempt: false }]);
}

#[test]
fn who_has_nothing_held_against_it_is_never_limited() {
    let table = Fabricated::new(64);
    let (client, _) = table.place(address(1), 0, 0).unwrap();
    let mut meter = Meter::default();
    look(&mut meter, &table, 1000, true);
    client.counts.store(count(100) * 20, Relaxed);
    let sent = look(&mut meter, &table, 1025, true);
    assert_eq!(sent, [Sent { service: 0, forwarded: 20, asked: 0, exempt: true }]);
    // Without a limit nothing is held against anybody.
    client.counts.fetch_add(count(100) * 20, Relaxed);
    assert!(!look(&mut meter, &table, 1050, false)[0].exempt);
}

#[test]
fn counts_that_were_carried_or_begun_anew_do_not_look_huge() {
    let table = Fabricated::new(1);
    let (client, _) = table.place(address(1), 0, 0).unwrap();
    client.counts.store(count(100) * 1000, Relaxed);
    let mut meter = Meter::default();
    look(&mut meter, &table, 1000, false);
    client.counts.store(count(100) * 2, Relaxed);
    assert_eq!(look(&mut meter, &table, 1025, false)[0].forwarded, 2);
    // Another client, with more than the one before had.
    let other = key(Ipv4(address(7).octets()), 0);
    client.state.store(state(other, 0, 100), Relaxed);
    client.counts.store(count(100) * 9, Relaxed);
    assert_eq!(look(&mut meter, &table, 1050, false)[0].forwarded, 9);
}

#[test]
fn slow_clients_ask_for_their_mean() {
    let table = Fabricated::new(64);
    let (client, _) = table.place(address(1), 0, 0).unwrap();
    let mut meter = Meter::default();
    look(&mut meter, &table, 1000, false);
    let mut asked = Vec::new();
    for number in 1..=60 {
        if number % 4 == 0 {
            client.counts.fetch_add(count(100), Relaxed);
        }
        asked.push(look(&mut meter, &table, 1000 + 25 * number, false).first().map_or(0, |sent| sent.asked));
    }
    let (least, most) = (asked[20..].iter().min().unwrap(), asked[20..].iter().max().unwrap());
    // A quarter of a packet between two looks.
    assert!(*least > SCALE / 5 && *most < SCALE * 3 / 10, "{least} to {most}");
    for number in 61..=200 {
        look(&mut meter, &table, 1000 + 25 * number, false);
    }
    assert_eq!(look(&mut meter, &table, 9000, false), []);
}

/// A client that sends at a steady rate, whatever is dropped.
struct Sender {
    every: f64,
    next: f64,
    address: std::net::Ipv4Addr,
}

/// What comes through, a second, in the last two of so many seconds: the packet path holds every client to the level.
fn simulate(rates: &[f64], capacity: u64, seconds: u32) -> f64 {
    const HZ: f64 = 250.0;
    let table = Fabricated::new((rates.len() * 4).next_power_of_two());
    let mut senders = Vec::new();
    for (rate, number) in rates.iter().zip(1_u32..) {
        let address = (0x0b00_0000 + number).into();
        // Spread over the first period. Who finds its set full is left out.
        let phase = f64::from(number.wrapping_mul(0x9e37_79b1)) / f64::from(u32::MAX);
        if table.place(address, 0, DETAILED).is_some() {
            senders.push(Sender { every: 1.0 / rate, next: 1.0 + phase / rate, address });
        }
    }
    let (mut meter, mut demand) = (Meter::default(), Demand::default());
    let mut share = Share::new(capacity, None);
    look(&mut meter, &table, HZ as u64, false);
    let mut counted = 0;
    for number in 1..=seconds * 10 {
        let end = 1.0 + f64::from(number) * 0.1;
        let cost = cost_of(share.level(), Unit::Packets, HZ as u32);
        for sender in &mut senders {
            let entry = table.table().find(sender.address, 0).unwrap();
            let (client, details) = table.at(entry.place);
            while sender.next < end {
                let now = (sender.next * HZ) as u64 * DUE;
                sender.next += sender.every;
                let due = client.dues[0].load(Relaxed);
                if cost != 0 && due > now + BURST * DUE {
                    details.drops[DropClass::LimitPackets as usize].fetch_add(1, Relaxed);
                } else {
                    client.dues[0].store(due.max(now) + cost, Relaxed);
                    client.counts.fetch_add(count(100), Relaxed);
                    counted += u64::from(number > (seconds - 2) * 10);
                }
            }
        }
        demand.clear();
        for sent in look(&mut meter, &table, (end * HZ) as u64, share.level().is_some()) {
            if sent.exempt {
                demand.add_exempt(sent.forwarded * SCALE);
            } else {
                demand.add(sent.asked);
            }
        }
        share.settle(&demand, 0.1);
    }
    counted as f64 / 2.0
}

#[test]
fn fast_slow_and_mixed_clients_get_the_capacity() {
    let fast = [20.0, 50.0, 3000.0, 9000.0];
    let slow = vec![1.2; 5000];
    let mixed: Vec<f64> = (1..=2000).map(|number| f64::from(number) / 100.0).collect();
    for (name, rates, capacity) in
        [("fast", &fast[..], 2000), ("slow", &slow[..], 1000), ("mixed", &mixed[..], 6000)]
    {
        let got = simulate(rates, capacity, 12);
        println!("{name}: {got} a second of {capacity}");
        assert!((got / capacity as f64 - 1.0).abs() < 0.1, "{name}: {got} a second of {capacity}");
    }
}
