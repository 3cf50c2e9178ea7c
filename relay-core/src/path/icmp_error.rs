//! ICMP errors the relay writes itself, in the place of the packet they are about: Fragmentation Needed and Time Exceeded.
//!
//! The answer goes back the way the packet came, to the link-layer address it came from.

use relay_abi::limits::ICMP_QUOTE;
use relay_abi::{Image, Ipv4, Reason};

use super::parse::{IP, PAYLOAD, Packet, parse, write_ethernet};
use super::{Outcome, token};
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::icmp::{self, Message};
use crate::wire::ipv4::{self, Header, Protocol};
use crate::{Frame, Tables};

/// An error to write, in one word, as functions that are not inlined are handed it.
#[derive(Clone, Copy)]
pub(super) struct IcmpError(u64);

impl IcmpError {
    /// The packet does not fit the tunnel, whose largest packet has `mtu` bytes.
    #[inline(always)]
    pub(super) const fn too_big(mtu: u16) -> Self {
        Self::new(Message::FRAGMENTATION_NEEDED, mtu, Reason::TooBig)
    }

    /// The TTL ended here; `silent` is the packet's reason when the sender is not told.
    #[inline(always)]
    pub(super) const fn time_exceeded(silent: Reason) -> Self {
        Self::new(Message::TIME_EXCEEDED, 0, silent)
    }

    #[inline(always)]
    const fn new(message: Message, mtu: u16, silent: Reason) -> Self {
        Self(
            message.kind as u64
                | (message.code as u64) << 8
                | (mtu as u64) << 16
                | (Outcome::dropped(silent).0) << 32,
        )
    }

    /// The first words of the message, its checksum zero.
    #[inline(always)]
    const fn start(self) -> ([u8; 2], [u8; 2]) {
        ([self.0 as u8, (self.0 >> 8) as u8], ((self.0 >> 16) as u16).to_be_bytes())
    }

    #[inline(always)]
    const fn silent(self) -> Outcome {
        Outcome(self.0 >> 32)
    }

    #[inline(always)]
    const fn sent(self) -> Reason {
        if self.0 as u8 == Message::TIME_EXCEEDED.kind {
            Reason::TimeExceededSent
        } else {
            Reason::FragmentationNeededSent
        }
    }
}

/// Turns a valid TCP or UDP packet into the error about it, if there is a token for that; `source` sends it, an address that
/// the packet's sender may know.
///
/// Not inlined, and the packet is parsed again: what is rare must not take stack and registers from what is not.
#[inline(never)]
pub(super) fn answer<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    error: IcmpError,
    source: Ipv4,
) -> Outcome {
    let packet = match parse(frame) {
        Ok(packet) => packet,
        Err(reason) => return Outcome::dropped(reason),
    };
    // An interface without an address has nobody to speak for it.
    if source == Ipv4::ZERO || !token::take(tables, &image.globals, packet.ip.source()) {
        return error.silent();
    }
    match write(frame, &packet, error, source) {
        Ok(()) => Outcome::sent_as(error.sent(), frame.ingress_ifindex(), packet.ip.total_length()),
        Err(reason) => Outcome::dropped(reason),
    }
}

/// Writes the error in the place of the packet. The quote is the packet's start, up to 576 bytes in all (RFC 1812 section
/// 4.3.2.3), in whole words.
#[inline(always)]
fn write<F: Frame>(frame: &mut F, packet: &Packet, error: IcmpError, source: Ipv4) -> Result<(), Reason> {
    let stations = ethernet::answer(frame.read_words(0)?);
    let quoted = packet.ip.total_length().min(ICMP_QUOTE) & !3;
    let ([kind, code], [m0, m1]) = error.start();
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

/// The sum of the packet's first `length` bytes, a multiple of 4 no larger than [`ICMP_QUOTE`]. In large steps, then in small ones:
/// the verifier walks every step of a loop, and gives up on long ones.
#[inline(always)]
fn quote_sum<F: Frame>(frame: &F, length: u16) -> Result<Sum, Reason> {
    let mut sum = Sum::zero();
    let mut at = 0;
    for _ in 0..ICMP_QUOTE / LARGE_STEP {
        if at + LARGE_STEP > length {
            break;
        }
        let words: [u32; LARGE_STEP as usize / 4] = frame.load_words(IP + at as usize)?;
        for word in words {
            sum = sum.add_word(word);
        }
        at += LARGE_STEP;
    }
    for _ in 0..LARGE_STEP / 4 {
        if at + 4 > length {
            break;
        }
        let [word] = frame.load_words(IP + at as usize)?;
        sum = sum.add_word(word);
        at += 4;
    }
    Ok(sum)
}

const LARGE_STEP: u16 = 32;
const ADDED: u16 = (ipv4::LENGTH + icmp::LENGTH) as u16;
const ANSWER_TTL: u8 = 64;
