//! The egress relay: packets out of the tunnel to the backends, the backends' packets into it.

use relay_abi::endpoint::Kind;
use relay_abi::flow::FlowKey;
use relay_abi::image::Backend;
use relay_abi::limits::SERVICES;
use relay_abi::{Image, Ipv4, Reason, Tally};

use super::decapsulate::{INNER_PAYLOAD, decapsulate, deliver, holds_icmp, tunnelled};
use super::encapsulate::{self, encapsulate};
use super::icmp_error::{IcmpError, answer};
use super::parse::{PAYLOAD, Packet, parse};
use super::quote::{Quote, message, quote};
use super::translate::{Unchanged, clamped};
use super::transport::{ports_of, transport};
use super::{Outcome, Way, apart, clamp, endpoint, flow, pick, validate};
use crate::wire::ethernet::Stations;
use crate::wire::ipv4::{Header, Protocol, martian};
use crate::wire::transport::Ports;
use crate::{Apart, Frame};

/// The way of every packet that an egress relay receives.
#[inline(always)]
pub fn egress<F: Frame, T: Apart>(frame: &mut F, tables: &T) -> Outcome {
    let Some(image) = tables.image() else { return Err(Reason::NoConfiguration).into() };
    let packet = match parse(frame) {
        Ok(packet) => packet,
        Err(reason) => return Err(reason).into(),
    };
    let ip = &packet.ip;
    if tunnelled(image, ip) {
        return if holds_icmp(frame) {
            apart(frame, tables, image, error_forward)
        } else {
            apart(frame, tables, image, forward)
        };
    }
    if let Some(ports) = ports_of(frame, ip) {
        let found = endpoint::port(image, ip.source(), ports.source(), ip.protocol());
        if delivers(found.kind) && !packet.to_group {
            return apart(frame, tables, image, back);
        }
    }
    apart(frame, tables, image, other)
}

/// A packet out of the tunnel: a client's, to a backend.
#[inline(always)]
fn forward<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, packet: &Packet) -> Way {
    let globals = &image.globals;
    let inner = decapsulate(frame, image, packet)?;
    let ip = &inner.ip;
    if !ip.protocol().has_ports() {
        return Err(Reason::InnerProtocol);
    }
    let transport = transport(frame, INNER_PAYLOAD, ip)?;
    let ports = transport.ports;
    let backend = destination(image, ip.destination(), ip.source(), ports, ip.protocol())?;
    from_client(image, ip)?;
    let new = ip.forwarded(inner.tos, ip.source(), ip.destination());
    let key =
        FlowKey::new(ip.source(), ports.source(), ip.destination(), ports.destination(), transport.udp());
    let (stations, ifindex) = way(backend)?;
    flow::learn(tables, globals, key, inner.peer);
    deliver(frame, tables, stations, ifindex, packet, &inner, &new, &Unchanged, Reason::ForwardDelivered)
}

/// An ICMP error out of the tunnel, about a packet of a backend: delivered if the flow it quotes lives (RFC 5927 section 4); it
/// neither makes nor refreshes a flow (RFC 5508 section 7).
#[inline(always)]
fn error_forward<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, packet: &Packet) -> Way {
    let inner = &decapsulate(frame, image, packet)?;
    let ip = &inner.ip;
    let message = message(frame, INNER_PAYLOAD)?;
    if !message.relayed() {
        return Err(Reason::InnerProtocol);
    }
    let quote = quote(frame, INNER_PAYLOAD, ip, message)?;
    if quote.ip.source() != ip.destination() {
        return Err(Reason::IcmpQuoteUnknown);
    }
    let (client, endpoint) = (quote.ip.destination(), quote.ip.source());
    let ports = quote.ports.swapped();
    let backend = destination(image, endpoint, client, ports, quote.ip.protocol())?;
    let udp = quote.ip.protocol() == Protocol::UDP;
    let key = FlowKey::new(client, ports.source(), endpoint, ports.destination(), udp);
    flow::through(tables, &image.globals, key, false).ok_or(Reason::IcmpQuoteUnknown)?;
    from_client(image, ip)?;
    let new = ip.forwarded(inner.tos, ip.source(), ip.destination());
    let (stations, ifindex) = way(backend)?;
    tables.tally(Tally::IcmpRelayed);
    deliver(frame, tables, stations, ifindex, packet, inner, &new, &Unchanged, Reason::ForwardDelivered)
}

/// A packet of a backend's endpoint: to the ingress relay its flow came through.
#[inline(always)]
fn back<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, packet: &Packet) -> Way {
    let (globals, ip) = (&image.globals, &packet.ip);
    if frame.ingress_ifindex() != globals.edge_ifindex {
        return Err(Reason::WrongInterface);
    }
    let frame_length = validate::header(frame, packet)?;
    let transport = transport(frame, PAYLOAD, ip)?;
    let ports = transport.ports;
    let key =
        FlowKey::new(ip.destination(), ports.destination(), ip.source(), ports.source(), transport.udp());
    let Some(through) = flow::through(tables, globals, key, true) else {
        let to_us = endpoint::address(image, ip.destination()).kind == Kind::OWN;
        return Err(if to_us { Reason::ServerToRelay } else { Reason::ReturnUnknownFlow });
    };
    if ip.ttl() <= 1 {
        let error = IcmpError::time_exceeded(Reason::ReturnTtlExpired);
        return Ok(answer(frame, tables, image, error, globals.edge_address));
    }
    let peer = pick::peer(image, through)?;
    if ip.total_length() > encapsulate::mtu(globals) {
        if !ip.dont_fragment() {
            return Err(Reason::TooBigToFragment);
        }
        let error = IcmpError::too_big(encapsulate::mtu(globals));
        return Ok(answer(frame, tables, image, error, globals.edge_address));
    }
    let clamp = clamp::of_syn(frame, tables, PAYLOAD, &transport, globals);
    let inner = ip.forwarded(ip.tos(), ip.source(), ip.destination());
    let payload = clamped(&transport, clamp);
    encapsulate(
        frame,
        tables,
        globals,
        peer,
        packet,
        frame_length,
        &inner,
        &payload,
        Reason::ReturnEncapsulated,
    )
}

/// A packet of no backend's endpoint: for the kernel, but for errors about relayed packets and for what a host of the service must not
/// send past this relay.
#[inline(always)]
fn other<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, packet: &Packet) -> Way {
    let ip = &packet.ip;
    if packet.to_group {
        return Err(Reason::NotAService);
    }
    let from_server = endpoint::address(image, ip.source()).kind == Kind::SERVER;
    if endpoint::address(image, ip.destination()).kind == Kind::OWN {
        return Err(if from_server {
            Reason::ServerToRelay
        } else if ip.destination() == image.globals.tunnel_address {
            Reason::ControlFromPeer
        } else {
            Reason::NotAService
        });
    }
    let from_edge = frame.ingress_ifindex() == image.globals.edge_ifindex;
    if from_edge && ip.protocol() == Protocol::ICMP && ip.plain() && !ip.fragment() {
        let message = message(frame, PAYLOAD)?;
        if message.relayed() {
            return error_back(frame, tables, image, packet, from_server);
        }
    }
    Err(if !from_server {
        Reason::NotAService
    } else if !ip.plain() {
        Reason::IpOptions
    } else if ip.fragment() {
        Reason::Fragment
    } else {
        Reason::ServiceInitiated
    })
}

/// An ICMP error of a backend, or of a router on the way to it, about a client's packet: to the ingress relay of the flow it quotes.
#[inline(always)]
fn error_back<F: Frame, T: Apart>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    packet: &Packet,
    from_server: bool,
) -> Way {
    let (globals, ip) = (&image.globals, &packet.ip);
    let frame_length = validate::header(frame, packet)?;
    let foreign = if from_server { Reason::ServiceInitiated } else { Reason::NotAService };
    let quote: Quote = match quote(frame, PAYLOAD, ip, message(frame, PAYLOAD)?) {
        Err(Reason::IcmpQuoteInvalid) => return Err(foreign),
        quote => quote?,
    };
    let (client, endpoint) = (quote.ip.source(), quote.ip.destination());
    let found = endpoint::port(image, endpoint, quote.ports.destination(), quote.ip.protocol());
    if !delivers(found.kind) {
        return Err(foreign);
    }
    let udp = quote.ip.protocol() == Protocol::UDP;
    let key = FlowKey::new(client, quote.ports.source(), endpoint, quote.ports.destination(), udp);
    if client != ip.destination() {
        return Err(Reason::IcmpQuoteUnknown);
    }
    let through = flow::through(tables, globals, key, false).ok_or(Reason::IcmpQuoteUnknown)?;
    if ip.ttl() <= 1 {
        return Err(Reason::ReturnTtlExpired);
    }
    let peer = pick::peer(image, through)?;
    if ip.total_length() > encapsulate::mtu(globals) {
        return Err(Reason::TooBig);
    }
    let inner = ip.forwarded(ip.tos(), ip.source(), ip.destination());
    tables.tally(Tally::IcmpRelayed);
    encapsulate(
        frame,
        tables,
        globals,
        peer,
        packet,
        frame_length,
        &inner,
        &Unchanged,
        Reason::ReturnEncapsulated,
    )
}

/// Whether packets from the tunnel are delivered to an endpoint of this kind.
#[inline(always)]
fn delivers(kind: Kind) -> bool {
    kind == Kind::BACKEND || kind == Kind::SHARED
}

/// The backend that a packet to an endpoint goes to.
#[inline(always)]
fn destination(
    image: &Image,
    address: Ipv4,
    client: Ipv4,
    ports: Ports,
    protocol: Protocol,
) -> Result<&Backend, Reason> {
    let found = endpoint::port(image, address, ports.destination(), protocol);
    match found.kind {
        Kind::BACKEND => pick::backend(image, found.index),
        Kind::SHARED => {
            let service =
                image.services.get(found.index as usize & (SERVICES - 1)).ok_or(Reason::Internal)?;
            let hash = pick::hash(&image.globals, client, service.vip, ports, service.protocol);
            pick::backend(image, pick::slot(image, service, hash)?)
        }
        _ => Err(Reason::InnerDestination),
    }
}

#[inline(always)]
fn way(backend: &Backend) -> Result<(&Stations, u32), Reason> {
    let hop = &backend.next_hop;
    if hop.ifindex == 0 { Err(Reason::BackendUnresolved) } else { Ok((&hop.stations, hop.ifindex)) }
}

/// Checks that the packet can come from a client (BCP 38 on the inner source, RFC 2003 section 3.2) and may go on.
#[inline(always)]
fn from_client(image: &Image, ip: &Header) -> Result<(), Reason> {
    if martian(ip.source()) || endpoint::ours(image, ip.source()) {
        return Err(Reason::InnerSource);
    }
    if ip.ttl() <= 1 { Err(Reason::InnerTtlExpired) } else { Ok(()) }
}
