//! The Ethernet and IPv4 headers of a frame, before anything in them is believed.

use relay_abi::Reason;

use crate::Frame;
use crate::wire::ethernet::{self, EtherType, Stations};
use crate::wire::ipv4::{self, Header};

/// Where the IPv4 header of a frame starts.
pub(super) const IP: usize = ethernet::LENGTH;
/// Where the payload of an IPv4 header without options starts.
pub(super) const PAYLOAD: usize = IP + ipv4::LENGTH;

/// An IPv4 packet in a frame.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    /// Whether the frame went to a group of stations.
    pub(super) to_group: bool,
    pub(super) ip: Header,
}

impl Packet {
    /// Bytes of the frame without padding.
    #[inline(always)]
    pub(super) const fn frame_length(&self) -> usize {
        IP + self.ip.total_length() as usize
    }
}

/// Reads the headers, and tells apart what is no IPv4 packet.
#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F) -> Result<Packet, Reason> {
    let [first, _] = frame.read::<2>(0)?;
    let ether_type = EtherType(u16::from_be_bytes(frame.read(ethernet::LENGTH - 2)?));
    if ether_type != EtherType::IPV4 {
        return Err(match ether_type {
            EtherType::IPV6 => Reason::Ipv6NotRelayed,
            EtherType::VLAN | EtherType::SERVICE_VLAN => Reason::VlanTagged,
            _ => Reason::NotIp,
        });
    }
    let ip = Header(frame.read_words(IP)?);
    if !ip.plain() {
        if ip.version() != 4 {
            return Err(Reason::IpVersion);
        }
        if (ip.header_length() as usize) < ipv4::LENGTH {
            return Err(Reason::IpHeaderLength);
        }
    }
    Ok(Packet { to_group: first & 1 != 0, ip })
}

/// Writes the Ethernet header of an IPv4 packet.
#[inline(always)]
pub(super) fn write_ethernet<F: Frame>(frame: &mut F, stations: &Stations) -> Result<(), Reason> {
    frame.write_words(0, stations)?;
    frame.write_pair(ethernet::LENGTH - 2, EtherType::IPV4.0.to_be_bytes())
}
