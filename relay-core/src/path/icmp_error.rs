//! ICMP errors the relay writes itself, in the place of the packet they are about: Fragmentation Needed and Time Exceeded.
//!
//! The answer goes back the way the packet came, to the link-layer address it came from.

use relay_abi::image::Globals;
use relay_abi::limits::ICMP_QUOTE;
use relay_abi::{Ipv4, Reason};

use super::parse::{IP, PAYLOAD, Packet, parse, write_ethernet};
use super::{Way, sent, token};
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::icmp::{self, Message};
use crate::wire::ipv4::{self, Header, Protocol};
use crate::{Frame, Tables};

/// An error to write.
#[derive(Clone, Copy)]
pub(super) struct IcmpError {
    pub(super) message: Message,
    /// Next-hop MTU of a Fragmentation Needed, else 0.
    pub(super) mtu: u16,
    /// Who sends it: an address the packet's sender may know.
    pub(super) source: Ipv4,
    /// The packet's reason when the error is sent.
    pub(super) sent: Reason,
    /// The packet's reason when it is not.
    pub(super) silent: Reason,
}

impl IcmpError {
    /// The packet does not fit the tunnel, whose largest packet has `mtu` bytes.
    #[inline(always)]
    pub(super) const fn too_big(source: Ipv4, mtu: u16) -> Self {
        Self {
            message: Message::FRAGMENTATION_NEEDED,
            mtu,
            source,
            sent: Reason::FragmentationNeededSent,
            silent: Reason::TooBig,
        }
    }

    /// The TTL ended here; `silent` when the sender is not told.
    #[inline(always)]
    pub(super) const fn time_exceeded(source: Ipv4, silent: Reason) -> Self {
        Self { message: Message::TIME_EXCEEDED, mtu: 0, source, sent: Reason::TimeExceededSent, silent }
    }
}

/// Turns a valid TCP or UDP packet into the error about it, if there is a token for that.
///
/// The quote is the packet's start, up to 576 bytes in all (RFC 1812 section 4.3.2.3), in whole words.
#[inline(always)]
pub(super) fn answer<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    globals: &Globals,
    packet: &Packet,
    error: &IcmpError,
) -> Way {
    if !token::take(tables, globals, packet.ip.source()) {
        return Err(error.silent);
    }
    let [m0, m1] = error.mtu.to_be_bytes();
    write(frame, [error.message.kind, error.message.code, 0, 0, 0, 0, m0, m1], error.source)?;
    sent(error.sent, frame.ingress_ifindex(), packet.ip.total_length())
}

/// Writes the error about the packet in the frame: `start` are the first bytes of the ICMP message, but for its checksum.
///
/// Not inlined: there are several answers in a program, and the sum is long. It takes words and reads the packet
/// again, for what is handed over in memory costs a program its small stack.
#[inline(never)]
fn write<F: Frame>(frame: &mut F, start: [u8; 8], source: Ipv4) -> Result<(), Reason> {
    let packet = parse(frame)?;
    let stations = ethernet::answer(frame.read_words(0)?);
    let quoted = packet.ip.total_length().min(ICMP_QUOTE) & !3;
    let [kind, code, _, _, _, _, m0, m1] = start;
    let [s0, s1] = quote_sum(frame, quoted)?.add2([kind, code]).add2([m0, m1]).checksum().0;
    let start = [u32::from_ne_bytes([kind, code, s0, s1]), u32::from_ne_bytes([0, 0, m0, m1])];
    let sender = packet.ip.source();
    let ip = Header::atomic(0, quoted + ADDED, ANSWER_TTL, Protocol::ICMP, source, sender);
    frame.trim(IP + quoted as usize)?;
    frame.grow_head(ADDED)?;
    write_ethernet(frame, &stations)?;
    frame.write_words(IP, &ip.0)?;
    frame.write_words(PAYLOAD, &start)
}

/// The sum of the packet's first `length` bytes, a multiple of 4 no larger than [`ICMP_QUOTE`].
#[inline(always)]
fn quote_sum<F: Frame>(frame: &F, length: u16) -> Result<Sum, Reason> {
    let mut sum = Sum::zero();
    let mut at = 0;
    while at < ICMP_QUOTE {
        if at >= length {
            break;
        }
        sum = sum.add4(frame.read(IP + at as usize)?);
        at += 4;
    }
    Ok(sum)
}

const ADDED: u16 = (ipv4::LENGTH + icmp::LENGTH) as u16;
const ANSWER_TTL: u8 = 64;
