//! The programs measured, loaded when a case first asks for them, and brought into the state that the case is about.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use anyhow::Result;
use aya::programs::ProgramFd;
use relay_abi::Reason;
use relay_tests::drive::kernel_lru::KernelLru;
use relay_tests::drive::lists::{Blocklist, of_sources, unlisting};
use relay_tests::drive::{Driver, Order, Packet, Relay, Stage};

use crate::case::{Case, Sources, Subject};

/// All that were needed so far.
pub(crate) struct Subjects {
    stage: Stage,
    loaded: HashMap<Subject, Loaded>,
    /// What has been filled, and by what.
    warm: HashSet<(Subject, Sources)>,
    /// Lists, by what they hold.
    lists: HashMap<Listed, Blocklist>,
}

/// What a list of blocked clients holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Listed {
    /// So many prefixes without a source in them.
    Others(usize),
    /// So many sources, and a thousand others.
    Sources(u32),
}

enum Loaded {
    Relay(Relay),
    KernelLru(KernelLru),
}

impl Subjects {
    pub(crate) fn new(stage: &Stage) -> Self {
        Self { stage: *stage, loaded: HashMap::new(), warm: HashSet::new(), lists: HashMap::new() }
    }

    /// Sees to it that the case finds the tables as it wants them; the program to measure.
    pub(crate) fn prepare(&mut self, case: &Case, driver: &mut Driver) -> Result<ProgramFd> {
        if !self.loaded.contains_key(&case.subject) {
            let loaded = load(case.subject, &self.stage)?;
            self.loaded.insert(case.subject, loaded);
        }
        let program = match self.loaded.get_mut(&case.subject) {
            Some(Loaded::Relay(relay)) => relay.program()?,
            Some(Loaded::KernelLru(lru)) => lru.program()?,
            None => anyhow::bail!("{} is not loaded", case.name),
        };
        if let (Some(Loaded::Relay(relay)), Some(listed)) = (self.loaded.get_mut(&case.subject), listed(case))
        {
            let list = match self.lists.entry(listed) {
                Entry::Occupied(list) => list.into_mut(),
                Entry::Vacant(free) => free.insert(listed.compile()?),
            };
            relay.block(list)?;
        }
        // Clients over their limits have to be so each time.
        if self.warm.insert((case.subject, case.sources)) || case.subject == Subject::Limited {
            warm_up(case, driver, &program)?;
        }
        Ok(program)
    }

    /// Packets that ended as the case wants it, so far.
    pub(crate) fn ended(&mut self, case: &Case) -> Result<u64> {
        match self.loaded.get_mut(&case.subject) {
            Some(Loaded::Relay(relay)) => Ok(relay.ended(case.reason)?.packets),
            Some(Loaded::KernelLru(lru)) if case.reason == Reason::ForwardEncapsulated => lru.forwarded(),
            _ => Ok(0),
        }
    }
}

/// What is on the list in the case, if that is not empty.
fn listed(case: &Case) -> Option<Listed> {
    match (case.subject, case.prefixes, case.sources) {
        (Subject::Listed, Some(prefixes), _) => Some(Listed::Others(prefixes)),
        (Subject::Blocked, None, Sources::Number(sources)) => Some(Listed::Sources(sources)),
        (Subject::Accounted | Subject::AccountedFlooded, None, _) => Some(Listed::Others(BLOCKED)),
        _ => None,
    }
}

impl Listed {
    fn compile(self) -> Result<Blocklist> {
        let mut prefixes = match self {
            Self::Others(prefixes) => return Blocklist::of(&unlisting(prefixes)),
            Self::Sources(sources) => of_sources(sources),
        };
        prefixes.extend(unlisting(BLOCKED));
        Blocklist::of(&prefixes)
    }
}

fn load(subject: Subject, stage: &Stage) -> Result<Loaded> {
    Ok(match subject {
        Subject::Ingress => Loaded::Relay(Relay::ingress(stage, "")?),
        Subject::Accounted | Subject::AccountedFlooded => Loaded::Relay(Relay::ingress(stage, &wide())?),
        Subject::Blocked | Subject::Listed => Loaded::Relay(Relay::ingress(stage, "")?),
        Subject::Limited => Loaded::Relay(Relay::ingress(stage, NARROW)?),
        Subject::Egress => Loaded::Relay(Relay::egress(stage)?),
        Subject::KernelLru | Subject::KernelLruFlooded => {
            Loaded::KernelLru(KernelLru::load(stage, RATE, &unlisting(BLOCKED))?)
        }
    })
}

/// Lets every source send once, or fills the tables with fresh ones: measured is what goes on, not how it began.
fn warm_up(case: &Case, driver: &mut Driver, program: &ProgramFd) -> Result<()> {
    let (order, packets) = match case.sources {
        Sources::Number(sources) => (Order::InTurn(sources), sources),
        Sources::Fresh => (Order::Fresh, FLOOD),
    };
    // What comes back needs the flow that went there.
    let packet = if case.packet == Packet::TunnelReturn { Packet::TunnelForward } else { case.packet };
    driver.run(program, packet, order, packets).map(drop)
}

/// Limits of clients, so high that none bites.
pub(crate) fn wide() -> String {
    format!(
        "[limits]\nclient_packets = {RATE}\nclient_bytes = {}\nclient_connections = {RATE}\n",
        RATE * 1000
    )
}

/// A limit that is used up by one packet, for a second.
const NARROW: &str = "[limits]\nburst = \"20ms\"\nclient_packets = 1\n";
/// Packets a second that a client may send: more than come.
const RATE: u64 = 16_000_000;
/// Prefixes on the list of blocked clients.
const BLOCKED: usize = 1000;
/// Fresh sources that fill every table: twice as many as it has places.
const FLOOD: u32 = 1 << 22;
