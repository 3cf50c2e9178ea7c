//! A packet with its addresses and ports changed, checksums included, ready to be written.

use relay_abi::{Be16, Reason};

use super::clamp::Clamp;
use super::transport::Transport;
use crate::Frame;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Header;
use crate::wire::transport::{Ports, TCP_CHECKSUM};

/// A transport header after translation.
#[derive(Clone, Copy)]
pub(super) struct Translated {
    ports: Ports,
    checksum: Be16,
    /// The length field of UDP; zero for TCP.
    udp_length: [u8; 2],
    clamp: Option<Clamp>,
}

/// The transport header of a packet whose IPv4 header and ports change from old to new.
#[inline(always)]
pub(super) fn translated(
    transport: &Transport,
    old: &Header,
    new: &Header,
    ports: Ports,
    clamp: Option<Clamp>,
) -> Translated {
    let mut changes = Sum::zero()
        .replace4(old.source().0, new.source().0)
        .replace4(old.destination().0, new.destination().0)
        .replace_word(transport.ports.0, ports.0);
    if let Some(clamp) = &clamp {
        changes = changes.add(clamp.changes());
    }
    let checksum = if transport.udp() {
        changes.update_udp(transport.checksum())
    } else {
        changes.update(transport.checksum())
    };
    Translated { ports, checksum, udp_length: transport.udp_length(), clamp }
}

/// What is written over the payload of an IPv4 packet.
pub(super) trait Payload {
    /// Writes it at `at`.
    fn write<F: Frame>(&self, frame: &mut F, at: usize) -> Result<(), Reason>;
}

impl Payload for Translated {
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, at: usize) -> Result<(), Reason> {
        // Written in different steps for UDP and TCP, so that the compiler does not make one write at a varying offset of them.
        let [c0, c1] = self.checksum.0;
        if self.udp_length != [0, 0] {
            let [l0, l1] = self.udp_length;
            return frame.write_words(at, &[self.ports.0, u32::from_ne_bytes([l0, l1, c0, c1])]);
        }
        frame.write_words(at, &[self.ports.0])?;
        frame.write_pair(at + TCP_CHECKSUM, [c0, c1])?;
        match &self.clamp {
            Some(clamp) => clamp.write(frame, at),
            None => Ok(()),
        }
    }
}

/// A transport header of which at most the segment size changes.
#[derive(Clone, Copy)]
pub(super) struct Clamped(pub(super) Option<(Clamp, Be16)>);

/// The header with a segment size lowered, if `clamp` says so.
#[inline(always)]
pub(super) fn clamped(transport: &Transport, clamp: Option<Clamp>) -> Clamped {
    Clamped(clamp.map(|clamp| (clamp, clamp.changes().update(transport.checksum()))))
}

impl Payload for Clamped {
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, at: usize) -> Result<(), Reason> {
        let Some((clamp, checksum)) = &self.0 else { return Ok(()) };
        frame.write_pair(at + TCP_CHECKSUM, checksum.0)?;
        clamp.write(frame, at)
    }
}

/// A payload that goes on as it came.
pub(super) struct Unchanged;

impl Payload for Unchanged {
    #[inline(always)]
    fn write<F: Frame>(&self, _frame: &mut F, _at: usize) -> Result<(), Reason> {
        Ok(())
    }
}
