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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_and_rise() {
        let codes: [u8; 11] = core::array::from_fn(|index| Tally::ALL[index] as u8);
        assert_eq!(Tally::ALL.len(), codes.len());
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((codes[codes.len() - 1] as usize) < crate::limits::TALLY_CODES);
    }
}
