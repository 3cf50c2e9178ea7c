//! What is measured: one case for each name, number of sources and length of list.

use relay_abi::Reason;
use relay_tests::drive::driver::Baseline;
use relay_tests::drive::{Order, Packet};

/// What each of them is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) subject: Subject,
    pub(crate) packet: Packet,
    /// What every packet must end as.
    pub(crate) reason: Reason,
    pub(crate) sources: Sources,
    /// Prefixes in the list of blocked clients, where the case is about that.
    pub(crate) prefixes: Option<usize>,
}

/// The program measured, with the tables that the cases of a name share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// An ingress relay as its configuration's defaults make it.
    Ingress,
    /// An egress relay.
    Egress,
    /// An ingress relay with limits, filters and a list of blocked clients, none of which bites.
    Accounted,
    /// The same, whose client table fresh sources have filled.
    AccountedFlooded,
    /// An ingress relay whose clients are all far over their limits.
    Limited,
    /// An ingress relay whose clients are all blocked.
    Blocked,
    /// An ingress relay with lists of different lengths that none of its clients is on.
    Listed,
    /// The straightforward program to compare with.
    KernelLru,
    /// The same, whose tables fresh sources have filled.
    KernelLruFlooded,
}

/// Where packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sources {
    /// From so many sources, at random.
    Number(u32),
    /// Each from a new one.
    Fresh,
}

impl Sources {
    pub(crate) const fn order(self) -> Order {
        match self {
            Self::Number(number) => Order::Random(number),
            Self::Fresh => Order::Fresh,
        }
    }

    pub(crate) const fn number(self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Fresh => None,
        }
    }
}

/// A name, and what belongs to it.
struct Kind {
    name: &'static str,
    subject: fn(Sources) -> Subject,
    packet: Packet,
    reason: Reason,
    /// Where its packets come from, unless something else is asked for.
    sources: &'static [Sources],
    /// Prefixes in the list of blocked clients, where that is what differs.
    prefixes: &'static [usize],
}

const FEW: &[Sources] = &[Sources::Number(1), Sources::Number(1 << 10)];
/// From one source to ever-new ones.
pub(crate) const ALL: &[Sources] = &[
    Sources::Number(1),
    Sources::Number(1 << 10),
    Sources::Number(1 << 16),
    Sources::Number(1 << 20),
    Sources::Fresh,
];

const REPEATED: &[Sources] =
    &[Sources::Number(1), Sources::Number(1 << 10), Sources::Number(1 << 16), Sources::Number(1 << 20)];

const KINDS: &[Kind] = &[
    Kind {
        name: "ingress_forward",
        subject: |_| Subject::Ingress,
        packet: Packet::Forward,
        reason: Reason::ForwardEncapsulated,
        sources: FEW,
        prefixes: &[],
    },
    Kind {
        name: "ingress_return",
        subject: |_| Subject::Ingress,
        packet: Packet::Return,
        reason: Reason::ReturnDelivered,
        sources: FEW,
        prefixes: &[],
    },
    Kind {
        name: "egress_forward",
        subject: |_| Subject::Egress,
        packet: Packet::TunnelForward,
        reason: Reason::ForwardDelivered,
        sources: FEW,
        prefixes: &[],
    },
    Kind {
        name: "egress_return",
        subject: |_| Subject::Egress,
        packet: Packet::TunnelReturn,
        reason: Reason::ReturnEncapsulated,
        sources: FEW,
        prefixes: &[],
    },
    Kind {
        name: ACCOUNTED,
        subject: |sources| match sources {
            Sources::Number(_) => Subject::Accounted,
            Sources::Fresh => Subject::AccountedFlooded,
        },
        packet: Packet::Forward,
        reason: Reason::ForwardEncapsulated,
        sources: ALL,
        prefixes: &[],
    },
    Kind {
        name: "ingress_drop_limited",
        subject: |_| Subject::Limited,
        packet: Packet::Forward,
        reason: Reason::LimitClientPackets,
        sources: FEW,
        prefixes: &[],
    },
    Kind {
        name: "ingress_drop_blocked",
        subject: |_| Subject::Blocked,
        packet: Packet::Forward,
        reason: Reason::Blocked,
        sources: FEW,
        prefixes: &[],
    },
    Kind {
        name: KERNEL_LRU,
        subject: |sources| match sources {
            Sources::Number(_) => Subject::KernelLru,
            Sources::Fresh => Subject::KernelLruFlooded,
        },
        packet: Packet::Forward,
        reason: Reason::ForwardEncapsulated,
        sources: ALL,
        prefixes: &[],
    },
    Kind {
        name: "list_lookup",
        subject: |_| Subject::Listed,
        packet: Packet::Forward,
        reason: Reason::ForwardEncapsulated,
        sources: REPEATED,
        prefixes: &[0, 1000, 100_000, 1_000_000],
    },
];

/// The name of what is compared.
pub(crate) const ACCOUNTED: &str = "ingress_forward_accounted";
/// The name of the program to compare with.
pub(crate) const KERNEL_LRU: &str = "ingress_forward_kernel_lru";

impl Case {
    /// The program whose cost is taken off.
    pub(crate) fn baseline(&self) -> Baseline {
        match self.reason.action() {
            relay_abi::reason::Action::Drop => Baseline::Drop,
            _ => Baseline::Transmit,
        }
    }
}

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// The cases of all names, or of one, with the sources asked for or with those that each name has.
pub(crate) fn cases(only: Option<&str>, sources: Option<&[Sources]>) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS.iter().filter(|kind| only.is_none_or(|only| only == kind.name)) {
        for &sources in sources.unwrap_or(kind.sources) {
            let case = Case {
                name: kind.name,
                subject: (kind.subject)(sources),
                packet: kind.packet,
                reason: kind.reason,
                sources,
                prefixes: None,
            };
            if kind.prefixes.is_empty() {
                cases.push(case);
            }
            cases.extend(kind.prefixes.iter().map(|&prefixes| {
                // Without any there is no list.
                let subject = if prefixes == 0 { Subject::Ingress } else { case.subject };
                Case { subject, prefixes: Some(prefixes), ..case }
            }));
        }
    }
    cases
}
