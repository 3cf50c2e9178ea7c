//! Events that are not the end of a packet, and so stand outside the conservation of verdicts.

macro_rules! tallies {
    ($($code:literal => $name:ident, $label:literal, $help:literal;)*) => {
        /// An event inside the packet path, counted beside the packet's verdict.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Tally {
            $(#[doc = $help] $name = $code,)*
        }

        impl Tally {
            /// All tallies, by rising code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in commands, metrics and documents.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What it counts, in one sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

tallies! {
    0 => FlowCreated, "flow_created", "A forward packet entered a new flow into the flow table.";
    1 => FlowDisplaced, "flow_displaced", "A new flow took the place of an idle or unanswered one.";
    2 => FlowSpilled, "flow_spilled", "A new flow whose set held only live, answered flows went to the spill table.";
    3 => FlowUnrecorded, "flow_unrecorded", "A packet was forwarded whose flow neither its set nor the spill table could take.";
    4 => FlowAnswered, "flow_answered", "A flow saw its first packet from the service.";
    5 => FlowMoved, "flow_moved", "A known flow came in through another ingress relay than before.";
    6 => MssClamped, "mss_clamped", "A SYN or SYN-ACK had its maximum segment size lowered to fit the tunnel.";
    7 => PaddingTrimmed, "padding_trimmed", "Ethernet padding behind the IP packet was cut off.";
    8 => IcmpRelayed, "icmp_relayed", "An ICMP error about a relayed packet was translated and sent on.";
    9 => NeighbourFallback, "neighbour_fallback", "The kernel did not know a client's next hop; its last known address was used.";
    10 => NeighbourReported, "neighbour_reported", "A next hop the kernel did not know was reported to the controller for resolution.";
    11 => ClientEntered, "client_entered", "A client took a place in the client table.";
    12 => ClientEvicted, "client_evicted", "A client gave its place in the client table to another one; its counts went to its service's.";
    13 => ClientUnplaced, "client_unplaced", "A packet of a client that found no place in the client table, for its set holds only verified ones; it is counted with its service.";
    14 => ClientVerified, "client_verified", "A client proved that it receives at its address.";
    15 => PrefixEvicted, "prefix_evicted", "A prefix with use of its limits left was forgotten for another one.";
    16 => MarkedDown, "marked_down", "A packet over a limit of its client or prefix passed, for its service's total had room.";
    17 => EventLost, "event_lost", "A sample of a dropped packet found no room in the ring.";
    18 => ShadowReflectorPortVerified, "shadow_reflector_port_verified", "The filter of reflector ports would have dropped a packet of a verified client.";
    19 => ShadowReflectorPortUnproven, "shadow_reflector_port_unproven", "The filter of reflector ports would have dropped a packet of an unproven client.";
    20 => ShadowTcpFlagsVerified, "shadow_tcp_flags_verified", "The filter of TCP flags would have dropped a packet of a verified client.";
    21 => ShadowTcpFlagsUnproven, "shadow_tcp_flags_unproven", "The filter of TCP flags would have dropped a packet of an unproven client.";
    22 => ShadowSourcePortVerified, "shadow_source_port_verified", "The filter of source port 0 would have dropped a packet of a verified client.";
    23 => ShadowSourcePortUnproven, "shadow_source_port_unproven", "The filter of source port 0 would have dropped a packet of an unproven client.";
    24 => ShadowFragment, "shadow_fragment", "The filter of fragments would have dropped a fragment, which names no service: verified or not cannot be told.";
    25 => ShadowProtocol, "shadow_protocol", "The filter of protocols would have dropped a packet, which names no service: verified or not cannot be told.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_and_rise() {
        let codes: [u8; 26] = core::array::from_fn(|index| Tally::ALL[index] as u8);
        assert_eq!(Tally::ALL.len(), codes.len());
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((codes[codes.len() - 1] as usize) < crate::limits::TALLY_CODES);
    }
}
