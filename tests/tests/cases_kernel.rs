//! The packet cases in the kernel: byte for byte and count for count what the host says.

use anyhow::{Context, Result, ensure};
use relay_tests::cases::host::Host;
use relay_tests::cases::judge::difference;
use relay_tests::cases::kernel::Kernel;
use relay_tests::cases::{judge, load};
use relay_tests::privileged;

#[test]
fn every_case_ends_in_the_kernel_as_on_the_host() -> Result<()> {
    privileged("every_case_ends_in_the_kernel_as_on_the_host", || {
        // On a thread of its own, whose end is that of the namespace.
        std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run() -> Result<()> {
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
