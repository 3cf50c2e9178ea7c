//! Many rules in little memory: a million prefixes of a file have neither a reason nor an end of their own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::Ipv4Net;
use relay_abi::list::Prefix;

use super::Kind;

/// A rule about the clients of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Without host bits.
    pub prefix: Ipv4Net,
    /// What it says.
    pub kind: Kind,
    /// Why.
    pub reason: Option<String>,
    /// From when on it no longer holds.
    pub expires: Option<SystemTime>,
    /// Where it is from.
    pub origin: Origin,
}

/// Where a rule is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration itself.
    Configuration,
    /// A file that the configuration names.
    File(Arc<Path>),
    /// An administrator, or the relay itself, at run time.
    Runtime,
}

/// What few rules have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Why.
    pub reason: Option<String>,
    /// From when on it no longer holds.
    pub expires: Option<SystemTime>,
}

/// Rules, later ones winning over earlier ones of the same prefix and kind.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    places: Vec<Place>,
    notes: BTreeMap<u32, Note>,
    origins: Vec<Origin>,
}

/// What every rule has.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: u32,
    length: u8,
    kind: Kind,
    origin: u16,
}

impl Batch {
    /// Rules as they are.
    #[must_use]
    pub fn of(rules: &[Rule]) -> Self {
        let mut batch = Self::default();
        for rule in rules {
            let note = Note { reason: rule.reason.clone(), expires: rule.expires };
            let origin = batch.origin(rule.origin.clone());
            batch.add(rule.prefix, rule.kind, origin, note);
        }
        batch
    }

    /// A number for an origin, to add rules by.
    pub fn origin(&mut self, origin: Origin) -> u16 {
        let known = self.origins.iter().position(|known| *known == origin);
        let number = known.unwrap_or_else(|| {
            self.origins.push(origin);
            self.origins.len() - 1
        });
        number as u16
    }

    /// Adds a rule.
    pub fn add(&mut self, prefix: Ipv4Net, kind: Kind, origin: u16, note: Note) {
        if note != Note::default() {
            self.notes.insert(self.places.len() as u32, note);
        }
        let (address, length) = (prefix.network().to_bits(), prefix.prefix_len());
        self.places.push(Place { address, length, kind, origin });
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = Rule> {
        (0..self.len() as u32).filter_map(|number| self.rule(number))
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<Rule> {
        let place = self.places.get(number as usize)?;
        let note = self.notes.get(&number).cloned().unwrap_or_default();
        Some(Rule {
            prefix: Ipv4Net::new(Ipv4Addr::from_bits(place.address), place.length).ok()?,
            kind: place.kind,
            reason: note.reason,
            expires: note.expires,
            origin: self.origins.get(usize::from(place.origin))?.clone(),
        })
    }

    /// Whether a rule is from a file.
    #[must_use]
    pub fn is_from_file(&self, number: u32) -> bool {
        let place = self.places.get(number as usize);
        let origin = place.and_then(|place| self.origins.get(usize::from(place.origin)));
        matches!(origin, Some(Origin::File(_)))
    }

    /// Prefix, kind and end of each rule, in order.
    pub fn brief(&self) -> impl Iterator<Item = (Prefix, Kind, Option<SystemTime>)> {
        self.places.iter().zip(0_u32..).map(|(place, number)| {
            let expires = self.notes.get(&number).and_then(|note| note.expires);
            (Prefix { address: place.address, length: place.length }, place.kind, expires)
        })
    }
}
