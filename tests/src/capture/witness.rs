//! Who sends what to a host: counted as it arrives, without keeping a frame.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow, bail, ensure};

use super::socket::PacketSocket;
use crate::topology::Namespace;

/// IPv4 packets that arrived from one address, by the protocol and port they are for.
type Arrivals = BTreeMap<(Ipv4Addr, u8, u16), u64>;

/// Counts until it is told to end.
#[derive(Debug)]
pub struct Witness {
    arrivals: Arc<Mutex<Arrivals>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

/// What arrived.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arrivals);

impl Witness {
    pub fn start(namespace: &Namespace, device: &str) -> Result<Self> {
        let socket = namespace.enter(|| PacketSocket::open(device))?;
        let arrivals = Arc::new(Mutex::new(Arrivals::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sink, told_to_stop) = (Arc::clone(&arrivals), Arc::clone(&stop));
        let thread = std::thread::spawn(move || watch(socket, &sink, &told_to_stop));
        Ok(Self { arrivals, stop, thread: Some(thread) })
    }

    /// What arrived so far.
    pub fn so_far(&self) -> Seen {
        Seen(self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Ends with all that arrived before this call; an error if some of it could not be counted.
    pub fn finish(mut self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { bail!("the witness was ended before") };
        let lost = thread.join().map_err(|_panic| anyhow!("a witness panicked"))??;
        ensure!(lost == 0, "a witness missed {lost} frames");
        Ok(self.so_far())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    /// Packets to one port of one protocol, of those sources that `of` says so of, for each of them.
    pub fn by_source(
        &self,
        protocol: u8,
        port: u16,
        of: impl Fn(Ipv4Addr) -> bool,
    ) -> BTreeMap<Ipv4Addr, u64> {
        let rows = self
            .0
            .iter()
            .filter(|((_, its_protocol, its_port), _)| (*its_protocol, *its_port) == (protocol, port));
        rows.filter(|((source, _, _), _)| of(*source))
            .map(|((source, _, _), count)| (*source, *count))
            .collect()
    }

    /// The same over all sources.
    pub fn packets(&self, protocol: u8, port: u16, of: impl Fn(Ipv4Addr) -> bool) -> u64 {
        self.by_source(protocol, port, of).values().sum()
    }
}

fn watch(mut socket: PacketSocket, sink: &Mutex<Arrivals>, stop: &AtomicBool) -> Result<u64> {
    let mut lost = 0;
    loop {
        // Read before the last round: what arrived before `finish` is in the socket's queue by then.
        let last = stop.load(Ordering::Relaxed);
        loop {
            let batch = socket.receive(!last)?;
            if batch.is_empty() {
                break;
            }
            let mut arrivals = sink.lock().unwrap_or_else(PoisonError::into_inner);
            for frame in batch.iter().filter(|frame| !frame.outgoing) {
                if let Some(key) = key(&frame.bytes) {
                    *arrivals.entry(key).or_default() += 1;
                }
            }
            // Traffic that goes on would keep this round from ending.
            if !last && stop.load(Ordering::Relaxed) {
                break;
            }
        }
        lost += socket.dropped()?;
        if last {
            return Ok(lost);
        }
    }
}

fn key(frame: &[u8]) -> Option<(Ipv4Addr, u8, u16)> {
    const IPV4: [u8; 2] = [8, 0];
    let packet = frame.get(14..).filter(|_| frame.get(12..14) == Some(&IPV4))?;
    let header = usize::from(packet.first()? & 15) * 4;
    let source: [u8; 4] = *packet.get(12..)?.first_chunk()?;
    let port = packet
        .get(header + 2..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |two| u16::from_be_bytes(*two));
    Some((Ipv4Addr::from(source), *packet.get(9)?, port))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::traffic::packets::{Hop, udp};

    #[test]
    fn a_packet_is_known_by_source_protocol_and_port() {
        let [from, to] =
            [5, 9].map(|last| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), 1000 + u16::from(last)));
        let hop = Hop { source: [2; 6], destination: [4; 6] };
        let frame = hop.frame(&udp(from, to, 64, b"x").unwrap()).unwrap();
        assert_eq!(key(&frame), Some((*from.ip(), 17, 1009)));
        assert_eq!(key(&frame[..20]), None);
        let seen = Seen(BTreeMap::from([((*from.ip(), 17, 1009), 3), ((*to.ip(), 17, 1009), 4)]));
        assert_eq!(seen.packets(17, 1009, |_| true), 7);
        assert_eq!(seen.packets(17, 1009, |source| source == *to.ip()), 4);
        assert_eq!(seen.packets(6, 1009, |_| true), 0);
    }
}
