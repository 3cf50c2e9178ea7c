//! Floods: paced, from one source, from many or from ever new ones, and counted to the packet.

mod burst;
mod sources;
mod template;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::raw::{Injector, hop_to};
use crate::topology::Namespace;
use crate::waiting::wait_until;
use burst::Burst;
pub use sources::Sources;
use template::Template;
pub use template::{Kind, MARK};

/// The ring of a veth holds 256 frames, and the queue in front of it 1000: so much may be sent at once.
const MOST_AT_ONCE: u64 = 256;
const PAUSE: Duration = Duration::from_micros(500);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Pour {
    pub kind: Kind,
    pub sources: Sources,
    pub target: SocketAddrV4,
    pub packets_per_second: u32,
    /// Number of the first packet: floods after one another that are to have no source in common start where the last ended.
    pub first: u64,
    /// Ends by itself after so many packets.
    pub packets: Option<u64>,
}

/// A flood that runs until it is told to end.
#[derive(Debug)]
pub struct Flood {
    told_to_end: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: Option<JoinHandle<Result<Duration>>>,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Poured {
    /// Packets that the kernel took.
    pub packets: u64,
    pub seconds: f64,
}

impl Poured {
    pub fn packets_per_second(&self) -> f64 {
        self.packets as f64 / self.seconds.max(1e-9)
    }
}

impl Flood {
    /// Starts to send from `device` of `host` through its neighbour `gateway`.
    pub fn start(host: &Namespace, device: &str, gateway: Ipv4Addr, pour: Pour) -> Result<Self> {
        let injector = Injector::open(host, device)?;
        let template = Template::new(pour.kind, &hop_to(host, device, gateway)?, pour.target)?;
        let told_to_end = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stop, count) = (Arc::clone(&told_to_end), Arc::clone(&sent));
        // A socket stays in the namespace it was made in: its sender needs not be there.
        let sender = std::thread::spawn(move || send(injector, &template, &pour, &stop, &count));
        Ok(Self { told_to_end, sent, sender: Some(sender) })
    }

    /// How many packets were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many packets were sent in all.
    pub fn wait_for(&self, packets: u64) -> Result<()> {
        wait_until("a flood to go on", Duration::from_secs(60), || {
            let ended = self.sender.as_ref().is_none_or(JoinHandle::is_finished);
            if ended && self.sent() < packets {
                bail!("the flood ended early, after {} packets", self.sent());
            }
            Ok(self.sent() >= packets)
        })
    }

    /// Ends the flood and says what was sent.
    pub fn finish(mut self) -> Result<Poured> {
        self.told_to_end.store(true, Ordering::Relaxed);
        self.end()
    }

    /// Waits until a flood of so many packets has sent them all.
    pub fn run_out(mut self) -> Result<Poured> {
        self.end()
    }

    fn end(&mut self) -> Result<Poured> {
        let Some(sender) = self.sender.take() else { bail!("the flood was ended before") };
        let took = sender.join().map_err(|_panic| anyhow!("the sender of a flood panicked"))??;
        Ok(Poured { packets: self.sent(), seconds: took.as_secs_f64() })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.told_to_end.store(true, Ordering::Relaxed);
    }
}

fn send(
    injector: Injector,
    template: &Template,
    pour: &Pour,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<Duration> {
    let mut burst = Burst::new(injector, template);
    let start = Instant::now();
    let mut allowance_from = start;
    let mut allowance = 0;
    let mut done = 0;
    let most = pour.packets.unwrap_or(u64::MAX);
    while done < most && !stop.load(Ordering::Relaxed) {
        let due = (allowance_from.elapsed().as_micros() as u64)
            .saturating_mul(u64::from(pour.packets_per_second))
            / 1_000_000;
        let behind = due.saturating_sub(allowance);
        // A machine that slept does not catch up: a flood is a rate, not a wave.
        if behind > 4 * MOST_AT_ONCE {
            allowance_from = Instant::now();
            allowance = 0;
        }
        let count = behind.min(MOST_AT_ONCE).min(most - done);
        let first = pour.first + done;
        let taken = burst.send(count, |index, frame| {
            let number = first + index;
            template.fill(frame, pour.sources.of(number), number);
        })?;
        // What the kernel had no room for is sent with the next burst.
        done += taken;
        allowance += taken;
        sent.store(done, Ordering::Relaxed);
        if taken < MOST_AT_ONCE {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(start.elapsed())
}
