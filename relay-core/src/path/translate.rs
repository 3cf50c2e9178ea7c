//! A packet with its addresses and ports changed, checksums included, ready to be written.

use relay_abi::{Be16, Reason};

use super::clamp::Clamp;
use super::transport::Transport;
use crate::Frame;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Header;
use crate::wire::transport::{Ports, TCP_CHECKSUM, UDP_CHECKSUM};

/// A transport header after translation.
#[derive(Clone, Copy)]
pub(super) struct Translated {
    ports: Ports,
    checksum: Be16,
    udp: bool,
    clamp: Option<Clamp>,
}

/// A port, or where it is zero (any), the packet's own.
#[inline(always)]
pub(super) const fn port_or(port: Be16, own: Be16) -> Be16 {
    if port.value() == 0 { own } else { port }
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
        .replace4(transport.ports.bytes(), ports.bytes());
    if let Some(clamp) = &clamp {
        changes = changes.add(clamp.changes());
    }
    let checksum = if transport.udp {
        changes.update_udp(transport.checksum)
    } else {
        changes.update(transport.checksum)
    };
    Translated { ports, checksum, udp: transport.udp, clamp }
}

/// What is written over the payload of an IPv4 packet.
pub(super) trait Payload {
    /// Writes it at `at`.
    fn write<F: Frame>(&self, frame: &mut F, at: usize) -> Result<(), Reason>;
}

impl Payload for Translated {
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, at: usize) -> Result<(), Reason> {
        frame.write_words(at, &[self.ports.word()])?;
        frame.write_pair(at + if self.udp { UDP_CHECKSUM } else { TCP_CHECKSUM }, self.checksum.0)?;
        match &self.clamp {
            Some(clamp) => clamp.write(frame, at),
            None => Ok(()),
        }
    }
}
