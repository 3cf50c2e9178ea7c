//! Lowering the maximum segment size of a SYN or SYN-ACK to what fits the tunnel (RFC 9293 section 3.7.1).

use core::num::NonZeroU64;

use relay_abi::image::Globals;
use relay_abi::{Be16, Reason, Tally};

use super::transport::Transport;
use crate::wire::checksum::Sum;
use crate::wire::ipv4;
use crate::wire::transport::{OPTION_END, OPTION_MSS, OPTION_NOTHING, TCP_LENGTH};
use crate::{Apart, Frame};

/// A lower segment size to write, in one word, as functions that are not inlined hand it back: where the two bytes
/// stand, from the start of the TCP header (bits 32-39, never zero), the bytes there (16-31) and the new ones (0-15).
#[derive(Clone, Copy)]
pub(super) struct Clamp(NonZeroU64);

impl Clamp {
    #[inline(always)]
    fn new(at: usize, old: [u8; 2], new: [u8; 2]) -> Option<Self> {
        let bytes = (u16::from_ne_bytes(old) as u64) << 16 | u16::from_ne_bytes(new) as u64;
        NonZeroU64::new((at as u64) << 32 | bytes).map(Self)
    }

    #[inline(always)]
    fn of_word(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }

    #[inline(always)]
    fn at(self) -> usize {
        (self.0.get() >> 32) as usize & 63
    }

    #[inline(always)]
    fn new_bytes(self) -> [u8; 2] {
        (self.0.get() as u16).to_ne_bytes()
    }

    /// What the change does to the TCP checksum. At an odd offset the bytes straddle two words, which for a one's-complement
    /// sum is the same as swapping them.
    #[inline(always)]
    pub(super) fn changes(self) -> Sum {
        let ([a, b], [c, d]) = (((self.0.get() >> 16) as u16).to_ne_bytes(), self.new_bytes());
        if self.at() & 1 == 0 {
            Sum::zero().replace2([a, b], [c, d])
        } else {
            Sum::zero().replace2([b, a], [d, c])
        }
    }

    /// Writes the segment size into the header at `tcp`.
    #[inline(always)]
    pub(super) fn write<F: Frame>(self, frame: &mut F, tcp: usize) -> Result<(), Reason> {
        frame.store_pair(tcp + self.at(), self.new_bytes())
    }
}

/// The clamp of a packet, if it is a SYN or SYN-ACK that needs one.
#[inline(always)]
pub(super) fn of_syn<F: Frame, T: Apart>(
    frame: &F,
    tables: &T,
    tcp: usize,
    transport: &Transport,
    globals: &Globals,
) -> Option<Clamp> {
    if transport.syn_options == 0 {
        return None;
    }
    let clamp = Clamp::of_word(tables.clamp(frame, tcp, transport.syn_options, globals.tunnel_mtu));
    if clamp.is_some() {
        tables.tally(Tally::MssClamped);
    }
    clamp
}

/// The [`Clamp`] in a word, or 0, for a segment size that is too large in the `options` bytes of options behind the TCP header at `tcp`.
/// Without the option the default of 536 bytes holds, which fits (RFC 9293 section 3.7.1); malformed options are the receiver's to judge.
#[inline(always)]
pub fn clamp<F: Frame>(frame: &F, tcp: usize, options: u32, tunnel_mtu: u16) -> u64 {
    found(frame, tcp, options, tunnel_mtu).map_or(0, |clamp| clamp.0.get())
}

#[inline(always)]
fn found<F: Frame>(frame: &F, tcp: usize, options: u32, tunnel_mtu: u16) -> Option<Clamp> {
    let largest = tunnel_mtu.saturating_sub((2 * ipv4::LENGTH + TCP_LENGTH) as u16);
    let end = TCP_LENGTH + options as usize;
    let mut at = TCP_LENGTH;
    for _ in 0..MOST_OPTIONS {
        if at + 4 > end {
            return None;
        }
        let [word] = frame.load_words(tcp + at).ok()?;
        let [kind, length, high, low] = word.to_ne_bytes();
        if kind == OPTION_END {
            return None;
        }
        if kind == OPTION_MSS {
            let too_large = length == 4 && u16::from_be_bytes([high, low]) > largest;
            let new = Be16::new(largest).0;
            return if too_large { Clamp::new(at + 2, [high, low], new) } else { None };
        }
        let step = if kind == OPTION_NOTHING { 1 } else { length };
        if step < 2 && kind != OPTION_NOTHING {
            return None;
        }
        at += step as usize;
    }
    None
}

/// Options can be no more than 40 bytes, each at least one.
const MOST_OPTIONS: usize = 37;
