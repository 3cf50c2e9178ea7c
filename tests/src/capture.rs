//! A capture of all frames that one interface sends and takes, on a thread of its own inside the namespace. It counts what
//! the kernel could not deliver, so that a clean scan is worth something.
//!
//! Frames that native XDP takes or sends never reach such a socket: capture at the far end of the cable.

mod socket;
mod witness;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::packet_view::{FrameView, wrong_checksum};
use crate::topology::Namespace;
use crate::waiting::wait_for;
use socket::PacketSocket;
pub(crate) use socket::link_address;
pub use witness::{Seen, Witness};

/// One frame, from its Ethernet header on.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Since 1970, taken by the kernel.
    pub nanoseconds: u64,
    /// Sent by the host the capture runs on, rather than received.
    pub outgoing: bool,
    pub bytes: Box<[u8]>,
}

impl Frame {
    pub fn view(&self) -> FrameView {
        FrameView::of(&self.bytes)
    }
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    name: String,
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    /// Gives the number of frames that were lost.
    thread: Option<JoinHandle<Result<u64>>>,
}

/// An ended capture.
#[derive(Debug)]
pub struct Captured {
    pub name: String,
    pub frames: Vec<Frame>,
    /// Frames for which the kernel had no room left.
    pub lost: u64,
}

impl Capture {
    /// Starts to capture; every frame from the return of this call on is taken.
    pub fn start(name: &str, namespace: &Namespace, device: &str) -> Result<Self> {
        let socket = namespace.enter(|| PacketSocket::open(device))?;
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sink, told_to_stop) = (Arc::clone(&frames), Arc::clone(&stop));
        // A packet socket stays in the namespace it was made in: its reader needs not be there.
        let thread = std::thread::spawn(move || read_all(socket, &sink, &told_to_stop));
        Ok(Self { name: name.to_owned(), frames, stop, thread: Some(thread) })
    }

    /// Calls `look` with what was captured so far.
    pub fn peek<T>(&self, look: impl FnOnce(&[Frame]) -> T) -> T {
        look(&self.lock())
    }

    /// Waits for a frame of which `wanted` says so, among those captured already or still to come.
    pub fn wait_for_frame(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Result<Frame> {
        wait_for(&format!("{what} at {}", self.name), patience, || {
            Ok(self.peek(|frames| frames.iter().find(|frame| wanted(frame)).cloned()))
        })
    }

    /// How many frames satisfy `wanted` so far.
    pub fn count(&self, wanted: impl Fn(&Frame) -> bool) -> usize {
        self.peek(|frames| frames.iter().filter(|frame| wanted(frame)).count())
    }

    /// Ends the capture with all frames that reached the interface before this call.
    pub fn finish(mut self) -> Result<Captured> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { bail!("the capture at {} ended before", self.name) };
        let lost = thread.join().map_err(|_panic| anyhow!("the capture at {} panicked", self.name))??;
        let frames = std::mem::take(&mut *self.lock());
        Ok(Captured { name: self.name.clone(), frames, lost })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the capture at {} panicked", self.name);
        }
    }
}

impl Captured {
    /// An error if frames were lost: then nothing can be said about what the capture does not hold.
    pub fn must_be_complete(&self) -> Result<()> {
        if self.lost > 0 {
            bail!("the capture at {} lost {} frames besides {}", self.name, self.lost, self.frames.len());
        }
        Ok(())
    }

    /// An error that names the first frames with a wrong checksum.
    pub fn must_have_right_checksums(&self, only_arriving: bool) -> Result<()> {
        let judged = self.frames.iter().filter(|frame| !(only_arriving && frame.outgoing));
        let wrong: Vec<String> = judged
            .filter_map(|frame| {
                Some(format!("  wrong {} checksum: {}", wrong_checksum(&frame.bytes)?, frame.view()))
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let shown = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
        bail!("{} frames at {} have a wrong checksum:\n{shown}", wrong.len(), self.name);
    }

    /// Writes a file that tcpdump and wireshark read (pcap, nanoseconds, Ethernet).
    pub fn write_pcap(&self, path: &Path) -> Result<()> {
        write_pcap(&self.frames, path).with_context(|| format!("write the capture {}", path.display()))
    }
}

fn read_all(mut socket: PacketSocket, frames: &Mutex<Vec<Frame>>, stop: &AtomicBool) -> Result<u64> {
    let mut lost = 0;
    loop {
        // Read before the last round: what arrived before `finish` is in the socket's queue by then.
        let last = stop.load(Ordering::Relaxed);
        loop {
            let batch = socket.receive(!last)?;
            if batch.is_empty() {
                break;
            }
            frames.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        }
        lost += socket.dropped()?;
        if last {
            return Ok(lost);
        }
    }
}

fn write_pcap(frames: &[Frame], path: &Path) -> Result<()> {
    const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
    const SNAP_LENGTH: u32 = 262_144;
    const LINK_ETHERNET: u32 = 1;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
    file.write_all(&[2, 0, 4, 0])?;
    file.write_all(&[0; 8])?;
    file.write_all(&SNAP_LENGTH.to_le_bytes())?;
    file.write_all(&LINK_ETHERNET.to_le_bytes())?;
    for frame in frames {
        let length = u32::try_from(frame.bytes.len())?;
        let seconds = u32::try_from(frame.nanoseconds / 1_000_000_000)?;
        let rest = u32::try_from(frame.nanoseconds % 1_000_000_000)?;
        for field in [seconds, rest, length, length] {
            file.write_all(&field.to_le_bytes())?;
        }
        file.write_all(&frame.bytes)?;
    }
    file.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pcap_file_starts_with_its_magic_and_holds_each_frame() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.pcap");
        let frame = Frame { nanoseconds: 3_000_000_004, outgoing: true, bytes: vec![7; 60].into() };
        write_pcap(&[frame], &path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 60);
        assert_eq!(bytes[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
        assert_eq!(bytes[24..32], [3, 0, 0, 0, 4, 0, 0, 0]);
    }
}
