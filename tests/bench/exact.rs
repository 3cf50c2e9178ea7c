//! Whether two CPUs that account for the same clients at once lose a count, and what it costs them.

use anyhow::{Result, ensure};
use relay_tests::drive::driver::Baseline;
use relay_tests::drive::packets::{BYTES, Packet};
use relay_tests::drive::relay::UDP_SERVICE;
use relay_tests::drive::{Order, Relay, Stage, TwoCpus};
use serde::Serialize;

use crate::calibration::Calibration;
use crate::case::Sources;
use crate::sample::{Samples, quartile};
use crate::subject::wide;

/// The name of the check.
pub(crate) const NAME: &str = "exact_counts";

/// What came out for a number of sources.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    /// Clients that the packets came from, both CPUs' at random; none: each packet from a new one, which are the same on both.
    sources: Option<u32>,
    /// Packets sent so far, on both CPUs.
    packets: u64,
    /// Those sent less those counted, over clients and what those left behind that gave their places away.
    packets_difference: i64,
    /// The same of bytes.
    bytes_difference: i64,
    /// Clients that gave their places away so far.
    evicted: u64,
    /// Nanoseconds a packet over the baseline while one CPU works alone.
    one_cpu_ns: f64,
    /// The same on each CPU while both work.
    two_cpus_ns: f64,
    /// Samples that were thrown away.
    discarded: usize,
}

/// Runs the check and prints what it found; fails if a count is lost.
pub(crate) fn run(
    stage: &Stage,
    sources: &[Sources],
    repetitions: u32,
    packets: u32,
    json: bool,
) -> Result<()> {
    let mut cpus = TwoCpus::load(stage)?;
    let mut relay = Relay::ingress(stage, &wide())?;
    let mut calibration = Calibration::start();
    let mut sent = 0;
    if !json {
        println!(
            "\n{NAME:<13} {:>8} {:>11} {:>10} {:>8} {:>9} {:>8} {:>9} {:>9}",
            "sources", "packets", "difference", "of bytes", "evicted", "one CPU", "two CPUs", "discarded"
        );
    }
    for sources in sources {
        let mut costs = Costs::default();
        sent +=
            costs.measure(&mut cpus, &mut relay, sources.order(), repetitions, packets, &mut calibration)?;
        let account = relay.account(UDP_SERVICE)?;
        let difference = |sent: u64, counted: u64| sent.wrapping_sub(counted).cast_signed();
        let (one, lost) = costs.over(0, &calibration);
        let (two, lost_too) = costs.over(1, &calibration);
        let line = Line {
            name: NAME,
            sources: sources.number(),
            packets: sent,
            packets_difference: difference(sent, account.packets()),
            bytes_difference: difference(sent * BYTES, account.forwarded_bytes()),
            evicted: account.totals.evicted,
            one_cpu_ns: one,
            two_cpus_ns: two,
            discarded: lost + lost_too,
        };
        print(&line, json)?;
        ensure!(
            (line.packets_difference, line.bytes_difference) == (0, 0)
                && account.missing == Default::default(),
            "counts were lost: {account:?}"
        );
    }
    Ok(())
}

/// Samples of the baseline and of the relay, on one CPU and on two.
#[derive(Default)]
struct Costs {
    baseline: [Samples; 2],
    relay: [Samples; 2],
}

impl Costs {
    /// The packets sent through the relay.
    fn measure(
        &mut self,
        cpus: &mut TwoCpus,
        relay: &mut Relay,
        order: Order,
        repetitions: u32,
        packets: u32,
        calibration: &mut Calibration,
    ) -> Result<u64> {
        let (baseline, program) = (cpus.baseline(Baseline::Transmit)?, relay.program()?);
        let mut sent = 0;
        if let Order::Random(sources) = order {
            cpus.both(&program, Packet::Forward, Order::InTurn(sources), sources)?;
            sent += 2 * u64::from(sources);
        }
        for _ in 0..repetitions {
            for (target, samples) in [(&baseline, &mut self.baseline), (&program, &mut self.relay)] {
                let [one, two] = samples;
                let before = calibration.measure();
                let taken = cpus.one(target, Packet::Forward, order, packets)?;
                let between = calibration.measure();
                one.push((taken.as_secs_f64() * 1e9, before.max(between)));
                let taken = cpus.both(target, Packet::Forward, order, packets)?;
                let mean = taken.iter().map(|each| each.as_secs_f64()).sum::<f64>() / 2.0;
                two.push((mean * 1e9, between.max(calibration.measure())));
            }
            sent += 3 * u64::from(packets);
        }
        Ok(sent)
    }

    /// The relay's cost on one CPU (0) or two (1), and how many samples were thrown away.
    fn over(&self, cpus: usize, calibration: &Calibration) -> (f64, usize) {
        let (relay, _, lost) = quartile(&self.relay[cpus], calibration);
        let (baseline, _, lost_too) = quartile(&self.baseline[cpus], calibration);
        (relay - baseline, lost + lost_too)
    }
}

fn print(line: &Line, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(line)?);
        return Ok(());
    }
    let sources = line.sources.map_or("fresh".to_owned(), |sources| sources.to_string());
    println!(
        "{:<13} {sources:>8} {:>11} {:>10} {:>8} {:>9} {:>8.1} {:>9.1} {:>9}",
        "",
        line.packets,
        line.packets_difference,
        line.bytes_difference,
        line.evicted,
        line.one_cpu_ns,
        line.two_cpus_ns,
        line.discarded
    );
    Ok(())
}
