//! The ingress relay's ways of ICMP errors about relayed packets: they are found by what they quote, and the quote is translated with them.

use relay_abi::endpoint::Kind;
use relay_abi::image::Service;
use relay_abi::{Image, Reason, Tally};

use super::admit::Gate;
use super::decapsulate::{INNER_PAYLOAD, decapsulate, deliver};
use super::encapsulate::{self, encapsulate};
use super::ingress::{forwarded, from_client, pick_path, public, service, to_client};
use super::parse::{PAYLOAD, Packet};
use super::quote::{End, Quote, extended, message, quote};
use super::{Outcome, Way, apart, endpoint, route, validate};
use crate::{Apart, Frame};

/// An ICMP error about a packet of the service with an index: first whether it may go on, then where it goes.
#[inline(always)]
pub(super) fn error_to_service<F: Frame, T: Apart>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    index: u16,
) -> Outcome {
    if let Gate::Closed(outcome) = Gate::of(tables.judge_error(frame, index, image.globals.generation)) {
        return outcome;
    }
    let outcome = apart(frame, tables, image, |frame, tables, image, packet| {
        relay_error(frame, tables, image, packet, service(image, index)?)
    });
    forwarded(frame, tables, index, outcome)
}

/// An ICMP error to a VIP. Where it is about a packet of a service, it goes to the backend that sent the packet: the hash is that of the
/// quoted flow (RFC 7690).
#[inline(always)]
pub(super) fn error_forward<F: Frame>(frame: &F, image: &Image, packet: &Packet) -> Way {
    let ip = &packet.ip;
    validate::header(frame, packet)?;
    let quote: Quote = match quote(frame, PAYLOAD, ip, message(frame, PAYLOAD)?) {
        Err(Reason::IcmpQuoteInvalid) => return Err(Reason::IcmpToKernel),
        quote => quote?,
    };
    let found = endpoint::port(image, quote.ip.source(), quote.ports.source(), quote.ip.protocol());
    if found.kind != Kind::SERVICE || quote.ip.source() != ip.destination() {
        return Err(Reason::IcmpToKernel);
    }
    from_client(frame, image, packet)?;
    Ok(Outcome::as_error_to(found.index))
}

/// Sends an admitted ICMP error about a packet of a service to the backend that sent it.
#[inline(always)]
fn relay_error<F: Frame, T: Apart>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    packet: &Packet,
    service: &Service,
) -> Way {
    let ip = &packet.ip;
    let frame_length = frame.length();
    let quote: Quote = quote(frame, PAYLOAD, ip, message(frame, PAYLOAD)?)?;
    // No ICMP error about an ICMP error (RFC 1122 section 3.2.2).
    if ip.ttl() <= 1 {
        return Err(Reason::TtlExpired);
    }
    let picked = pick_path(image, service, quote.ip.destination(), quote.ports.swapped())?;
    if ip.total_length() > encapsulate::mtu(&image.globals) {
        return Err(Reason::TooBig);
    }
    let inner = ip.forwarded(ip.tos(), ip.source(), picked.address);
    let payload = quote.translated(End::Source, picked.address, picked.port);
    tables.tally(Tally::IcmpRelayed);
    let reason = Reason::ForwardEncapsulated;
    encapsulate(frame, tables, &image.globals, picked.peer, packet, frame_length, &inner, &payload, reason)
}

/// An ICMP error out of the tunnel, about a client's packet: it seems to come from the VIP, whoever sent it, and quotes what the
/// client sent (RFC 5508 REQ-5).
#[inline(always)]
pub(super) fn error_back<F: Frame, T: Apart>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    packet: &Packet,
) -> Way {
    let inner = &decapsulate(frame, image, packet)?;
    let ip = &inner.ip;
    let message = message(frame, INNER_PAYLOAD)?;
    if !message.relayed() {
        return Err(Reason::InnerProtocol);
    }
    let quote: Quote = quote(frame, INNER_PAYLOAD, ip, message)?;
    if extended(frame, INNER_PAYLOAD)? {
        return Err(Reason::IcmpQuoteInvalid);
    }
    let (vip, port) = public(image, quote.ip.destination(), quote.ports.destination(), quote.ip.protocol())
        .ok_or(Reason::IcmpQuoteUnknown)?;
    if quote.ip.source() != ip.destination() {
        return Err(Reason::IcmpQuoteUnknown);
    }
    to_client(image, ip)?;
    let new = ip.forwarded(inner.tos, vip, ip.destination());
    let payload = quote.translated(End::Destination, vip, port);
    let (ifindex, stations) = route::to_client(tables, &new)?;
    tables.tally(Tally::IcmpRelayed);
    deliver(frame, tables, &stations, ifindex, packet, inner, &new, &payload, Reason::ReturnDelivered)
}
