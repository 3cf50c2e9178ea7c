//! Cheap filters: packets that no client of a service sends.

use relay_abi::image::filter::{self, Mode};
use relay_abi::{Reason, Tally};

use super::transport::Transport;
use crate::Tables;
use crate::wire::transport::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG};

/// The filter that refuses a packet, if one does; `verified` says of whom the shadows are counted.
#[inline(always)]
pub(super) fn refuses<T: Tables>(
    tables: &T,
    filters: u16,
    transport: &Transport,
    verified: bool,
) -> Option<Reason> {
    let source = transport.ports.source().value();
    if source == 0 {
        let tallies = [Tally::ShadowSourcePortUnproven, Tally::ShadowSourcePortVerified];
        let mode = filter::mode(filters, filter::SOURCE_PORT_ZERO);
        if act(tables, mode, tallies, verified) {
            return Some(Reason::FilterSourcePort);
        }
    }
    if transport.udp() {
        // A service at such a port talks to its like: name servers, time servers.
        if reflects(source) && source != transport.ports.destination().value() {
            let tallies = [Tally::ShadowReflectorPortUnproven, Tally::ShadowReflectorPortVerified];
            let mode = filter::mode(filters, filter::REFLECTOR_PORTS);
            if act(tables, mode, tallies, verified) {
                return Some(Reason::FilterReflectorPort);
            }
        }
    } else if nonsense(transport.flags) {
        let tallies = [Tally::ShadowTcpFlagsUnproven, Tally::ShadowTcpFlagsVerified];
        let mode = filter::mode(filters, filter::TCP_FLAGS);
        if act(tables, mode, tallies, verified) {
            return Some(Reason::FilterTcpFlags);
        }
    }
    None
}

/// What is done about a packet to a VIP that names no service: dropped, else counted and passed.
#[inline(always)]
pub(super) fn refuses_unnamed<T: Tables>(tables: &T, mode: Mode, shadow: Tally) -> bool {
    act(tables, mode, [shadow, shadow], false)
}

/// Whether the packet is dropped.
#[inline(always)]
fn act<T: Tables>(tables: &T, mode: Mode, [unproven, verified]: [Tally; 2], is_verified: bool) -> bool {
    if mode == Mode::SHADOW {
        tables.tally(if is_verified { verified } else { unproven });
    }
    mode == Mode::ENFORCE
}

/// UDP ports of services that answer strangers with more than they were asked: qotd, chargen, dns, tftp, portmap, ntp, netbios, snmp,
/// ldap, ssdp, ws-discovery, mdns, coap, memcached.
#[inline(always)]
const fn reflects(port: u16) -> bool {
    matches!(port, 17 | 19 | 53 | 69 | 111 | 123 | 137 | 161 | 389 | 1900 | 3702 | 5353 | 5683 | 11211)
}

/// Flags that no state of a connection has (RFC 9293 section 3.10): none, SYN with FIN or RST, FIN, PSH and URG without ACK.
#[inline(always)]
const fn nonsense(flags: u32) -> bool {
    const ALL: u32 = (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK | TCP_URG) as u32;
    const SYN: u32 = TCP_SYN as u32;
    const XMAS: u32 = (TCP_FIN | TCP_PSH | TCP_URG) as u32;
    let flags = flags & ALL;
    flags == 0
        || (flags & SYN != 0 && flags & (TCP_FIN | TCP_RST) as u32 != 0)
        || (flags & XMAS == XMAS && flags & TCP_ACK as u32 == 0)
}
