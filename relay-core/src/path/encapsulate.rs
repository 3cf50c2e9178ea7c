//! Into the tunnel: an outer IPv4 header in front of the packet (RFC 2003), and the way to the peer.

use relay_abi::Reason;
use relay_abi::image::{Globals, Peer};

use super::parse::{IP, PAYLOAD, Packet, write_ethernet};
use super::translate::Payload;
use super::{Outcome, Way, validate};
use crate::wire::checksum::Sum;
use crate::wire::ecn;
use crate::wire::ipv4::{self, Header, Protocol};
use crate::{Frame, Tables};

/// Bytes the tunnel adds.
pub(super) const OVERHEAD: u16 = ipv4::LENGTH as u16;

/// The largest packet that fits the tunnel.
#[inline(always)]
pub(super) const fn mtu(globals: &Globals) -> u16 {
    globals.tunnel_mtu.saturating_sub(OVERHEAD)
}

/// Sends the packet, in a frame of `frame_length` bytes, to the peer, with the header `inner` in the place of its own and `payload` written behind that.
///
/// The outer header: DF set (RFC 2003 section 3.1), its own TTL and DSCP (pipe model, RFC 2983), the inner ECN field
/// (normal mode, RFC 6040 section 4.1).
#[expect(
    clippy::too_many_arguments,
    reason = "gathered in a struct they would take stack, of which BPF has 512 bytes"
)]
#[inline(always)]
pub(super) fn encapsulate<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    globals: &Globals,
    peer: &Peer,
    packet: &Packet,
    frame_length: usize,
    inner: &Header,
    payload: &impl Payload,
    reason: Reason,
) -> Way {
    let outer = outer(globals, peer, inner);
    validate::trim(frame, tables, frame_length, packet.frame_length())?;
    frame.grow_head(OVERHEAD)?;
    write_ethernet(frame, &peer.next_hop.stations)?;
    frame.write_words(IP, &outer.0)?;
    frame.write_words(PAYLOAD, &inner.0)?;
    payload.write(frame, PAYLOAD + ipv4::LENGTH)?;
    Ok(Outcome::sent_as(reason, peer.next_hop.ifindex, packet.ip.total_length()))
}

#[inline(always)]
fn outer(globals: &Globals, peer: &Peer, inner: &Header) -> Header {
    let [start, dscp] = globals.outer_start;
    let tos = dscp | inner.tos() & ecn::MASK;
    let length = inner.total_length().wrapping_add(OVERHEAD).to_be_bytes();
    let checksum = Sum::from_partial(peer.outer_sum).add2([0, tos]).add2(length).checksum();
    Header([
        u32::from_ne_bytes([start, tos, length[0], length[1]]),
        u32::from_ne_bytes([0, 0, 0x40, 0]),
        u32::from_ne_bytes([globals.outer_ttl, Protocol::IPIP.0, 0, 0]),
        globals.tunnel_address.word(),
        peer.address.word(),
    ])
    .with_checksum(checksum)
}
