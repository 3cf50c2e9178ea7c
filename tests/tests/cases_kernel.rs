//! The packet cases in the kernel: byte for byte and count for count what the host says.

use anyhow::{Context, Result, ensure};
use relay_abi::Tally;
use relay_tests::cases::host::Host;
use relay_tests::cases::judge::{Runner as _, difference};
use relay_tests::cases::kernel::Kernel;
use relay_tests::cases::mutation::{Arrival, Mutations};
use relay_tests::cases::relay::With;
use relay_tests::cases::truncation::cut;
use relay_tests::cases::{Case, Relay, judge, load};
use relay_tests::privileged;

#[test]
fn every_case_ends_in_the_kernel_as_on_the_host() -> Result<()> {
    privileged("every_case_ends_in_the_kernel_as_on_the_host", || apart(every_case))
}

#[test]
fn a_packet_cut_at_any_length_ends_in_the_kernel_as_on_the_host() -> Result<()> {
    privileged("a_packet_cut_at_any_length_ends_in_the_kernel_as_on_the_host", || apart(every_length))
}

#[test]
fn changed_packets_end_in_the_kernel_as_on_the_host() -> Result<()> {
    privileged("changed_packets_end_in_the_kernel_as_on_the_host", || apart(changed_packets))
}

/// Runs on a thread of its own, whose end is that of the namespace.
fn apart(run: fn() -> Result<()>) -> Result<()> {
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn every_case() -> Result<()> {
    let cases = load()?;
    let (mut host, mut kernel) = (Host::default(), Kernel::new().context("set up the kernel's side")?);
    let (mut ran, mut packets, mut failures) = (0, 0, Vec::new());
    for case in cases.iter().filter(|case| case.host_only.is_none()) {
        let seen = match judge(&mut kernel, case) {
            Ok(seen) => seen,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        // The host's own failures are its test's to tell.
        for (host, kernel) in judge(&mut host, case).unwrap_or_default().iter().zip(&seen) {
            failures
                .extend(difference(host, kernel).into_iter().map(|what| format!("{}: {what}", case.name)));
        }
        ran += 1;
        packets += seen.len();
    }
    println!("{ran} cases, {packets} packets in the kernel");
    ensure!(failures.is_empty(), "{} cases failed in the kernel:\n{}", failures.len(), failures.join("\n"));
    ensure!(ran > 0, "no case ran in the kernel");
    Ok(())
}

fn every_length() -> Result<()> {
    let cases = load()?;
    let (mut host, mut kernel) = (Host::default(), Kernel::new().context("set up the kernel's side")?);
    let (mut problems, mut packets) = (Vec::new(), 0);
    for case in cases.iter().filter(|case| case.host_only.is_none()) {
        let seen = cut(&mut kernel, case, &mut problems)?;
        let expected = cut(&mut host, case, &mut problems)?;
        for (host, kernel) in expected.iter().zip(&seen) {
            problems
                .extend(difference(host, kernel).into_iter().map(|what| format!("{}: {what}", case.name)));
        }
        packets += seen.len();
    }
    println!("{packets} packets cut short in the kernel");
    ensure!(problems.is_empty(), "{} of {packets} packets:\n{}", problems.len(), problems.join("\n"));
    ensure!(packets > 0, "no packet ran in the kernel");
    Ok(())
}

fn changed_packets() -> Result<()> {
    let (mut host, mut kernel) = (Host::default(), Kernel::new().context("set up the kernel's side")?);
    // Limits that nobody reaches: the host's clock stands still.
    let with = With { icmp_rate: Some(1_000_000), icmp_prefix_rate: Some(1_000_000), ..With::default() };
    for (name, seed) in [("ingress", 7), ("egress", 8)] {
        let case = Case::plain(name, &with, &["client:40000 > web1:8443 tcp via=ingress1"]);
        let own = Relay::new(name, &with, host.machine())?;
        let relay = Relay::new(name, &with, kernel.machine())?;
        let arrivals = Mutations::of(&load()?, seed)?.filter(|arrival| arrival.relay == name);
        for (number, Arrival { device, frame, .. }) in arrivals.take(CHANGED).enumerate() {
            // Before flows and clients of the kernel age beside those of the host.
            if number % 100 == 0 {
                host.prepare(&case, &own)?;
                kernel.prepare(&case, &relay)?;
            }
            let mut expected = host.run(&own, &device, &frame)?;
            let mut seen = kernel.run(&relay, &device, &frame)?;
            // Reports are spaced by the clock.
            for observed in [&mut expected, &mut seen] {
                observed.counters.tallies[Tally::NeighbourReported as usize] = 0;
            }
            if [Tally::FlowDisplaced, Tally::ClientEvicted]
                .iter()
                .any(|tally| seen.counters.tally(*tally) > 0)
            {
                // Which one goes depends on the clock: start anew.
                host.prepare(&case, &own)?;
                kernel.prepare(&case, &relay)?;
                continue;
            }
            let problems = difference(&expected, &seen);
            ensure!(problems.is_empty(), "{name}: {problems:?}, from {device}: {frame:02x?}");
        }
    }
    Ok(())
}

/// Changed packets for each relay.
const CHANGED: usize = 10_000;
