//! The ingress relay: clients' packets into the tunnel, the service's packets out of it.

use relay_abi::client;
use relay_abi::endpoint::Kind;
use relay_abi::image::{Peer, Service, option, translate};
use relay_abi::limits::SERVICES;
use relay_abi::{Be16, Image, Ipv4, Reason};

use super::admit::{Gate, unnamed};
use super::client as clients;
use super::decapsulate::{INNER_PAYLOAD, decapsulate, deliver, holds_icmp, tunnelled};
use super::encapsulate::{self, encapsulate};
use super::icmp_error::{IcmpError, answer};
use super::ingress_error::{error_back, error_forward, error_to_service};
use super::parse::{PAYLOAD, Packet, parse};
use super::quote::message;
use super::translate::translated;
use super::transport::{Transport, ports_of, transport};
use super::{Outcome, Way, apart, clamp, endpoint, pick, proof, route, validate};
use crate::wire::ipv4::{Header, Protocol, martian};
use crate::wire::transport::{Ports, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN};
use crate::{Apart, Frame, Tables};

/// The way of every packet that an ingress relay receives.
#[inline(always)]
pub fn ingress<F: Frame, T: Apart>(frame: &mut F, tables: &T) -> Outcome {
    // A generation lasts longer than a packet, for publishing waits until no packet uses the one before: the second time is the last.
    for _ in 0..2 {
        let outcome = with_one_image(frame, tables);
        if outcome != Outcome::AGAIN {
            return outcome;
        }
    }
    Err(Reason::Internal).into()
}

/// The way of a packet under one generation. A packet that has to be looked at anew is as it came in, and nothing is counted.
#[inline(always)]
fn with_one_image<F: Frame, T: Apart>(frame: &mut F, tables: &T) -> Outcome {
    let Some(image) = tables.image() else { return Err(Reason::NoConfiguration).into() };
    match whither(frame, image) {
        Ok(Whither::Service(index)) => to_service(frame, tables, image, index),
        Ok(Whither::Client) => answer_to_client(frame, tables, image),
        Ok(Whither::ClientError) => apart(frame, tables, image, error_back),
        Ok(Whither::Elsewhere) => {
            let outcome = apart(frame, tables, image, other);
            match outcome.error_to() {
                Some(index) => error_to_service(frame, tables, image, index),
                None => outcome,
            }
        }
        Err(reason) => Err(reason).into(),
    }
}

/// Which way a packet takes.
enum Whither {
    /// To the service with an index.
    Service(u16),
    /// Out of the tunnel, to a client.
    Client,
    /// The same, but an ICMP error.
    ClientError,
    /// To the kernel, most likely.
    Elsewhere,
}

#[inline(always)]
fn whither<F: Frame>(frame: &F, image: &Image) -> Result<Whither, Reason> {
    let Packet { ip, .. } = parse(frame)?;
    if tunnelled(image, &ip) {
        return Ok(if holds_icmp(frame) { Whither::ClientError } else { Whither::Client });
    }
    let Some(ports) = ports_of(frame, &ip) else { return Ok(Whither::Elsewhere) };
    let found = endpoint::port(image, ip.destination(), ports.destination(), ip.protocol());
    Ok(if found.kind == Kind::SERVICE { Whither::Service(found.index) } else { Whither::Elsewhere })
}

/// A client's packet to the service with an index: first whether it may go on, then where it goes.
#[inline(always)]
fn to_service<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, index: u16) -> Outcome {
    match Gate::of(tables.judge(frame, index, image.globals.generation)) {
        Gate::Open => {}
        Gate::Challenge => return proof::challenge(frame, tables, image),
        Gate::Closed(outcome) => return outcome,
    }
    let outcome = apart(frame, tables, image, |frame, tables, image, packet| {
        forward(frame, tables, image, packet, service(image, index)?)
    });
    forwarded(frame, tables, index, outcome)
}

/// Takes back that an admitted packet is forwarded, where it is not.
#[inline(always)]
pub(super) fn forwarded<F: Frame, T: Apart>(frame: &F, tables: &T, index: u16, outcome: Outcome) -> Outcome {
    if outcome.code() != Reason::ForwardEncapsulated as u8 {
        tables.not_forwarded(frame, index, outcome.answered());
    }
    outcome
}

/// A client's packet to a service, admitted.
#[inline(always)]
fn forward<F: Frame, T: Apart>(
    frame: &mut F,
    tables: &T,
    image: &Image,
    packet: &Packet,
    service: &Service,
) -> Way {
    let (globals, ip) = (&image.globals, &packet.ip);
    let frame_length = frame.length();
    let transport = transport(frame, PAYLOAD, ip)?;
    if ip.ttl() <= 1 {
        let error = IcmpError::time_exceeded(Reason::TtlExpired);
        return Ok(answer(frame, tables, image, error, ip.destination()));
    }
    let picked = pick_path(image, service, ip.source(), transport.ports)?;
    if ip.total_length() > encapsulate::mtu(globals) {
        if !ip.dont_fragment() {
            return Err(Reason::TooBigToFragment);
        }
        let error = IcmpError::too_big(encapsulate::mtu(globals));
        return Ok(answer(frame, tables, image, error, ip.destination()));
    }
    let clamp = clamp::of_syn(frame, tables, PAYLOAD, &transport, globals);
    let inner = ip.forwarded(ip.tos(), ip.source(), picked.address);
    let ports = transport.ports.to_port(picked.port);
    let payload = translated(&transport, ip, &inner, ports, clamp);
    let reason = Reason::ForwardEncapsulated;
    encapsulate(frame, tables, globals, picked.peer, packet, frame_length, &inner, &payload, reason)
}

/// A packet to no service: for the kernel, but for errors about relayed packets and for what can only be meant to hit a service.
#[inline(always)]
fn other<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, packet: &Packet) -> Way {
    let ip = &packet.ip;
    let found = endpoint::address(image, ip.destination());
    match found.kind {
        Kind::VIP => {}
        Kind::OWN if ip.destination() == image.globals.tunnel_address => return Err(Reason::ControlFromPeer),
        _ => return Err(Reason::NotAService),
    }
    if ip.protocol() == Protocol::ICMP {
        if !ip.plain() || ip.fragment() || !message(frame, PAYLOAD)?.relayed() {
            return Err(Reason::IcmpToKernel);
        }
        return error_forward(frame, image, packet);
    }
    if let Some(reason) = unnamed(tables, found.index, ip) {
        return Err(reason);
    }
    Err(if !ip.protocol().has_ports() {
        Reason::ProtocolToKernel
    } else if !ip.plain() {
        Reason::IpOptions
    } else {
        Reason::NotAService
    })
}

/// A packet out of the tunnel: an answer of the service, to its client, and on its account.
#[inline(always)]
fn answer_to_client<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image) -> Outcome {
    let outcome = apart(frame, tables, image, back);
    if outcome.code() == Reason::ReturnDelivered as u8 {
        tables.returned(frame);
    }
    outcome
}

/// Counts an answer for its client, as it goes there: from VIP and port of a service.
#[inline(always)]
pub fn returned<F: Frame, T: Tables>(frame: &F, tables: &T) {
    let Some(image) = tables.image() else { return };
    let Ok(Packet { ip, .. }) = parse(frame) else { return };
    let Ok(transport) = transport(frame, PAYLOAD, &ip) else { return };
    let found = endpoint::port(image, ip.source(), transport.ports.source(), ip.protocol());
    let (true, Ok(service)) = (found.kind == Kind::SERVICE, service(image, found.index)) else { return };
    let key = client::key(ip.destination(), found.index);
    clients::returned(tables, &image.globals, key, ip.total_length(), proves_client(service, &transport));
}

/// A packet out of the tunnel: an answer of the service, to its client.
#[inline(always)]
fn back<F: Frame, T: Apart>(frame: &mut F, tables: &T, image: &Image, packet: &Packet) -> Way {
    let inner = decapsulate(frame, image, packet)?;
    let ip = &inner.ip;
    if !ip.protocol().has_ports() {
        return Err(Reason::InnerProtocol);
    }
    let transport = transport(frame, INNER_PAYLOAD, ip)?;
    let (vip, port) = public(image, ip.source(), transport.ports.source(), ip.protocol())
        .ok_or(Reason::ReturnUnknownEndpoint)?;
    to_client(image, ip)?;
    let new = ip.forwarded(inner.tos, vip, ip.destination());
    let ports = transport.ports.from_port(port);
    let payload = translated(&transport, ip, &new, ports, None);
    let (ifindex, stations) = route::to_client(tables, &new)?;
    deliver(frame, tables, &stations, ifindex, packet, &inner, &new, &payload, Reason::ReturnDelivered)
}

/// Whether an answer of the service proves that the client receives at its address. Of TCP that do the end of what the service has to
/// say for now (PSH) and of all it has to say (FIN): it says nothing before the client has acknowledged its sequence number. An ACK
/// alone proves nothing: whoever forges a SYN gets one by a second segment that is outside of the window (RFC 9293 section 3.10.7.4).
#[inline(always)]
fn proves_client(service: &Service, transport: &Transport) -> bool {
    const NEVER: u32 = (TCP_SYN | TCP_RST) as u32;
    const SAYS: u32 = (TCP_PSH | TCP_FIN) as u32;
    if transport.udp() {
        service.options & option::ANSWERS_VERIFY != 0
    } else {
        transport.flags & NEVER == 0 && transport.flags & SAYS != 0
    }
}

/// Where a client's packet goes.
pub(super) struct Picked<'image> {
    /// Its new destination; with `translate = "none"` the VIP it has.
    pub(super) address: Ipv4,
    /// Its new port; zero to keep it.
    pub(super) port: Be16,
    /// The egress relay it goes through.
    pub(super) peer: &'image Peer,
}

#[inline(always)]
pub(super) fn pick_path<'image>(
    image: &'image Image,
    service: &Service,
    client: Ipv4,
    ports: Ports,
) -> Result<Picked<'image>, Reason> {
    let hash = pick::hash(&image.globals, client, service.vip, ports, service.protocol);
    let slot = pick::slot(image, service, hash)?;
    if service.translate == translate::NONE {
        return Ok(Picked { address: service.vip, port: Be16::ZERO, peer: pick::peer(image, slot)? });
    }
    let backend = pick::backend(image, slot)?;
    let peer = pick::peer(image, pick::peer_of(backend, hash)?)?;
    Ok(Picked { address: backend.address, port: backend.port, peer })
}

/// Checks that the packet can come from a client. Returns the length of the frame.
#[inline(always)]
pub(super) fn from_client<F: Frame>(frame: &F, image: &Image, packet: &Packet) -> Result<usize, Reason> {
    if frame.ingress_ifindex() != image.globals.edge_ifindex {
        return Err(Reason::WrongInterface);
    }
    let frame_length = validate::header(frame, packet)?;
    validate::client(image, &packet.ip)?;
    Ok(frame_length)
}

/// Checks that the packet can go to a client (BCP 38: a hacked service must not reach the relays).
#[inline(always)]
pub(super) fn to_client(image: &Image, ip: &Header) -> Result<(), Reason> {
    if martian(ip.destination()) || endpoint::ours(image, ip.destination()) {
        return Err(Reason::InnerDestination);
    }
    if ip.ttl() <= 1 { Err(Reason::ReturnTtlExpired) } else { Ok(()) }
}

/// The VIP and port that clients know a backend endpoint by; with `translate = "none"` what it has already.
#[inline(always)]
pub(super) fn public(image: &Image, address: Ipv4, port: Be16, protocol: Protocol) -> Option<(Ipv4, Be16)> {
    let found = endpoint::port(image, address, port, protocol);
    if found.kind != Kind::BACKEND && found.kind != Kind::SERVICE {
        return None;
    }
    let service = service(image, found.index).ok()?;
    if found.kind == Kind::BACKEND {
        Some((service.vip, service.port))
    } else if service.translate == translate::NONE {
        Some((address, port))
    } else {
        None
    }
}

/// The service with an index.
#[inline(always)]
pub(super) fn service(image: &Image, index: u16) -> Result<&Service, Reason> {
    image.services.get(index as usize & (SERVICES - 1)).ok_or(Reason::Internal)
}
