//! May the client's packet go on? Lists, filters, proofs, limits; and the client's account.
//!
//! From here on a packet is its client's: it ends as forwarded or in one of the classes of drops of the client, or, where the client has
//! no place in the client table, of its service.

use relay_abi::client::{self, DropClass};
use relay_abi::image::{Globals, filter, proof as when};
use relay_abi::{Image, Reason, Tally};

use super::account::Judgement;
use super::client::{find, proved, service_of};
use super::limit::Demand;
use super::list::{self, Listed};
use super::parse::{PAYLOAD, Packet, parse};
use super::transport::{Transport, transport};
use super::{Outcome, filter as filters, ingress, proof};
use crate::wire::ipv4::Header;
use crate::wire::transport::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use crate::{Apart, Frame, Tables};

/// What becomes of a client's packet.
#[derive(Clone, Copy)]
pub(super) enum Gate {
    /// It goes on.
    Open,
    /// Its source has to prove itself.
    Challenge,
    /// It ends here.
    Closed(Outcome),
}

impl Gate {
    /// What a [`Judgement`] in a word means.
    #[inline(always)]
    pub(super) fn of(judgement: u32) -> Self {
        match Judgement(judgement) {
            Judgement::OPEN => Self::Open,
            Judgement::CHALLENGE => Self::Challenge,
            Judgement::AGAIN => Self::Closed(Outcome::AGAIN),
            refused => Self::Closed(Outcome::dropped_as(refused.code())),
        }
    }
}

/// A [`Judgement`] of an ICMP error to the service with an index, from a client or a router on the way to one: on the account of who sent it.
#[inline(always)]
pub fn judge_error<F: Frame, T: Apart>(frame: &F, tables: &T, service: u16, generation: u64) -> u32 {
    let Some(image) = tables.image() else { return Judgement::AGAIN.0 };
    if image.globals.generation != generation {
        return Judgement::AGAIN.0;
    }
    let ip = match parse(frame) {
        Ok(packet) => packet.ip,
        Err(reason) => return reason as u32,
    };
    let key = client::key(ip.source(), service);
    let listed = list::look_up(tables, &image.globals, ip.source());
    let judgement = match blocked(listed) {
        Some(reason) => Judgement::refused(DropClass::Blocked, reason),
        None => {
            let demand = Demand::new(ip.total_length(), false, listed == Listed::Allowed, 0);
            Judgement(tables.account(key, demand.0, generation))
        }
    };
    counted(tables, judgement, key, ip.total_length()).0
}

/// Counts the packet as dropped unless it goes on.
#[inline(always)]
fn counted<T: Apart>(tables: &T, judgement: Judgement, key: u64, length: u16) -> Judgement {
    if judgement != Judgement::OPEN && judgement != Judgement::AGAIN {
        tables.dropped(key, judgement.class(), length);
    }
    judgement
}

/// A [`Judgement`] of a packet to the service with an index in an image of a generation. A packet that is not its client's has no class.
///
/// The packet is parsed anew: what is judged here and what is done after it take turns on the stack.
#[inline(always)]
pub fn judge<F: Frame, T: Apart>(frame: &F, tables: &T, service: u16, generation: u64) -> u32 {
    let Some(image) = tables.image() else { return Judgement::AGAIN.0 };
    if image.globals.generation != generation {
        return Judgement::AGAIN.0;
    }
    match judged(frame, tables, image, service) {
        Ok(judgement) => judgement.0,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn judged<F: Frame, T: Apart>(frame: &F, tables: &T, image: &Image, index: u16) -> Result<Judgement, Reason> {
    let packet: Packet = parse(frame)?;
    let ip = &packet.ip;
    ingress::from_client(frame, image, &packet)?;
    let transport = transport(frame, PAYLOAD, ip)?;
    let key = client::key(ip.source(), index);
    let listed = list::look_up(tables, &image.globals, ip.source());
    let exempt = listed == Listed::Allowed;
    let known = known(tables, &image.globals, key);
    let mut judgement = match blocked(listed) {
        Some(reason) => Judgement::refused(DropClass::Blocked, reason),
        None if exempt => Judgement::OPEN,
        None => unproven(frame, tables, image, ip, &transport, key, known >> 32 != 0)?,
    };
    if judgement == Judgement::OPEN {
        let demand = Demand::new(ip.total_length(), new_connection(&transport), exempt, known as u32);
        judgement = Judgement(tables.account(key, demand.0, image.globals.generation));
    }
    Ok(counted(tables, judgement, key, ip.total_length()))
}

/// The number of a client's place plus 1, or 0 (bits 0-31), and whether the client is verified (32): in one word, which takes little stack.
#[inline(always)]
fn known<T: Tables>(tables: &T, globals: &Globals, key: u64) -> u64 {
    match find(tables, globals, key) {
        Some(place) => (place.number + 1) as u64 | (place.verified() as u64) << 32,
        None => 0,
    }
}

/// Filters the packet, and has an unproven client prove itself.
#[inline(always)]
fn unproven<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    image: &Image,
    ip: &Header,
    transport: &Transport,
    key: u64,
    verified: bool,
) -> Result<Judgement, Reason> {
    let (globals, index) = (&image.globals, service_of(key));
    let service = ingress::service(image, index)?;
    if let Some(reason) = filters::refuses(tables, service.filters, transport, verified) {
        return Ok(Judgement::refused(DropClass::Filtered, reason));
    }
    if verified || service.proof == when::OFF || transport.udp() {
        return Ok(Judgement::OPEN);
    }
    if new_connection(transport) {
        let state = tables.service_state(index).ok_or(Reason::Internal)?;
        if proof::challenged(tables, globals, state, service) {
            return Ok(Judgement::CHALLENGE);
        }
    } else if transport.flags & TCP_RST as u32 != 0 && returns_proof(frame, tables, globals, ip, transport)? {
        proved(tables, globals, key);
        return Ok(Judgement::refused(DropClass::Unproven, Reason::SynProof));
    }
    Ok(Judgement::OPEN)
}

#[inline(always)]
fn returns_proof<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    globals: &Globals,
    ip: &Header,
    transport: &Transport,
) -> Result<bool, Reason> {
    const SEQUENCE: usize = PAYLOAD + 4;
    let [sequence] = frame.read_words(SEQUENCE)?;
    Ok(proof::proves(globals, tables.jiffies(), ip, transport.ports, u32::from_be(sequence)))
}

#[inline(always)]
const fn blocked(listed: Listed) -> Option<Reason> {
    match listed {
        Listed::Blocked => Some(Reason::Blocked),
        Listed::Banned => Some(Reason::Banned),
        Listed::Not | Listed::Allowed => None,
    }
}

/// Whether the packet opens a connection.
#[inline(always)]
const fn new_connection(transport: &Transport) -> bool {
    const MASK: u32 = (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN) as u32;
    transport.flags & MASK == TCP_SYN as u32
}

/// A packet to a VIP that names no service: the reason for which it is dropped, if the VIP's filters drop it.
#[inline(always)]
pub(super) fn unnamed<T: Tables>(tables: &T, filters: u16, ip: &Header) -> Option<Reason> {
    if !ip.protocol().has_ports() {
        let mode = filter::mode(filters, filter::PROTOCOLS);
        return filters::refuses_unnamed(tables, mode, Tally::ShadowProtocol)
            .then_some(Reason::FilterProtocol);
    }
    if ip.later_fragment() {
        let mode = filter::mode(filters, filter::FRAGMENTS);
        return filters::refuses_unnamed(tables, mode, Tally::ShadowFragment)
            .then_some(Reason::FilterFragment);
    }
    None
}
