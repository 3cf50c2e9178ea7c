//! What is decided about a packet: one file a step, and one for each tier's way through them.
//!
//! All checks come before the first write: a packet that is dropped or passed is as it came in.

mod account;
mod admit;
mod clamp;
mod client;
mod decapsulate;
mod egress;
mod encapsulate;
mod endpoint;
mod enter;
mod event;
mod filter;
mod flow;
mod icmp_error;
mod ingress;
mod ingress_error;
mod limit;
pub mod list;
mod parse;
mod pick;
mod prefix;
mod proof;
mod quote;
mod route;
mod token;
mod translate;
mod transport;
mod validate;

use relay_abi::reason::Action;
use relay_abi::{Image, Reason};

use self::parse::{Packet, parse};
use crate::{Apart, Frame};

pub use account::account;
pub use admit::{judge, judge_error};
pub use clamp::clamp;
pub use client::{dropped, not_forwarded};
pub use egress::egress;
pub use event::report;
pub use ingress::{ingress, returned};

/// The end of a packet, in one word: a register holds it, in which functions that are not inlined hand it back.
///
/// Code of the reason (bits 0-7), action (8-9), and of a sent packet total length as it came in (16-31) and interface (32-63).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(u64);

impl Outcome {
    /// The code of the reason.
    #[inline(always)]
    pub const fn code(self) -> u8 {
        self.0 as u8
    }

    /// The reason.
    pub const fn reason(self) -> Option<Reason> {
        Reason::from_code(self.code())
    }

    /// Whether the packet is left to the kernel.
    #[inline(always)]
    pub const fn passed(self) -> bool {
        self.action() == Action::Pass as u64
    }

    /// Interface to send from and bytes of the IPv4 packet as it came in, of a packet that is sent: the frame holds what goes out.
    #[inline(always)]
    pub const fn sent(self) -> Option<(u32, u16)> {
        if self.action() == Action::Send as u64 {
            Some(((self.0 >> 32) as u32, (self.0 >> 16) as u16))
        } else {
            None
        }
    }

    /// Another generation has come into force while the packet was looked at: it is to be looked at anew.
    const AGAIN: Self = Self(0);

    /// The bytes of the packet, where an answer went out in its place; 0 where it is as it came in.
    #[inline(always)]
    const fn answered(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Not the end yet: an ICMP error about a packet of the service with an index, whose account is to be asked.
    #[inline(always)]
    const fn as_error_to(service: u16) -> Self {
        Self(ERROR_TO | (service as u64) << 16)
    }

    /// The service's index, if it is one of those.
    #[inline(always)]
    const fn error_to(self) -> Option<u16> {
        if self.0 & ERROR_TO != 0 { Some((self.0 >> 16) as u16) } else { None }
    }

    /// Sent for a reason whose action is to send; `total_length` are the bytes of the IPv4 packet as it came in.
    #[inline(always)]
    const fn sent_as(reason: Reason, ifindex: u32, total_length: u16) -> Self {
        let action = Action::Send as u64;
        Self(reason as u64 | action << 8 | (total_length as u64) << 16 | (ifindex as u64) << 32)
    }

    /// Dropped for the reason with a code, whose action is to drop.
    #[inline(always)]
    const fn dropped_as(code: u8) -> Self {
        Self(code as u64 | (Action::Drop as u64) << 8)
    }

    /// Dropped for a reason whose action is to drop.
    #[inline(always)]
    const fn dropped(reason: Reason) -> Self {
        Self(reason as u64 | (Action::Drop as u64) << 8)
    }

    #[inline(always)]
    const fn action(self) -> u64 {
        self.0 >> 8 & 3
    }
}

/// A bit that no end has.
const ERROR_TO: u64 = 1 << 10;

/// Decided, or the reason for which the packet is left to the kernel or dropped as it came in.
type Way = Result<Outcome, Reason>;

impl From<Way> for Outcome {
    #[inline(always)]
    fn from(way: Way) -> Self {
        match way {
            Ok(outcome) => outcome,
            Err(reason) => Self(reason as u64 | (reason.action() as u64) << 8),
        }
    }
}

/// Takes a packet down a way in a function of its own, which parses again: so no way takes stack and registers, of which a BPF
/// program has few, from another.
#[inline(never)]
fn apart<F: Frame, T: Apart>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    way: impl FnOnce(&mut F, &T, &Image, &Packet) -> Way,
) -> Outcome {
    match parse(frame) {
        Ok(packet) => way(frame, tables, image, &packet).into(),
        Err(reason) => Err(reason).into(),
    }
}
