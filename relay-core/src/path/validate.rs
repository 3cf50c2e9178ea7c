//! What must hold of an IPv4 header before the packet is relayed (RFC 1812 section 5.2.2 and 5.3.7).

use relay_abi::{Image, Reason, Tally};

use super::endpoint;
use super::parse::Packet;
use crate::wire::ipv4::{self, Header, martian};
use crate::{Frame, Tables};

/// Checks the header of a packet to or from a service: plain, whole, intact. Returns the length of the frame, padding included.
#[inline(always)]
pub(super) fn header<F: Frame>(frame: &F, packet: &Packet) -> Result<usize, Reason> {
    let ip = &packet.ip;
    if !ip.plain() {
        return Err(Reason::IpOptions);
    }
    let length = frame.length();
    if (ip.total_length() as usize) < ipv4::LENGTH || packet.frame_length() > length {
        return Err(Reason::IpTotalLength);
    }
    if !ip.intact() {
        return Err(Reason::IpChecksum);
    }
    if ip.fragment() {
        return Err(Reason::Fragment);
    }
    if packet.to_group {
        return Err(Reason::LinkMulticast);
    }
    Ok(length)
}

/// Checks that a client can have sent the packet.
#[inline(always)]
pub(super) fn client(image: &Image, ip: &Header) -> Result<(), Reason> {
    if ip.source() == ip.destination() {
        return Err(Reason::Land);
    }
    if martian(ip.source()) {
        return Err(Reason::MartianSource);
    }
    if endpoint::ours(image, ip.source()) {
        return Err(Reason::OwnSource);
    }
    Ok(())
}

/// Checks the header of a packet inside a tunnel packet of `available` bytes.
#[inline(always)]
pub(super) fn inner(ip: &Header, available: u16) -> Result<(), Reason> {
    if !ip.plain() {
        return Err(if ip.version() != 4 {
            Reason::InnerVersion
        } else if (ip.header_length() as usize) < ipv4::LENGTH {
            Reason::InnerHeaderLength
        } else {
            Reason::InnerOptions
        });
    }
    if (ip.total_length() as usize) < ipv4::LENGTH || ip.total_length() > available {
        return Err(Reason::InnerTotalLength);
    }
    if !ip.intact() {
        return Err(Reason::InnerChecksum);
    }
    if ip.fragment() {
        return Err(Reason::InnerFragment);
    }
    Ok(())
}

/// Cuts off Ethernet padding: what a frame of `frame_length` bytes has behind `length` bytes.
#[inline(always)]
pub(super) fn trim<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    frame_length: usize,
    length: usize,
) -> Result<(), Reason> {
    if frame_length > length {
        frame.trim(length)?;
        tables.tally(Tally::PaddingTrimmed);
    }
    Ok(())
}
