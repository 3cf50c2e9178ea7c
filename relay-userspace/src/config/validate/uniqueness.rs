//! What may be said only once: names, addresses by use, VIP and port, backend and port.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::Ipv4Addr;

use super::rules;
use crate::config::document::{At, Reader};
use crate::config::problem::{Class, Problem, Span, excerpt};
use crate::config::valid::{Port, Protocol};

/// Values that must differ.
pub(super) struct Once<K> {
    seen: HashMap<K, Span>,
    rule: &'static str,
}

impl<K: Eq + Hash> Once<K> {
    pub(super) fn new(rule: &'static str) -> Self {
        Self { seen: HashMap::new(), rule }
    }

    /// Notes a value; reports it if it was there before.
    pub(super) fn claim(&mut self, reader: &mut Reader<'_>, path: &str, span: &Span, key: K, message: &str) {
        match self.seen.get(&key) {
            Some(first) => report(reader, path, span, first, message, self.rule),
            None => {
                self.seen.insert(key, span.clone());
            }
        }
    }
}

/// Reports values that a list has twice; gives the list without them.
pub(super) fn distinct<T: Eq + Hash + Clone>(
    reader: &mut Reader<'_>,
    path: &str,
    list: &[At<T>],
) -> Vec<At<T>> {
    let mut seen: HashMap<&T, &Span> = HashMap::new();
    let mut kept = Vec::with_capacity(list.len());
    for (index, element) in list.iter().enumerate() {
        match seen.get(&element.value) {
            Some(first) => report(
                reader,
                &format!("{path}[{index}]"),
                &element.span,
                first,
                "is in the list twice",
                rules::LISTS,
            ),
            None => {
                seen.insert(&element.value, &element.span);
                kept.push(element.clone());
            }
        }
    }
    kept
}

/// What an address is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    TunnelLocal,
    Peer,
    Vip,
    Backend,
}

impl Use {
    fn label(self) -> &'static str {
        match self {
            Self::TunnelLocal => "`tunnel.local`",
            Self::Peer => "a peer",
            Self::Vip => "a VIP",
            Self::Backend => "a backend",
        }
    }

    /// Whether several places may use one address so.
    fn shared(self) -> bool {
        matches!(self, Self::Vip | Self::Backend)
    }
}

/// Every address of the file, with its first use.
#[derive(Default)]
pub(super) struct Addresses {
    uses: HashMap<Ipv4Addr, (Use, Span)>,
}

impl Addresses {
    /// Notes a use of an address; reports it if the address has another use.
    pub(super) fn claim(&mut self, reader: &mut Reader<'_>, path: &str, at: &At<Ipv4Addr>, use_: Use) {
        match self.uses.get(&at.value) {
            Some((first, _)) if *first == use_ && use_.shared() => {}
            Some((first, span)) => {
                let message = format!("this address is already {}", first.label());
                report(reader, path, &at.span, span, &message, rules::ONE_USE);
            }
            None => {
                self.uses.insert(at.value, (use_, at.span.clone()));
            }
        }
    }
}

/// Backend endpoints that packets are addressed to.
#[derive(Default)]
pub(super) struct Endpoints {
    numbered: HashMap<(Ipv4Addr, Protocol, u16), Span>,
    any: HashMap<(Ipv4Addr, Protocol), Span>,
    /// First endpoint with a number, for a later "any".
    some: HashMap<(Ipv4Addr, Protocol), Span>,
}

impl Endpoints {
    /// Notes an endpoint; reports it if its packets could be another's.
    pub(super) fn claim(
        &mut self,
        reader: &mut Reader<'_>,
        path: &str,
        span: &Span,
        (address, protocol, port): (Ipv4Addr, Protocol, Port),
    ) {
        let host = (address, protocol);
        let first = match port {
            Port::Any => self.any.get(&host).or_else(|| self.some.get(&host)),
            Port::Number(number) => {
                self.numbered.get(&(address, protocol, number)).or_else(|| self.any.get(&host))
            }
        };
        if let Some(first) = first {
            let message = "another backend has this address and port";
            report(reader, path, span, first, message, rules::ENDPOINTS);
            return;
        }
        match port {
            Port::Any => {
                self.any.insert(host, span.clone());
            }
            Port::Number(number) => {
                self.numbered.insert((address, protocol, number), span.clone());
                self.some.entry(host).or_insert_with(|| span.clone());
            }
        }
    }
}

fn report(reader: &mut Reader<'_>, path: &str, span: &Span, first: &Span, message: &str, rule: &str) {
    let problem = Problem::new(Class::Context, span, path, message)
        .value(excerpt(reader.text, span))
        .allowed(rule)
        .related(first, "first here");
    reader.report(problem);
}
