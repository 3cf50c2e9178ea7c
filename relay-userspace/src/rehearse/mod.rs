//! What would become of a client's packet now: the packet path itself is asked, on a copy of the state.

mod levels;
mod lists;
mod packet;
mod state;

use std::net::Ipv4Addr;

use relay_abi::{Image, Reason, Tally, Verdict, maps};

pub use levels::Level;
pub use lists::Listed;
pub use packet::Kind;
pub use state::Place;

use crate::events::sent_to;
use crate::exit::Failure;
use crate::jiffies::{Moment, jiffies_per_second};
use crate::load::Rehearsal;
use crate::pinned::Node;
use lists::Copies;
use state::Live;

/// A packet path to ask, and what it is told.
pub struct Stage {
    live: Live,
    lists: Copies,
    image: Box<Image>,
    rehearsal: Rehearsal,
    jiffies_per_second: u32,
    same_program: bool,
}

/// What would become of packets of a client to a service.
#[derive(Debug)]
pub struct Answer {
    /// Whether the client has proved that it receives at its address.
    pub verified: bool,
    /// Whether it is in the client table.
    pub place: Place,
    /// The entry of a list that decides about it.
    pub listed: Option<Listed>,
    /// The limits its packets meet.
    pub levels: Vec<Level>,
    /// What would become of each kind of packet.
    pub packets: Vec<Asked>,
}

/// What would become of a packet.
#[derive(Debug)]
pub struct Asked {
    /// What packet.
    pub kind: Kind,
    /// Where it would go.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What else would be counted.
    pub tallies: Vec<Tally>,
    /// Through which relay to which host, if it would be tunnelled.
    pub sent_to: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl Stage {
    /// Loads the packet path of an ingress relay anew. Needs CAP_BPF and CAP_NET_ADMIN, and the relay's network namespace.
    pub fn open(node: &Node) -> Result<Self, Failure> {
        let image = node.image()?;
        let mut rehearsal = Rehearsal::load(maps::PROGRAM_INGRESS)?;
        let mut copy = image.clone();
        // The tables of the rehearsal have one set.
        (copy.globals.client_mask, copy.globals.prefix_mask) = (0, 0);
        rehearsal.publish(&copy)?;
        let jiffies_per_second =
            jiffies_per_second().map_err(|error| Failure::io("find out the kernel's tick", &error))?;
        let lists = Copies::make(node, &mut rehearsal)?;
        let same_program = rehearsal.is_program(&node.pins().program())?;
        Ok(Self { live: Live::open(node)?, lists, image, rehearsal, jiffies_per_second, same_program })
    }

    /// Whether the relay runs the same program; else it was loaded by another build of xdp-relay.
    #[must_use]
    pub const fn same_program(&self) -> bool {
        self.same_program
    }

    /// Asks about the packets of a client to the service with an index.
    pub fn ask(&mut self, client: Ipv4Addr, service: u8) -> Result<Answer, Failure> {
        let globals = &self.image.globals;
        let row = self.image.services[usize::from(service)];
        let state = self.live.copy(globals, client, service);
        let moment = Moment::now(self.jiffies_per_second, globals.tick_shift);
        let hits = self.lists.hits();
        let mut packets = Vec::new();
        for kind in Kind::of(row.protocol) {
            // Each packet as if it were the only one.
            state.put_into(&mut self.rehearsal)?;
            let frame = kind.frame(client, row.vip.0.into(), row.port.value());
            let ran = self.rehearsal.run(&frame, globals.edge_ifindex)?;
            packets.push(Asked {
                kind: *kind,
                verdict: ran.verdict,
                reason: ran.reason,
                tallies: ran.tallies,
                sent_to: sent_to(&ran.frame),
            });
        }
        Ok(Answer {
            verified: state.verified(),
            place: state.place(),
            listed: self.lists.decided_since(&hits, &moment),
            levels: state.levels(&self.image, moment),
            packets,
        })
    }
}
