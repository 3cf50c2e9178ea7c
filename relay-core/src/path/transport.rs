//! The TCP or UDP header behind an IPv4 header without options, checked against the packet's length.

use relay_abi::{Be16, Reason};

use super::parse::PAYLOAD;
use crate::Frame;
use crate::wire::ipv4::{self, Header, Protocol};
use crate::wire::transport::{Ports, TCP_LENGTH, TCP_SYN, UDP_LENGTH};

/// What a relay needs of a transport header; in whole words, which BPF handles best.
#[derive(Clone, Copy)]
pub(super) struct Transport {
    pub(super) ports: Ports,
    /// The checksum field, as it stands in memory.
    checksum: u32,
    /// The length field of UDP, as it stands in memory; zero for TCP, which has none.
    udp_length: u32,
    /// Bytes of options of a TCP packet with the SYN flag, else 0.
    pub(super) syn_options: u32,
    /// Flags of TCP; zero for UDP.
    pub(super) flags: u32,
}

impl Transport {
    /// The checksum field.
    #[inline(always)]
    pub(super) const fn checksum(&self) -> Be16 {
        Be16((self.checksum as u16).to_ne_bytes())
    }

    /// Whether it is UDP, else TCP.
    #[inline(always)]
    pub(super) const fn udp(&self) -> bool {
        self.udp_length != 0
    }

    /// The length field of UDP; zero for TCP.
    #[inline(always)]
    pub(super) const fn udp_length(&self) -> [u8; 2] {
        (self.udp_length as u16).to_ne_bytes()
    }
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
    let [ports] = frame.read_words(PAYLOAD).ok()?;
    Some(Ports(ports))
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, at: usize, available: usize) -> Result<Transport, Reason> {
    if available < UDP_LENGTH {
        return Err(Reason::UdpTruncated);
    }
    let [ports, rest] = frame.read_words(at)?;
    let [l0, l1, s0, s1] = rest.to_ne_bytes();
    let length = u16::from_be_bytes([l0, l1]) as usize;
    if length < UDP_LENGTH || length > available {
        return Err(Reason::UdpLength);
    }
    Ok(Transport {
        ports: Ports(ports),
        checksum: u16::from_ne_bytes([s0, s1]) as u32,
        udp_length: u16::from_ne_bytes([l0, l1]) as u32,
        syn_options: 0,
        flags: 0,
    })
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, at: usize, available: usize) -> Result<Transport, Reason> {
    if available < TCP_LENGTH {
        return Err(Reason::TcpTruncated);
    }
    let [ports, _, _, fourth, fifth] = frame.read_words(at)?;
    // As numbers, not as bytes, which would go over the stack.
    let (offset, flags) = (fourth.to_le() & 0xff, fourth.to_le() >> 8 & 0xff);
    let [s0, s1, _, _] = fifth.to_ne_bytes();
    let header = (offset >> 4) as usize * 4;
    if header < TCP_LENGTH || header > available {
        return Err(Reason::TcpDataOffset);
    }
    let syn_options = if flags & TCP_SYN as u32 != 0 { (header - TCP_LENGTH) as u32 } else { 0 };
    Ok(Transport {
        ports: Ports(ports),
        checksum: u16::from_ne_bytes([s0, s1]) as u32,
        udp_length: 0,
        syn_options,
        flags,
    })
}
