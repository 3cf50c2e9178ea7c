//! Taking samples: one test run of the program measured and one of the baseline, each between two calibrations.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::programs::{TestRunAttrs, xdp::XdpLinkId};
use aya::{Ebpf, EbpfLoader};

use crate::calibration::Calibration;
use crate::packets::Scenario;
use crate::relay::{Relay, xdp};
use crate::stage::{FAR, NEAR, Stage};

/// Nanoseconds a packet, and the slower of the two calibrations around them.
pub(crate) type Samples = Vec<(f64, Duration)>;

/// Samples of a scenario and of its baseline.
#[derive(Default)]
pub(crate) struct Pair {
    pub(crate) measured: Samples,
    pub(crate) baseline: Samples,
}

pub(crate) struct Sampler<'a> {
    stage: &'a Stage,
    bench: Ebpf,
    ingress: Relay,
    egress: Relay,
    template: Array<MapData, Template>,
    target: ProgramArray<MapData>,
    _links: Vec<XdpLinkId>,
}

/// As the drivers have it: the packet's words, clients less one, state of the random numbers.
#[derive(Clone, Copy)]
#[repr(C)]
struct Template {
    words: [u32; 20],
    mask: u32,
    random: u32,
}

// SAFETY: words only, no padding.
unsafe impl aya::Pod for Template {}

impl<'a> Sampler<'a> {
    pub(crate) fn load(stage: &'a Stage, relay: &Path, bench: &Path) -> Result<Self> {
        let bytes = std::fs::read(bench).with_context(|| format!("cannot read {}", bench.display()))?;
        let mut bench = EbpfLoader::new().load(&bytes).context("cannot load the drivers")?;
        let mut names: Vec<&str> = Scenario::ALL.map(Scenario::driver).to_vec();
        names.extend(["baseline_tx", "sink"]);
        for name in names {
            xdp(&mut bench, name)?.load().with_context(|| format!("cannot load the program {name}"))?;
        }
        let sink = xdp(&mut bench, "sink")?;
        // At the far end to take what arrives; at the near end so that the device has receive queues for test runs.
        let links = vec![sink.attach(FAR, XdpMode::Driver)?, sink.attach(NEAR, XdpMode::Driver)?];
        let template = bench.take_map("TEMPLATE").context("no template")?.try_into()?;
        let target = bench.take_map("MEASURED").context("no target")?.try_into()?;
        Ok(Self {
            stage,
            bench,
            ingress: Relay::load(relay, true, stage)?,
            egress: Relay::load(relay, false, stage)?,
            template,
            target,
            _links: links,
        })
    }

    pub(crate) fn sample(
        &mut self,
        scenario: Scenario,
        sources: u32,
        packets: u32,
        calibration: &mut Calibration,
        pair: &mut Pair,
    ) -> Result<()> {
        if scenario == Scenario::EgressReturn && pair.measured.is_empty() {
            let program = fd(self.egress.program()?)?;
            for source in 0..sources.div_ceil(packets) + 1 {
                // Every client has a flow: random choices leave e^-k of them out, so there are several rounds.
                let rounds = (sources * 16).max(packets) / packets + source;
                for _ in 0..rounds.max(1) {
                    self.run(Scenario::EgressForward, sources, packets, &program)?;
                }
            }
        }
        let baseline = fd(xdp(&mut self.bench, "baseline_tx")?)?;
        self.timed(scenario, sources, packets, &baseline, calibration, &mut pair.baseline)?;

        let relay = if scenario.is_ingress() { &mut self.ingress } else { &mut self.egress };
        let before = relay.ended(scenario.reason())?;
        let program = fd(relay.program()?)?;
        let runs = self.timed(scenario, sources, packets, &program, calibration, &mut pair.measured)?;
        let relay = if scenario.is_ingress() { &self.ingress } else { &self.egress };
        let ended = relay.ended(scenario.reason())? - before;
        if ended != runs * u64::from(packets) {
            bail!(
                "{}: {ended} packets of {runs} runs of {packets} ended as {}: the benchmark measures something else",
                scenario.name(),
                scenario.reason().label()
            );
        }
        Ok(())
    }

    /// Takes samples until one was taken at full speed, but not forever; how many it took.
    fn timed(
        &mut self,
        scenario: Scenario,
        sources: u32,
        packets: u32,
        program: &ProgramFd,
        calibration: &mut Calibration,
        samples: &mut Samples,
    ) -> Result<u64> {
        for run in 1..=TRIES {
            let before = calibration.measure();
            let taken = self.run(scenario, sources, packets, program)?;
            let slower = before.max(calibration.measure());
            samples.push((taken.as_secs_f64() * 1e9, slower));
            if calibration.at_full_speed(slower) {
                return Ok(run);
            }
        }
        Ok(TRIES)
    }

    /// One test run; the time of one packet.
    fn run(
        &mut self,
        scenario: Scenario,
        sources: u32,
        packets: u32,
        program: &ProgramFd,
    ) -> Result<Duration> {
        let packet = scenario.packet(self.stage.near_mac, self.stage.far_mac);
        let mut template = Template { words: [0; 20], mask: sources - 1, random: 0x9e37_79b9 };
        // The fourth word is the half that ends the Ethernet header.
        let (ethernet, rest) = packet.split_at(14);
        let padded = [ethernet, &[0; 2], rest].concat();
        for (word, bytes) in template.words.iter_mut().zip(padded.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        self.template.set(0, template, 0)?;
        self.target.set(0, program, 0)?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, packet.len() as u32, 0, self.stage.ifindex, 0, 0]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        let options = TestRunOptions {
            data_in: Some(&packet),
            ctx_in: Some(&context),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..TestRunOptions::new()
        };
        let driver = xdp(&mut self.bench, scenario.driver())?;
        Ok(driver.test_run(options).context("the kernel refuses the live-frame test run")?.duration)
    }
}

/// The 25th percentile of the samples taken at full speed, their number, and the number of the others.
pub(crate) fn quartile(samples: &Samples, calibration: &Calibration) -> (f64, usize, usize) {
    let mut kept: Vec<f64> = samples
        .iter()
        .filter(|(_, taken)| calibration.at_full_speed(*taken))
        .map(|(nanoseconds, _)| *nanoseconds)
        .collect();
    kept.sort_by(f64::total_cmp);
    let quartile = kept.get(kept.len() / 4).copied().unwrap_or(f64::NAN);
    (quartile, kept.len(), samples.len() - kept.len())
}

/// Samples taken at most for one that counts.
const TRIES: u64 = 24;

fn fd(program: &Xdp) -> Result<ProgramFd> {
    Ok(program.fd()?.try_clone()?)
}
