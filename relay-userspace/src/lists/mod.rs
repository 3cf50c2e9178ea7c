//! Lists of prefixes: blocked, allowed, banned. From files and rules to what the packet path reads, and back to hits.
//!
//! There are two, each replaced as a whole: what the configuration and its files say, and what was added at run time. The packet path asks
//! the latter first.

mod batch;
pub mod compiled;
mod files;
pub mod parse;
mod publish;
mod view;

use std::time::SystemTime;

use relay_abi::list::{self, Prefix, kind, slot};

use crate::exit::{Exit, Failure};
use crate::jiffies::Moment;
use crate::pins::Pins;

pub use batch::{Batch, Note, Origin, Rule};
use compiled::{Compiled, Item, TooLong, compile};
pub use files::read;
use publish::InForce;
pub use publish::{Publisher, pin_in_force};
pub use view::{Entry, entries};

/// Ticks ahead that the packet path can tell from ticks ago: 68 years. What lasts longer, lasts.
const HORIZON: u64 = 1 << 31;

/// What a rule says of the clients of its prefix, from what counts most at equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Never limited, never banned by the relay on its own.
    Allowed,
    /// Dropped: an administrator says so.
    Blocked,
    /// Dropped: the relay says so, for they stayed over their limit.
    Banned,
}

impl Kind {
    /// As the packet path knows it: one of [`relay_abi::list::kind`].
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Allowed => kind::ALLOWED,
            Self::Blocked => kind::BLOCKED,
            Self::Banned => kind::BANNED,
        }
    }

    /// From the packet path.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            kind::ALLOWED => Some(Self::Allowed),
            kind::BLOCKED => Some(Self::Blocked),
            kind::BANNED => Some(Self::Banned),
            _ => None,
        }
    }
}

/// The lists in force.
#[derive(Debug)]
pub struct Lists {
    publisher: Publisher,
    runtime: List,
    configured: List,
}

/// What was put in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rules in force.
    pub rules: usize,
    /// Rules left out because they had expired.
    pub expired: usize,
    /// Kernel memory they take, as the kernel tells it. Of a relay without CAP_PERFMON it rounds the array up to a power of two.
    pub bytes: u64,
}

#[derive(Debug)]
struct List {
    slot: u32,
    batch: Batch,
    /// The number of the rule of each entry.
    owners: Vec<u32>,
    in_force: Option<InForce>,
}

impl Lists {
    /// Opens what the slots of `LISTS` hold; the rules of it are known once they are set again.
    #[must_use]
    pub fn open(publisher: Publisher, pins: &Pins) -> Self {
        let open = |slot| List {
            slot,
            batch: Batch::default(),
            owners: Vec::new(),
            in_force: publisher.in_force(pins, slot),
        };
        Self { runtime: open(slot::RUNTIME), configured: open(slot::CONFIGURED), publisher }
    }

    /// Puts what the configuration lists in force, as [`read`] it.
    pub fn set_configured(&mut self, pins: &Pins, now: Moment, batch: Batch) -> Result<Loaded, Failure> {
        self.configured.set(&self.publisher, pins, now, batch)
    }

    /// Puts what was added at run time in force. Where that fails, what was in force before still is.
    pub fn set_runtime(&mut self, pins: &Pins, now: Moment, rules: &[Rule]) -> Result<Loaded, Failure> {
        self.runtime.set(&self.publisher, pins, now, Batch::of(rules))
    }

    /// The rules in force, those of run time first, each with the packets it has decided about.
    pub fn rules_with_hits(&self) -> impl Iterator<Item = (Rule, u64)> {
        self.runtime().chain(self.configured()).filter_map(|held| Some((held.rule()?, held.hits)))
    }

    /// The rules in force that were added at run time.
    pub fn runtime(&self) -> impl Iterator<Item = Held<'_>> {
        self.runtime.held()
    }

    /// The rules in force that the configuration or its files have.
    pub fn configured(&self) -> impl Iterator<Item = Held<'_>> {
        self.configured.held()
    }

    /// What is in force of run time, and of the configuration.
    #[must_use]
    pub fn loaded(&self) -> [Loaded; slot::COUNT] {
        [self.runtime.loaded(), self.configured.loaded()]
    }
}

impl List {
    fn set(
        &mut self,
        publisher: &Publisher,
        pins: &Pins,
        now: Moment,
        batch: Batch,
    ) -> Result<Loaded, Failure> {
        let (compiled, owners) = compile_at(&batch, now)?;
        self.in_force = publisher.publish(pins, self.slot, &compiled, self.in_force.as_ref())?;
        (self.batch, self.owners) = (batch, owners);
        Ok(self.loaded())
    }

    fn loaded(&self) -> Loaded {
        Loaded {
            rules: self.owners.len(),
            expired: self.batch.len() - self.owners.len(),
            bytes: self.in_force.as_ref().map_or(0, |list| list.bytes),
        }
    }

    fn held(&self) -> impl Iterator<Item = Held<'_>> {
        let lines = self.in_force.as_ref().map(|list| list.lines.values()).unwrap_or_default();
        let held = |(number, entry): (&u32, Entry<'_>)| Held {
            batch: &self.batch,
            number: *number,
            prefix: entry.prefix,
            kind: entry.kind,
            hits: entry.hits(),
        };
        self.owners.iter().zip(entries(lines)).map(held)
    }
}

/// A rule in force, at little cost: there may be a million.
#[derive(Clone, Copy, Debug)]
pub struct Held<'lists> {
    batch: &'lists Batch,
    number: u32,
    /// Whom it is about.
    pub prefix: Prefix,
    /// What it says.
    pub kind: Kind,
    /// Packets it has decided about.
    pub hits: u64,
}

impl Held<'_> {
    /// Whether it is from a file.
    #[must_use]
    pub fn is_from_file(&self) -> bool {
        self.batch.is_from_file(self.number)
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        self.batch.rule(self.number)
    }
}

/// Compiles the rules that have not expired; and for each entry the number of its rule.
fn compile_at(batch: &Batch, now: Moment) -> Result<(Compiled, Vec<u32>), Failure> {
    let mut items = Vec::with_capacity(batch.len());
    let mut numbers = Vec::with_capacity(batch.len());
    for (number, (prefix, kind, expires)) in (0_u32..).zip(batch.brief()) {
        if let Some(expires) = still(now, expires) {
            items.push(Item { prefix, kind, expires });
            numbers.push(number);
        }
    }
    let compiled = compile(&items).map_err(|TooLong(rules)| {
        let most = list::ENTRIES;
        Failure::new(
            Exit::ConfigInvalid,
            format!("the lists have {rules} prefixes, at most {most} are possible"),
        )
        .hint("leave a list out, or join neighbouring prefixes")
    })?;
    let owners = compiled.order.iter().filter_map(|item| numbers.get(*item as usize)).copied().collect();
    Ok((compiled, owners))
}

/// The tick from which a rule no longer holds; `None` if it holds no more.
fn still(now: Moment, expires: Option<SystemTime>) -> Option<Option<u64>> {
    match expires {
        None => Some(None),
        Some(end) if end <= now.time => None,
        Some(end) => Some(Some(now.tick_from(end)).filter(|tick| *tick < now.tick() + HORIZON)),
    }
}
