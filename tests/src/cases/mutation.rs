//! Packets of the cases with a few bytes changed: near enough to well-formed ones to come far.

use anyhow::Result;

use super::case::Case;
use super::packet::internet_checksum;

/// A packet on its way to a relay.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// File of the relay.
    pub relay: String,
    /// The interface it comes in on.
    pub device: String,
    pub frame: Vec<u8>,
}

/// Changed packets without end, the same ones for the same seed.
#[derive(Debug)]
pub struct Mutations {
    known: Vec<Arrival>,
    state: u64,
}

impl Mutations {
    /// Changes the packets of these cases that go to relays as they are in their files.
    pub fn of(cases: &[Case], seed: u64) -> Result<Self> {
        let mut known = Vec::new();
        for case in cases.iter().filter(|case| !case.with.one_armed && !case.with.unconfigured) {
            for step in &case.steps {
                let (relay, device) = (case.relay.clone(), step.device.clone());
                known.push(Arrival { relay, device, frame: step.frame()? });
            }
        }
        Ok(Self { known, state: seed })
    }

    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end.max(1) as u64) as usize
    }
}

impl Iterator for Mutations {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let which = self.below(self.known.len());
        let mut arrival = self.known.get(which)?.clone();
        let frame = &mut arrival.frame;
        for _ in 0..self.below(4) {
            // Mostly headers and options.
            let at = self.below(frame.len().min(100));
            frame[at] = match self.below(3) {
                0 => self.below(256) as u8,
                1 => frame[at] ^ 1 << self.below(8),
                _ => [0, 1, 0x45, 0x7f, 0x80, 0xff][self.below(6)],
            };
        }
        match self.below(8) {
            0 => frame.truncate(14 + self.below(frame.len() - 13)),
            1 => frame.extend((0..self.below(40)).map(|_| 0)),
            _ => {}
        }
        if self.below(2) == 0 {
            mend(frame);
        }
        Some(arrival)
    }
}

/// Makes right again the header checksums of what looks like an IPv4 header where one may stand: outside, in a tunnel
/// packet, in an ICMP error, in an ICMP error in a tunnel packet.
pub fn mend(frame: &mut [u8]) {
    for at in [14, 34, 42, 62] {
        let Some(header) = frame.get_mut(at..at + 20).filter(|header| header[0] == 0x45) else { continue };
        header[10..12].fill(0);
        let checksum = internet_checksum(&[header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}
