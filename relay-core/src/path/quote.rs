//! The packet quoted in an ICMP error: whose it was, and how its addresses are translated with the error's own.
//!
//! A relay that translates addresses but not quotes shows the service's address in every ICMP error (RFC 5508 REQ-4, REQ-5).

use relay_abi::{Be16, Ipv4, Reason};

use super::translate::Payload;
use crate::Frame;
use crate::wire::checksum::Sum;
use crate::wire::icmp::{self, MTU_MINIMUM, Message};
use crate::wire::ipv4::{self, Header, Protocol};
use crate::wire::transport::{Ports, TCP_CHECKSUM, UDP_CHECKSUM};

/// An ICMP message that is an error about a TCP or UDP packet.
#[derive(Clone, Copy)]
pub(super) struct Quote {
    /// Checksum of the ICMP message.
    pub(super) checksum: Be16,
    /// Header of the quoted packet.
    pub(super) ip: Header,
    /// Its ports.
    pub(super) ports: Ports,
    /// Its transport checksum, where the quote holds it.
    transport_checksum: Option<Be16>,
}

/// Which end of the quoted packet is translated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// Changes to the quote, ready to be written.
#[derive(Clone, Copy)]
pub(super) struct Rewrite {
    /// Checksum of the ICMP message after them.
    checksum: Be16,
    ip: Header,
    ports: Ports,
    transport_checksum: Option<Be16>,
}

/// The type and code of the ICMP message at `at`.
#[inline(always)]
pub(super) fn message<F: Frame>(frame: &F, at: usize) -> Result<Message, Reason> {
    let [kind, code] = frame.read::<2>(at).map_err(|_out_of_frame| Reason::IcmpTruncated)?;
    Ok(Message { kind, code })
}

/// Reads the quote of the ICMP error at `at` in a packet with header `outer`, and checks that a relay's packet can have been
/// the cause. The MTU named must be one a path can have (RFC 1191 section 3).
#[inline(always)]
pub(super) fn quote<F: Frame>(
    frame: &F,
    at: usize,
    outer: &Header,
    message: Message,
) -> Result<Quote, Reason> {
    let available = outer.total_length() as usize - ipv4::LENGTH;
    if available < icmp::LENGTH + ipv4::LENGTH + icmp::QUOTED_TRANSPORT {
        return Err(Reason::IcmpTruncated);
    }
    let [start, rest] = frame.read_words(at)?;
    let ([_, _, s0, s1], [_, _, m0, m1]) = (start.to_ne_bytes(), rest.to_ne_bytes());
    if message == Message::FRAGMENTATION_NEEDED && u16::from_be_bytes([m0, m1]) < MTU_MINIMUM {
        return Err(Reason::IcmpMtuTooSmall);
    }
    let ip = Header(frame.read_words(at + icmp::LENGTH)?);
    let transport = at + TRANSPORT;
    let [ports, rest] = frame.read_words(transport)?;
    if !ip.plain() || ip.fragment() || !ip.protocol().has_ports() {
        return Err(Reason::IcmpQuoteInvalid);
    }
    let transport_checksum = if ip.protocol() == Protocol::UDP {
        let [_, _, s0, s1] = rest.to_ne_bytes();
        Some(Be16([s0, s1]))
    } else if available >= TRANSPORT + TCP_CHECKSUM + 2 {
        Some(Be16(frame.read::<2>(transport + TCP_CHECKSUM)?))
    } else {
        None
    };
    Ok(Quote { checksum: Be16([s0, s1]), ip, ports: Ports(ports), transport_checksum })
}

/// Whether the ICMP error at `at` has extensions behind its quote (RFC 4884): they can name interfaces and addresses of whoever
/// wrote it (RFC 5837).
#[inline(always)]
pub(super) fn extended<F: Frame>(frame: &F, at: usize) -> Result<bool, Reason> {
    let [length] = frame.read::<1>(at + icmp::EXTENDED)?;
    Ok(length != 0)
}

impl Quote {
    /// Translates one end of the quoted packet; a port of zero stays.
    #[inline(always)]
    pub(super) fn translated(&self, end: End, address: Ipv4, port: Be16) -> Rewrite {
        let (ip, ports, old_address) = match end {
            End::Source => {
                let ip = self.ip.with_ends(address, self.ip.destination());
                (ip, self.ports.from_port(port), self.ip.source())
            }
            End::Destination => {
                let ip = self.ip.with_ends(self.ip.source(), address);
                (ip, self.ports.to_port(port), self.ip.destination())
            }
        };
        let ends_change = Sum::zero().replace4(old_address.0, address.0).replace_word(self.ports.0, ports.0);
        let mut changes = ends_change.replace2(self.ip.checksum().0, ip.checksum().0);
        let mut transport_checksum = None;
        if let Some(old) = self.transport_checksum {
            let udp = self.ip.protocol() == Protocol::UDP;
            let new = if udp { ends_change.update_udp(old) } else { ends_change.update(old) };
            changes = changes.replace2(old.0, new.0);
            transport_checksum = Some(new);
        }
        Rewrite { checksum: changes.update(self.checksum), ip, ports, transport_checksum }
    }
}

impl Payload for Rewrite {
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, at: usize) -> Result<(), Reason> {
        frame.write_pair(at + 2, self.checksum.0)?;
        frame.write_words(at + icmp::LENGTH, &self.ip.0)?;
        frame.write_words(at + TRANSPORT, &[self.ports.0])?;
        if let Some(checksum) = self.transport_checksum {
            let offset = if self.ip.protocol() == Protocol::UDP { UDP_CHECKSUM } else { TCP_CHECKSUM };
            frame.store_pair(at + TRANSPORT + offset, checksum.0)?;
        }
        Ok(())
    }
}

/// Where the quoted transport header starts in an ICMP message.
const TRANSPORT: usize = icmp::LENGTH + ipv4::LENGTH;
