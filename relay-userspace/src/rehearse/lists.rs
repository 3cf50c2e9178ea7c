//! Copies of the lists in force, and which of their entries decided.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use ipnet::Ipv4Net;
use relay_abi::list::{Line, slot};
use relay_abi::maps;
use serde::Serialize;

use crate::exit::Failure;
use crate::jiffies::Moment;
use crate::lists::{Kind, entries, pin_in_force};
use crate::load::{Rehearsal, syscall};
use crate::pinned::{Mapping, Node};
use crate::timestamp::Timestamp;

/// The entry of a list that decides about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// `runtime` or `configured`.
    pub list: &'static str,
    /// Its prefix.
    pub prefix: Ipv4Net,
    /// `allowed`, `blocked` or `banned`.
    pub kind: &'static str,
    /// Until when it holds, to a second or so; null: for good.
    pub expires: Option<Timestamp>,
}

/// The lists of a rehearsal, by slot.
pub(super) struct Copies([Option<Mapping<Line>>; slot::COUNT]);

impl Copies {
    /// Copies the lists in force.
    pub(super) fn make(node: &Node, rehearsal: &mut Rehearsal) -> Result<Self, Failure> {
        let pin = node.pins().map(maps::LISTS);
        let lists = syscall::open_read_only(&pin)
            .map_err(|error| Failure::io(format!("open the pinned map {}", pin.display()), &error))?;
        let mut copies = [const { None }; slot::COUNT];
        for (slot, copy) in (0..).zip(&mut copies) {
            if let Some(pin) = pin_in_force(lists.as_fd(), node.pins(), slot) {
                *copy = Some(rehearsal.put_list(slot, Mapping::read(&pin)?.values())?);
            }
        }
        Ok(Self(copies))
    }

    /// How often each entry has decided.
    pub(super) fn hits(&self) -> [Vec<u64>; slot::COUNT] {
        self.0.each_ref().map(|copy| {
            let lines = copy.as_ref().map(Mapping::values).unwrap_or_default();
            entries(lines).map(|entry| entry.hits()).collect()
        })
    }

    /// The entry that has decided since.
    pub(super) fn decided_since(&self, before: &[Vec<u64>; slot::COUNT], now: &Moment) -> Option<Listed> {
        (0..).zip(self.0.iter().zip(before)).find_map(|(slot, (copy, before))| {
            let lines = copy.as_ref().map(Mapping::values).unwrap_or_default();
            let (entry, _) = entries(lines).zip(before).find(|(entry, before)| entry.hits() != **before)?;
            Some(Listed {
                list: if slot == slot::RUNTIME { "runtime" } else { "configured" },
                prefix: Ipv4Net::new(Ipv4Addr::from_bits(entry.prefix.address), entry.prefix.length).ok()?,
                kind: match entry.kind {
                    Kind::Allowed => "allowed",
                    Kind::Blocked => "blocked",
                    Kind::Banned => "banned",
                },
                expires: (entry.expires != 0).then(|| Timestamp(now.begins(entry.expires))),
            })
        })
    }
}
