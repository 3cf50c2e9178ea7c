//! Out of the tunnel: is the packet from a peer, and what does it hold?

use relay_abi::endpoint::Kind;
use relay_abi::{Image, Reason};

use super::parse::{IP, PAYLOAD, Packet, write_ethernet};
use super::translate::Payload;
use super::{Outcome, Way, endpoint, validate};
use crate::wire::ecn;
use crate::wire::ethernet::Stations;
use crate::wire::ipv4::{self, Header, Protocol};
use crate::{Frame, Tables};

/// Where the payload of the packet inside the tunnel starts.
pub(super) const INNER_PAYLOAD: usize = PAYLOAD + ipv4::LENGTH;

/// A packet inside a tunnel packet.
#[derive(Clone, Copy)]
pub(super) struct Inner {
    pub(super) ip: Header,
    /// Its type of service byte, with the tunnel's congestion mark taken over.
    pub(super) tos: u8,
    /// The peer that sent it.
    pub(super) peer: u16,
    /// Bytes of the frame.
    frame_length: usize,
}

/// Whether the packet is a tunnel packet for this relay.
#[inline(always)]
pub(super) fn tunnelled(image: &Image, ip: &Header) -> bool {
    ip.protocol() == Protocol::IPIP && ip.destination() == image.globals.tunnel_address
}

/// Whether the packet inside a tunnel packet seems to be ICMP: such packets take the longer way.
#[inline(always)]
pub(super) fn holds_icmp<F: Frame>(frame: &F) -> bool {
    matches!(frame.read::<1>(PAYLOAD + ipv4::PROTOCOL), Ok([protocol]) if Protocol(protocol) == Protocol::ICMP)
}

/// Checks a tunnel packet and the header of the packet inside.
#[inline(always)]
pub(super) fn decapsulate<F: Frame>(frame: &F, image: &Image, packet: &Packet) -> Result<Inner, Reason> {
    if frame.ingress_ifindex() != image.globals.tunnel_ifindex {
        return Err(Reason::TunnelWrongInterface);
    }
    let sender = endpoint::address(image, packet.ip.source());
    if sender.kind != Kind::PEER {
        return Err(Reason::TunnelUnknownPeer);
    }
    if !packet.ip.plain() {
        return Err(Reason::OuterOptions);
    }
    let frame_length = validate::header(frame, packet)
        .map_err(|reason| if reason == Reason::Fragment { Reason::OuterFragment } else { reason })?;
    if (packet.ip.total_length() as usize) < 2 * ipv4::LENGTH {
        return Err(Reason::InnerTruncated);
    }
    let ip = Header(frame.read_words(PAYLOAD)?);
    validate::inner(&ip, packet.ip.total_length() - ipv4::LENGTH as u16)?;
    let tos = ecn::decapsulate(ip.tos(), packet.ip.tos()).ok_or(Reason::EcnViolation)?;
    Ok(Inner { ip, tos, peer: sender.index, frame_length })
}

/// Sends the inner packet on, with the headers given in the place of its own and `payload` written behind them.
#[expect(
    clippy::too_many_arguments,
    reason = "gathered in a struct they would take stack, of which BPF has 512 bytes"
)]
#[inline(always)]
pub(super) fn deliver<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    stations: &Stations,
    ifindex: u32,
    packet: &Packet,
    inner: &Inner,
    new: &Header,
    payload: &impl Payload,
    reason: Reason,
) -> Way {
    let length = PAYLOAD + new.total_length() as usize;
    validate::trim(frame, tables, inner.frame_length, length)?;
    frame.shrink_head(ipv4::LENGTH as u16)?;
    write_ethernet(frame, stations)?;
    frame.write_words(IP, &new.0)?;
    payload.write(frame, PAYLOAD)?;
    Ok(Outcome::sent_as(reason, ifindex, packet.ip.total_length()))
}
