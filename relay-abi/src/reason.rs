//! Why a packet ended as it did: one row a reason, from which the enum, the counter index, the metric label, the
//! help text and the document's row are made.
//!
//! Codes are never reused: a reason that goes is listed as retired. Labels are `snake_case`.

macro_rules! reasons {
    ($($code:literal => $name:ident, $label:literal, $action:ident, $help:literal;)*) => {
        /// Why a packet ended as it did. A code fits a byte; a word is what the kernel's machine moves best.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Reason {
            $(#[doc = $help] $name = $code,)*
        }

        impl Reason {
            /// All reasons, by rising code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in commands, metrics and documents.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What it means, in one or two sentences.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }

            /// What becomes of the packet.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)* }
            }

            /// The reason with a code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

/// What a reason does to a packet; a sent packet's verdict is [`crate::Verdict::Transmit`] or
/// [`crate::Verdict::Redirect`], depending on the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Sent on, or answered.
    Send,
    /// Left to the kernel.
    Pass,
    /// Discarded.
    Drop,
}

reasons! {
    // Sent.
    1 => ForwardEncapsulated, "forward_encapsulated", Send, "A client's packet went into the tunnel to an egress relay.";
    2 => ForwardDelivered, "forward_delivered", Send, "A client's packet came out of the tunnel and went to a backend.";
    3 => ReturnEncapsulated, "return_encapsulated", Send, "A packet of the service went into the tunnel to the ingress relay of its flow.";
    4 => ReturnDelivered, "return_delivered", Send, "A packet of the service came out of the tunnel and went to the client.";
    5 => FragmentationNeededSent, "fragmentation_needed_sent", Send, "The packet with DF set did not fit the tunnel; its sender was told the MTU (RFC 1191).";
    6 => TimeExceededSent, "time_exceeded_sent", Send, "The packet's TTL ended here; its sender was told so (RFC 792).";

    7 => SynChallenged, "syn_challenged", Send, "An unproven client's SYN was answered with an ACK of a number that only a real client can send back (RFC 9293 section 3.10.7.3).";

    // Left to the kernel.
    10 => NotIp, "not_ip", Pass, "Neither IPv4 nor IPv6 (ARP, for one); left to the kernel.";
    11 => Ipv6NotRelayed, "ipv6_not_relayed", Pass, "IPv6 is not relayed; left to the kernel.";
    12 => VlanTagged, "vlan_tagged", Pass, "The frame carries a VLAN tag: services are relayed on untagged interfaces; left to the kernel.";
    13 => NotAService, "not_a_service", Pass, "Addressed to no service of this relay; left to the kernel.";
    14 => IcmpToKernel, "icmp_to_kernel", Pass, "ICMP to a VIP that is not an error about a relayed packet (an echo request, for one); the kernel answers.";
    15 => ProtocolToKernel, "protocol_to_kernel", Pass, "An IP protocol to a VIP that no service speaks; left to the kernel.";
    16 => ServerToRelay, "server_to_relay", Pass, "A backend's packet to this relay itself (the answer to a health check, for one); left to the kernel.";
    17 => NoConfiguration, "no_configuration", Pass, "No configuration is loaded; everything is left to the kernel.";
    18 => ControlFromPeer, "control_from_peer", Pass, "A packet other than a tunnelled one to this relay's tunnel address; left to the kernel.";

    // Dropped: the frame and its IPv4 header.
    30 => FrameTruncated, "frame_truncated", Drop, "The frame ends inside an Ethernet or IPv4 header.";
    31 => IpVersion, "ip_version", Drop, "The EtherType says IPv4, the version field does not (RFC 1812 section 5.2.2).";
    32 => IpHeaderLength, "ip_header_length", Drop, "The IPv4 header is said to be shorter than 20 bytes (RFC 1812 section 5.2.2).";
    33 => IpTotalLength, "ip_total_length", Drop, "The IPv4 total length is less than the header or more than the frame (RFC 1812 section 5.2.2).";
    34 => IpChecksum, "ip_checksum", Drop, "The IPv4 header checksum is wrong (RFC 1812 section 5.2.2).";
    35 => IpOptions, "ip_options", Drop, "A packet to or from a service carries IPv4 options (RFC 7126).";
    36 => Fragment, "fragment", Drop, "A packet to or from a service is a fragment; fragments are not relayed.";
    37 => MartianSource, "martian_source", Drop, "The source can belong to no client: 0/8, 127/8, 169.254/16, multicast, 240/4, broadcast (RFC 1812 section 5.3.7, RFC 6890).";
    38 => OwnSource, "own_source", Drop, "The source is an address of the relay itself, of a peer or of the service's hosts: spoofed or looping (RFC 2003 section 3.2, BCP 38).";
    39 => Land, "land", Drop, "Source and destination are the same address.";
    40 => LinkMulticast, "link_multicast", Drop, "A packet to a service came as a link-layer multicast or broadcast (RFC 1812 section 5.3.4).";

    // Dropped: filters, lists, proofs.
    41 => Blocked, "blocked", Drop, "The client is on a blocklist, or an administrator blocked it.";
    42 => Banned, "banned", Drop, "The client is banned for having stayed over its limit.";
    43 => FilterReflectorPort, "filter_reflector_port", Drop, "UDP from a port whose services attackers use to reflect traffic; the service does not talk to such ports.";
    44 => FilterTcpFlags, "filter_tcp_flags", Drop, "TCP flags that no connection has: none, SYN with FIN or RST, or FIN, PSH and URG without ACK (RFC 9293 section 3.10).";
    45 => FilterSourcePort, "filter_source_port", Drop, "Source port 0, which no client sends from (RFC 6335 section 6).";
    46 => FilterFragment, "filter_fragment", Drop, "A fragment other than the first, which has no ports, to a VIP.";
    47 => FilterProtocol, "filter_protocol", Drop, "An IP protocol that no service of the VIP speaks.";
    48 => SynUnproven, "syn_unproven", Drop, "An unproven client's SYN found the challenges used up; a real client tries again.";
    49 => SynProof, "syn_proof", Drop, "A RST that proved its client after a challenge; the client's next SYN passes.";

    // Dropped: transport headers.
    50 => TcpTruncated, "tcp_truncated", Drop, "The packet ends inside the TCP header.";
    51 => TcpDataOffset, "tcp_data_offset", Drop, "The TCP header is said to be shorter than 20 bytes or longer than the packet.";
    52 => UdpTruncated, "udp_truncated", Drop, "The packet ends inside the UDP header.";
    53 => UdpLength, "udp_length", Drop, "The UDP length is less than 8 or more than the packet.";
    54 => IcmpTruncated, "icmp_truncated", Drop, "The packet ends inside the ICMP header or before the quote an ICMP error must hold (RFC 792).";

    // Dropped: on the way to the tunnel.
    60 => TtlExpired, "ttl_expired", Drop, "The TTL ended here and telling the sender was over the limit or not allowed (RFC 1812 sections 4.3.2.7 and 4.3.2.8).";
    61 => TooBig, "too_big", Drop, "The packet with DF set does not fit the tunnel and telling the sender was over the limit (RFC 1812 section 4.3.2.8).";
    62 => TooBigToFragment, "too_big_to_fragment", Drop, "The packet does not fit the tunnel and does not forbid fragmentation; the relay does not fragment.";
    63 => NoBackend, "no_backend", Drop, "The service has no backend to send to.";
    64 => NoPeer, "no_peer", Drop, "No relay of the other tier reaches the backend.";
    65 => PeerUnresolved, "peer_unresolved", Drop, "The next hop to the relay of the other tier is not resolved.";
    66 => BackendUnresolved, "backend_unresolved", Drop, "The next hop to the backend is not resolved.";
    67 => HeadRoom, "head_room", Drop, "The driver left no room in front of the frame for the outer header.";
    68 => WrongInterface, "wrong_interface", Drop, "A packet to or from a service came in on the tunnel interface, where neither clients nor backends are.";

    // Dropped: limits.
    69 => LimitClientPackets, "limit_client_packets", Drop, "The client is over the service's limit of packets a second.";
    70 => LimitClientBytes, "limit_client_bytes", Drop, "The client is over the service's limit of bytes a second.";
    71 => LimitClientConnections, "limit_client_connections", Drop, "The client is over the service's limit of new connections a second.";
    72 => LimitPrefixPackets, "limit_prefix_packets", Drop, "The client's prefix is over the service's limit of packets a second.";
    73 => LimitPrefixBytes, "limit_prefix_bytes", Drop, "The client's prefix is over the service's limit of bytes a second.";
    74 => LimitPrefixConnections, "limit_prefix_connections", Drop, "The client's prefix is over the service's limit of new connections a second.";
    75 => LimitServicePackets, "limit_service_packets", Drop, "The service is over its limit of packets a second in total.";
    76 => LimitServiceBytes, "limit_service_bytes", Drop, "The service is over its limit of bytes a second in total.";
    77 => LimitServiceConnections, "limit_service_connections", Drop, "The service is over its limit of new connections a second in total.";
    78 => FairShare, "fair_share", Drop, "The service is at its capacity and the client is above its fair share of it.";

    // Dropped: ICMP errors about relayed packets.
    80 => IcmpQuoteInvalid, "icmp_quote_invalid", Drop, "The packet quoted in an ICMP error is not one the relay could have sent (options, fragment, protocol), or extensions behind it could show the service's side to a client (RFC 4884, RFC 5837).";
    81 => IcmpQuoteUnknown, "icmp_quote_unknown", Drop, "The packet quoted in an ICMP error belongs to no service or no live flow (RFC 5927 section 4).";
    82 => IcmpMtuTooSmall, "icmp_mtu_too_small", Drop, "An ICMP Fragmentation Needed names an MTU below 68 (RFC 1191 section 3).";

    // Dropped: coming out of the tunnel.
    90 => TunnelWrongInterface, "tunnel_wrong_interface", Drop, "A tunnel packet came in on an interface that is not the tunnel's.";
    91 => TunnelUnknownPeer, "tunnel_unknown_peer", Drop, "A tunnel packet comes from an address that is no configured peer (RFC 2003 section 6.2).";
    92 => OuterFragment, "outer_fragment", Drop, "A tunnel packet is a fragment; peers send whole ones with DF set.";
    93 => OuterOptions, "outer_options", Drop, "A tunnel packet's outer header carries options; peers send none.";
    94 => InnerTruncated, "inner_truncated", Drop, "The outer packet ends inside the inner IPv4 header.";
    95 => InnerVersion, "inner_version", Drop, "The inner packet is not IPv4.";
    96 => InnerHeaderLength, "inner_header_length", Drop, "The inner IPv4 header is said to be shorter than 20 bytes.";
    97 => InnerTotalLength, "inner_total_length", Drop, "The inner total length is less than its header or more than the outer packet holds.";
    98 => InnerChecksum, "inner_checksum", Drop, "The inner IPv4 header checksum is wrong.";
    99 => InnerOptions, "inner_options", Drop, "The inner packet carries IPv4 options.";
    100 => InnerFragment, "inner_fragment", Drop, "The inner packet is a fragment.";
    101 => InnerSource, "inner_source", Drop, "The inner source is martian, or an address of a relay or of the service's hosts (BCP 38, RFC 2003 section 3.2).";
    102 => InnerDestination, "inner_destination", Drop, "The inner destination is no backend of this relay, or on the way back an address of the relays or the service's hosts (RFC 2003 section 6.2).";
    103 => InnerProtocol, "inner_protocol", Drop, "The inner packet is neither TCP nor UDP nor an ICMP error; a packet tunnelled twice, for one.";
    104 => InnerTtlExpired, "inner_ttl_expired", Drop, "The inner TTL ended here; the sender is not told, for that would show this relay (RFC 2003 section 3.1).";
    105 => EcnViolation, "ecn_violation", Drop, "The outer header says congestion experienced, the inner one that ECN is not understood (RFC 6040 section 4.2).";

    // Dropped: the way back.
    110 => ReturnUnknownFlow, "return_unknown_flow", Drop, "A backend sent a packet of a flow no ingress relay opened; sending it on would show the service.";
    111 => ServiceInitiated, "service_initiated", Drop, "A host of the service sent a packet from an endpoint that is no service; sending it on would show the host.";
    112 => ReturnUnknownEndpoint, "return_unknown_endpoint", Drop, "A packet out of the tunnel comes from no backend endpoint of this relay's services.";
    113 => ReturnTtlExpired, "return_ttl_expired", Drop, "The TTL of a packet of the service ended here.";
    114 => NoRoute, "no_route", Drop, "The kernel has no route to the client, or one that says unreachable or prohibited.";
    115 => NoNeighbour, "no_neighbour", Drop, "The next hop towards the client is not resolved; the controller has been asked to resolve it.";
    116 => ForwardingDisabled, "forwarding_disabled", Drop, "Forwarding is switched off on the loopback interface, about which the kernel is asked for the ways to clients (net.ipv4.conf.lo.forwarding).";
    117 => ClientLinkMtu, "client_link_mtu", Drop, "The packet is larger than the MTU of the route to the client.";

    // Dropped: what should not happen.
    126 => Internal, "internal", Drop, "A bound that was checked before did not hold when it was used; please report it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_fit_the_counter_table() {
        assert!(Reason::ALL.windows(2).all(|pair| (pair[0] as u8) < pair[1] as u8));
        assert!(Reason::ALL.iter().all(|reason| (*reason as usize) < crate::limits::REASON_CODES));
        assert!(Reason::ALL.iter().all(|reason| Reason::from_code(*reason as u8) == Some(*reason)));
    }

    #[test]
    fn labels_are_unique_and_snake_case() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert!(
                reason
                    .label()
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
            );
            assert!(Reason::ALL[..index].iter().all(|other| other.label() != reason.label()));
        }
    }
}
