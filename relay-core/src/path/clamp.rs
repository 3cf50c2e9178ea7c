//! Lowering the maximum segment size of a SYN or SYN-ACK to what fits the tunnel (RFC 9293 section 3.7.1).

use relay_abi::image::Globals;
use relay_abi::{Be16, Reason, Tally};

use super::transport::Transport;
use crate::wire::checksum::Sum;
use crate::wire::ipv4;
use crate::wire::transport::{OPTION_END, OPTION_MSS, OPTION_NOTHING, TCP_LENGTH};
use crate::{Frame, Tables};

/// A lower segment size to write.
#[derive(Clone, Copy)]
pub(super) struct Clamp {
    /// Where the two bytes stand, from the start of the TCP header.
    at: usize,
    old: [u8; 2],
    new: [u8; 2],
}

impl Clamp {
    /// What the change does to the TCP checksum. At an odd offset the bytes straddle two words, which for a one's-complement
    /// sum is the same as swapping them.
    #[inline(always)]
    pub(super) fn changes(&self) -> Sum {
        let ([a, b], [c, d]) = (self.old, self.new);
        if self.at & 1 == 0 {
            Sum::zero().replace2([a, b], [c, d])
        } else {
            Sum::zero().replace2([b, a], [d, c])
        }
    }

    /// Writes the segment size into the header at `tcp`.
    #[inline(always)]
    pub(super) fn write<F: Frame>(&self, frame: &mut F, tcp: usize) -> Result<(), Reason> {
        frame.write_pair(tcp + (self.at & 63), self.new)
    }
}

/// The clamp of a packet, if it is a SYN or SYN-ACK that needs one.
#[inline(always)]
pub(super) fn of_syn<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    tcp: usize,
    transport: &Transport,
    globals: &Globals,
) -> Option<Clamp> {
    if transport.syn_options == 0 {
        return None;
    }
    let clamp = clamp(frame, tcp, transport.syn_options, globals);
    if clamp.is_some() {
        tables.tally(Tally::MssClamped);
    }
    clamp
}

/// Finds a segment size that is too large in the `options` bytes of options behind the TCP header at `tcp`. Without the option
/// the default of 536 bytes holds, which fits (RFC 9293 section 3.7.1); malformed options are the receiver's to judge.
#[inline(always)]
fn clamp<F: Frame>(frame: &F, tcp: usize, options: u32, globals: &Globals) -> Option<Clamp> {
    let largest = globals.tunnel_mtu.saturating_sub((2 * ipv4::LENGTH + TCP_LENGTH) as u16);
    let end = TCP_LENGTH + (options as usize & 63);
    let mut at = TCP_LENGTH;
    for _ in 0..MOST_OPTIONS {
        if at + 4 > end {
            return None;
        }
        let [kind, length, high, low] = frame.read::<4>(tcp + (at & 63)).ok()?;
        if kind == OPTION_END {
            return None;
        }
        if kind == OPTION_MSS {
            let too_large = length == 4 && u16::from_be_bytes([high, low]) > largest;
            let new = Be16::new(largest).0;
            return if too_large { Some(Clamp { at: at + 2, old: [high, low], new }) } else { None };
        }
        let step = if kind == OPTION_NOTHING { 1 } else { length };
        if step == 0 {
            return None;
        }
        at += step as usize;
    }
    None
}

/// Options can be no more than 40 bytes, each at least one.
const MOST_OPTIONS: usize = 37;
