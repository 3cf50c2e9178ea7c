//! Paced, numbered UDP from the client and an echo at the service, so that both directions are counted packet by packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::sequence::{Tally, Tracker};
use super::udp_batch::{BATCH, Batch, force_buffers};
use crate::topology::Namespace;
use crate::waiting::wait_until;

/// Leads the payload of a numbered packet; then come flow and number.
const MARK: [u8; 4] = *b"num:";
const HEADER: usize = 14;
/// How long after the last packet an answer still counts.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// The ring of a veth holds 256 frames: a burst must stay well below, whatever the machine was doing meanwhile.
const PAUSE_AFTER_BURST: Duration = Duration::from_micros(500);
const LOOK_UP_EVERY: Duration = Duration::from_millis(20);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub packets_per_second: u32,
    pub payload: usize,
    /// Source ports that take turns.
    pub flows: u16,
}

impl Default for Pace {
    fn default() -> Self {
        Self { packets_per_second: 1000, payload: 100, flows: 1 }
    }
}

/// Traffic that runs until it is told to end.
#[derive(Debug)]
pub struct Stream {
    told_to_end: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: Option<JoinHandle<Result<Duration>>>,
    receivers: Vec<JoinHandle<Result<Tracker>>>,
    sender_is_done: Arc<AtomicBool>,
}

/// What came back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StreamReport {
    pub sent: u64,
    pub seconds: f64,
    /// The answers, over all flows.
    pub answers: Tally,
}

impl Stream {
    /// Starts to send from `client` to `target`, where an [`Echo`] answers.
    pub fn start(client: &Namespace, target: SocketAddrV4, pace: Pace) -> Result<Self> {
        let sockets =
            client.enter(|| (0..pace.flows.max(1)).map(|_| connected(target)).collect::<Result<Vec<_>>>())?;
        let told_to_end = Arc::new(AtomicBool::new(false));
        let sender_is_done = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        // A socket stays in the namespace it was made in: its threads need not be there.
        let receivers = sockets
            .iter()
            .map(|socket| {
                let socket = socket.try_clone().context("duplicate a socket")?;
                let done = Arc::clone(&sender_is_done);
                Ok(std::thread::spawn(move || receive(&socket, &done)))
            })
            .collect::<Result<Vec<_>>>()?;
        let (stop, done, count) = (Arc::clone(&told_to_end), Arc::clone(&sender_is_done), Arc::clone(&sent));
        let sender = std::thread::spawn(move || {
            let outcome = send(&sockets, pace, &stop, &count);
            done.store(true, Ordering::Release);
            outcome
        });
        Ok(Self { told_to_end, sent, sender: Some(sender), receivers, sender_is_done })
    }

    /// How many packets were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until `count` more packets were sent.
    pub fn wait_for_more(&self, count: u64) -> Result<()> {
        let goal = self.sent() + count;
        wait_until("packets to be sent", Duration::from_secs(60), || {
            if self.sender_is_done.load(Ordering::Acquire) {
                bail!("the sender ended early, after {} packets", self.sent());
            }
            Ok(self.sent() >= goal)
        })
    }

    /// Ends the traffic, waits for the last answers and counts.
    pub fn finish(mut self) -> Result<StreamReport> {
        self.told_to_end.store(true, Ordering::Relaxed);
        let Some(sender) = self.sender.take() else { bail!("the sender was ended before") };
        let took = sender.join().map_err(|_panic| anyhow!("the UDP sender panicked"))??;
        let sent = self.sent();
        let flows = self.receivers.len() as u64;
        let mut answers = Tally::default();
        for (flow, receiver) in std::mem::take(&mut self.receivers).into_iter().enumerate() {
            let tracker = receiver.join().map_err(|_panic| anyhow!("a UDP receiver panicked"))??;
            // Flows take turns, so the first ones may have one packet more.
            let expected = sent / flows + u64::from((flow as u64) < sent % flows);
            let tally = tracker.tally(expected);
            answers.expected += tally.expected;
            answers.received += tally.received;
            answers.missing += tally.missing;
            answers.duplicates += tally.duplicates;
            answers.reordered += tally.reordered;
            answers.gaps.extend(tally.gaps);
        }
        Ok(StreamReport { sent, seconds: took.as_secs_f64(), answers })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.told_to_end.store(true, Ordering::Relaxed);
    }
}

impl StreamReport {
    /// An error if one packet or answer is missing or came twice.
    pub fn must_be_lossless(&self) -> Result<()> {
        if self.sent == 0 || self.answers.missing > 0 || self.answers.duplicates > 0 {
            bail!(
                "of {} packets in {:.1} s not all were answered once: {:?}",
                self.sent,
                self.seconds,
                self.answers
            );
        }
        Ok(())
    }
}

/// Answers each packet with itself, and remembers who asked.
#[derive(Debug)]
pub struct Echo {
    told_to_end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<EchoReport>>>,
}

/// What the service side saw.
#[derive(Clone, Debug, Default)]
pub struct EchoReport {
    pub packets: u64,
    /// Source addresses as the service saw them.
    pub peers: BTreeSet<SocketAddrV4>,
    trackers: BTreeMap<SocketAddrV4, Tracker>,
}

impl EchoReport {
    /// Packets that came twice, over all peers.
    pub fn duplicates(&self) -> u64 {
        self.trackers.values().map(|tracker| tracker.tally(0).duplicates).sum()
    }

    /// Different packets that arrived, over all peers.
    pub fn received(&self) -> u64 {
        self.trackers.values().map(Tracker::received).sum()
    }
}

impl Echo {
    pub fn start(service: &Namespace, listen: SocketAddrV4) -> Result<Self> {
        let socket = service.enter(|| {
            let socket = UdpSocket::bind(listen).with_context(|| format!("listen on UDP {listen}"))?;
            prepare(&socket)?;
            Ok(socket)
        })?;
        let told_to_end = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&told_to_end);
        let thread = std::thread::spawn(move || echo(&socket, &stop));
        Ok(Self { told_to_end, thread: Some(thread) })
    }

    pub fn finish(mut self) -> Result<EchoReport> {
        self.told_to_end.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { bail!("the echo was ended before") };
        thread.join().map_err(|_panic| anyhow!("the UDP echo panicked"))?
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.told_to_end.store(true, Ordering::Relaxed);
    }
}

/// One request and its answer over a socket of its own; `None` if no answer came in time.
pub fn ask(
    client: &Namespace,
    target: SocketAddrV4,
    request: &[u8],
    patience: Duration,
) -> Result<Option<Vec<u8>>> {
    client.enter(|| {
        let socket = connected(target)?;
        socket.set_read_timeout(Some(patience)).context("set a time limit")?;
        socket.send(request).with_context(|| format!("send to {target}"))?;
        let mut answer = vec![0; 65_536];
        match socket.recv(&mut answer) {
            Ok(length) => Ok(Some(answer[..length].to_vec())),
            // An ICMP error came in the answer's place, or nothing did.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAGAIN | libc::ECONNREFUSED | libc::EMSGSIZE | libc::EHOSTUNREACH)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("wait for the answer of {target}")),
        }
    })
}

fn connected(target: SocketAddrV4) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("open a UDP socket")?;
    socket.connect(target).with_context(|| format!("connect to UDP {target}"))?;
    prepare(&socket)?;
    Ok(socket)
}

fn prepare(socket: &UdpSocket) -> Result<()> {
    force_buffers(socket)?;
    socket.set_read_timeout(Some(LOOK_UP_EVERY)).context("set a time limit")
}

fn send(sockets: &[UdpSocket], pace: Pace, stop: &AtomicBool, sent: &AtomicU64) -> Result<Duration> {
    let mut batch = Batch::new(pace.payload.max(HEADER));
    let start = Instant::now();
    let mut allowance_from = start;
    let mut allowance = 0_u64;
    let mut number = 0_u64;
    let flows = sockets.len() as u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (allowance_from.elapsed().as_micros() as u64)
            .saturating_mul(u64::from(pace.packets_per_second))
            / 1_000_000;
        let burst = due.saturating_sub(allowance).min(BATCH as u64 / 2);
        // A machine that slept does not catch up: lateness must not turn into a burst that a ring cannot hold.
        if due.saturating_sub(allowance) > 4 * BATCH as u64 {
            allowance_from = Instant::now();
            allowance = 0;
        }
        for (flow, socket) in sockets.iter().enumerate() {
            // The numbers of this burst whose turn it is on this flow.
            let numbers: Vec<u64> =
                (number..number + burst).filter(|n| n % flows == flow as u64).map(|n| n / flows).collect();
            batch.send(socket, numbers.iter().map(|n| header(flow, *n)))?;
        }
        number += burst;
        allowance += burst;
        sent.store(number, Ordering::Relaxed);
        std::thread::sleep(PAUSE_AFTER_BURST);
    }
    Ok(start.elapsed())
}

fn header(flow: usize, number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let flow = u16::try_from(flow).unwrap_or(u16::MAX);
    header[..4].copy_from_slice(&MARK);
    header[4..6].copy_from_slice(&flow.to_be_bytes());
    header[6..].copy_from_slice(&number.to_be_bytes());
    header
}

fn number_of(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(&MARK)?;
    Some(u64::from_be_bytes(*rest.get(2..)?.first_chunk::<8>()?))
}

fn receive(socket: &UdpSocket, sender_is_done: &AtomicBool) -> Result<Tracker> {
    let mut batch = Batch::new(0);
    let mut tracker = Tracker::default();
    let mut silent_since = Instant::now();
    loop {
        let received = batch.receive(socket)?;
        if received > 0 {
            silent_since = Instant::now();
        }
        for (payload, _) in batch.received(received) {
            number_of(payload).into_iter().for_each(|number| tracker.see(number));
        }
        let quiet = silent_since.elapsed() > ANSWER_PATIENCE.min(Duration::from_millis(500));
        if sender_is_done.load(Ordering::Acquire) && received == 0 && quiet {
            return Ok(tracker);
        }
    }
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) -> Result<EchoReport> {
    let mut batch = Batch::new(0);
    let mut report = EchoReport::default();
    loop {
        let received = batch.receive(socket)?;
        if received == 0 && stop.load(Ordering::Relaxed) {
            return Ok(report);
        }
        for (payload, peer) in batch.received(received) {
            report.packets += 1;
            report.peers.insert(peer);
            if let Some(number) = number_of(payload) {
                report.trackers.entry(peer).or_default().see(number);
            }
        }
        batch.send_back(socket, received)?;
    }
}
