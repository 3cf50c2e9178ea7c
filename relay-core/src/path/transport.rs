//! The TCP or UDP header behind an IPv4 header without options, checked against the packet's length.

use relay_abi::{Be16, Reason};

use super::parse::PAYLOAD;
use crate::Frame;
use crate::wire::ipv4::{self, Header, Protocol};
use crate::wire::transport::{Ports, TCP_LENGTH, TCP_SYN, UDP_LENGTH};

/// What a relay needs of a transport header.
#[derive(Clone, Copy)]
pub(super) struct Transport {
    pub(super) ports: Ports,
    /// The checksum field.
    pub(super) checksum: Be16,
    pub(super) udp: bool,
    /// Bytes of options of a TCP packet with the SYN flag, else 0.
    pub(super) syn_options: u8,
}

/// Reads and checks the header at `at`, of a packet whose IPv4 header says TCP or UDP.
#[inline(always)]
pub(super) fn transport<F: Frame>(frame: &F, at: usize, ip: &Header) -> Result<Transport, Reason> {
    let available = ip.total_length() as usize - ipv4::LENGTH;
    if ip.protocol() == Protocol::UDP { udp(frame, at, available) } else { tcp(frame, at, available) }
}

/// The ports of a TCP or UDP packet with a plain IPv4 header, unchecked: enough to tell whether it is to or from a service.
#[inline(always)]
pub(super) fn ports_of<F: Frame>(frame: &F, ip: &Header) -> Option<Ports> {
    if !ip.protocol().has_ports() || !ip.plain() || ip.later_fragment() {
        return None;
    }
    ports(frame, PAYLOAD).ok()
}

#[inline(always)]
fn ports<F: Frame>(frame: &F, at: usize) -> Result<Ports, Reason> {
    Ok(Ports::new(frame.read::<4>(at)?))
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, at: usize, available: usize) -> Result<Transport, Reason> {
    if available < UDP_LENGTH {
        return Err(Reason::UdpTruncated);
    }
    let [a, b, c, d, l0, l1, s0, s1] = frame.read::<UDP_LENGTH>(at)?;
    let length = u16::from_be_bytes([l0, l1]) as usize;
    if length < UDP_LENGTH || length > available {
        return Err(Reason::UdpLength);
    }
    Ok(Transport { ports: Ports::new([a, b, c, d]), checksum: Be16([s0, s1]), udp: true, syn_options: 0 })
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, at: usize, available: usize) -> Result<Transport, Reason> {
    if available < TCP_LENGTH {
        return Err(Reason::TcpTruncated);
    }
    let ports = ports(frame, at)?;
    let [offset, flags, _, _, s0, s1] = frame.read::<6>(at + 12)?;
    let header = (offset >> 4) as usize * 4;
    if header < TCP_LENGTH || header > available {
        return Err(Reason::TcpDataOffset);
    }
    let syn_options = if flags & TCP_SYN != 0 { (header - TCP_LENGTH) as u8 } else { 0 };
    Ok(Transport { ports, checksum: Be16([s0, s1]), udp: false, syn_options })
}
