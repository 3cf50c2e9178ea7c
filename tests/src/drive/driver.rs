//! Driving: live-frame test runs of a driver, which makes the packets and jumps to a program.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramFd, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use super::packets::Packet;
use super::sources::Order;
use super::stage::{FAR, NEAR, Stage};

#[path = "../../../relay-ebpf/src/driver/template.rs"]
mod template;

use template::Template;

// SAFETY: words only, no padding.
unsafe impl aya::Pod for Template {}

/// The object with the drivers, aligned for the parser.
static DRIVERS: &[u8] = aya::include_bytes_aligned!(env!("RELAY_DRIVERS"));

/// The object with the drivers, for its other programs.
pub(super) fn load_object() -> Result<Ebpf> {
    EbpfLoader::new().load(DRIVERS).context("cannot load the object with the drivers")
}

/// A driver, for one CPU at a time.
pub struct Driver {
    object: Ebpf,
    stage: Stage,
    template: Array<MapData, Template>,
    target: ProgramArray<MapData>,
    /// State of the random numbers.
    random: u32,
    /// The next source in turn, where all are fresh.
    turn: u32,
}

/// Programs of a driver's object to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// Sends each packet back.
    Transmit,
    /// Drops each packet.
    Drop,
}

impl Baseline {
    const fn program(self) -> &'static str {
        match self {
            Self::Transmit => "baseline_tx",
            Self::Drop => "baseline_drop",
        }
    }
}

impl Driver {
    /// Loads the drivers.
    pub fn load(stage: &Stage) -> Result<Self> {
        let mut object = load_object()?;
        for name in PROGRAMS {
            xdp(&mut object, name)?.load().with_context(|| format!("cannot load the program {name}"))?;
        }
        let template = object.take_map("TEMPLATE").context("no template")?.try_into()?;
        let target = object.take_map("MEASURED").context("no target")?.try_into()?;
        Ok(Self { object, stage: *stage, template, target, random: 0x9e37_79b9, turn: 0 })
    }

    /// Puts programs on both ends of the link, for as long as the driver lives: at the far end to take what is sent, at the near end
    /// so that it can be named as the one packets come in on. One driver of a stage does so.
    pub fn open_link(&mut self) -> Result<[XdpLinkId; 2]> {
        let sink = xdp(&mut self.object, "sink")?;
        Ok([sink.attach(FAR, XdpMode::Driver)?, sink.attach(NEAR, XdpMode::Driver)?])
    }

    /// Chooses other sources at random from now on.
    pub(super) fn reseed(&mut self, seed: u32) {
        self.random = seed | 1;
    }

    /// A program to compare with.
    pub fn baseline(&mut self, baseline: Baseline) -> Result<ProgramFd> {
        fd(xdp(&mut self.object, baseline.program())?)
    }

    /// Runs a program on so many packets, on the CPU of the calling thread; the time of one, as the kernel tells it.
    pub fn run(
        &mut self,
        program: &ProgramFd,
        packet: Packet,
        order: Order,
        packets: u32,
    ) -> Result<Duration> {
        // The driver fills in the client's address.
        let frame = packet.frame(Ipv4Addr::UNSPECIFIED, self.stage.near_mac, self.stage.far_mac);
        self.template.set(0, self.template(&frame, order), 0)?;
        if let Order::Fresh = order {
            self.turn = self.turn.wrapping_add(packets);
        }
        self.random = self.random.wrapping_mul(0x915f_77f5) | 1;
        self.target.set(0, program, 0)?;
        let context = context(&frame, &self.stage);
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        let driver = xdp(&mut self.object, packet.driver())?;
        Ok(driver.test_run(options).context("the kernel refuses the live-frame test run")?.duration)
    }

    fn template(&self, frame: &[u8], order: Order) -> Template {
        let (first, sources) = order.range();
        let random = if matches!(order, Order::Random(_)) { self.random } else { 0 };
        let mut template =
            Template { words: [0; template::WORDS], first, mask: sources - 1, random, turn: self.turn };
        // The fourth word is the half that ends the Ethernet header.
        let (ethernet, rest) = frame.split_at(14);
        let padded = [ethernet, &[0; 2], rest].concat();
        for (word, bytes) in template.words.iter_mut().zip(padded.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        template
    }
}

/// What a driver's object is used for here.
const PROGRAMS: [&str; 7] = [
    "drive_from_client",
    "drive_to_client",
    "drive_tunnel_from_client",
    "drive_tunnel_to_client",
    "baseline_tx",
    "baseline_drop",
    "sink",
];

/// Packets that the kernel hands on together: as many as a device's poll.
const BATCH: u32 = 64;

/// `struct xdp_md` of a frame that comes in at the near end: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
/// egress_ifindex.
fn context(frame: &[u8], stage: &Stage) -> Vec<u8> {
    [0, frame.len() as u32, 0, stage.ifindex, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// Runs a program on one frame: the action it returns, and the frame it leaves.
pub(super) fn run_once(program: &Xdp, frame: &[u8], stage: &Stage) -> Result<(u32, Vec<u8>)> {
    let context = context(frame, stage);
    let mut out = vec![0; 2048];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::new()
    };
    let result = program.test_run(options).context("the kernel refuses the test run")?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}

/// An XDP program of an object.
pub(super) fn xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// A descriptor of a loaded program.
pub(super) fn fd(program: &Xdp) -> Result<ProgramFd> {
    Ok(program.fd()?.try_clone()?)
}
