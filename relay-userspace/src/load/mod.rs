//! Bringing the data plane up: maps, program, links, and their pins.
//!
//! The order, and what a crash after each step leaves:
//!
//! 1. New maps are made, `META` and the first image written.
//! 2. The maps are pinned, `META` last: until then the directory holds pins that nothing uses (the image's array is the
//!    first), and the next start removes them; from then on the next start adopts the maps.
//! 3. Adopted maps get their new image now: the program that is still running reads it like any other generation.
//! 4. The program is loaded and put in place, interface after interface: an existing link is updated, so that no packet
//!    passes without a program; a new link is pinned at once. After a crash in between, one interface runs the new
//!    program and the other one the old program or none, on the same maps; the next start updates or attaches both.
//! 5. The program is pinned, for tools; it replaces the old pin in one step.
//! 6. Links of interfaces that the configuration no longer names are removed. After a crash before this, they still
//!    work, on the new image; the next start removes them.
//!
//! So a packet never meets a program whose maps are empty, and every state is one that the next start mends.

mod adopt;
mod attach;
mod object;
mod rehearsal;
mod signals;
pub(crate) mod syscall;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, RingBuf};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use relay_abi::maps;
use relay_abi::meta::{ABI_VERSION, MAGIC, Meta};
use relay_abi::neighbour::{Neighbour, NeighbourKey};

use crate::exit::{Exit, Failure};
use crate::lists::{self, Lists};
use crate::pins::{self, Pins};
use crate::publish::Publisher;

pub use adopt::{Adopted, Found, image_in_force};
pub(crate) use attach::refuse_foreign;
pub use attach::{Attachment, Present, Wanted, detach_all};
pub use object::OBJECT;
pub use rehearsal::{Ran, Rehearsal};

/// What the data plane is to be, as far as it cannot change while the maps live.
#[derive(Clone, Debug)]
pub struct Kind {
    /// One of [`relay_abi::meta::ROLE_INGRESS`], [`relay_abi::meta::ROLE_EGRESS`].
    pub role: u32,
    /// Name of the program in the object.
    pub program: &'static str,
    /// Entries of the maps whose size the configuration decides; the others have the size of the object.
    pub sizes: Vec<(&'static str, u32)>,
}

/// The maps, new or adopted.
pub struct Maps {
    ebpf: Ebpf,
    /// Writes generations.
    pub publisher: Publisher,
    /// Last known ways to clients.
    pub neighbours: HashMap<MapData, NeighbourKey, Neighbour>,
    /// Next hops whose link-layer address the packet path misses.
    pub misses: RingBuf<MapData>,
    /// Samples of dropped packets.
    pub events: RingBuf<MapData>,
}

/// A loaded program and where it is attached.
pub struct Program {
    ebpf: Ebpf,
    name: &'static str,
    attached: BTreeMap<String, Attachment>,
}

/// Looks what is pinned, before anything is changed.
pub fn examine(pins: &Pins, kind: &Kind) -> Result<Found, Failure> {
    adopt::examine(pins, kind.role, &object::Shapes::read(&kind.sizes)?)
}

impl Maps {
    /// Makes new maps, not pinned yet.
    pub fn create(kind: &Kind, table_seed: u64) -> Result<Self, Failure> {
        let mut loader = EbpfLoader::new();
        size_maps(&mut loader, kind);
        let mut ebpf = loader.load(OBJECT).map_err(|error| cannot("make the maps", &error))?;
        let meta = Meta {
            magic: MAGIC,
            abi_version: ABI_VERSION,
            role: kind.role,
            table_seed,
            created_seconds: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since_1970| since_1970.as_secs()),
        };
        let map = ebpf.map_mut(maps::META).ok_or_else(|| object::lacks(maps::META))?;
        Array::<_, Meta>::try_from(map)
            .and_then(|mut array| array.set(0, meta, 0))
            .map_err(|error| cannot("write the map META", &error))?;
        Self::open(ebpf, kind)
    }

    /// Opens the pinned maps.
    pub fn adopt(pins: &Pins, kind: &Kind) -> Result<Self, Failure> {
        let mut loader = EbpfLoader::new();
        size_maps(&mut loader, kind);
        for name in maps::ALL {
            loader.map_pin_path(name, pins.map(name));
        }
        let ebpf = loader.load(OBJECT).map_err(|error| cannot("open the pinned maps", &error))?;
        Self::open(ebpf, kind)
    }

    fn open(mut ebpf: Ebpf, kind: &Kind) -> Result<Self, Failure> {
        let image_flags = object::Shapes::read(&kind.sizes)?.inner(maps::GENERATIONS)?.flags;
        let generations = ArrayOfMaps::try_from(duplicate(&mut ebpf, maps::GENERATIONS)?)
            .map_err(|error| cannot("open the map GENERATIONS", &error))?;
        let neighbours = HashMap::try_from(duplicate(&mut ebpf, maps::NEIGHBOURS)?)
            .map_err(|error| cannot("open the map NEIGHBOURS", &error))?;
        let misses = RingBuf::try_from(duplicate(&mut ebpf, maps::NEIGHBOUR_MISSES)?)
            .map_err(|error| cannot("open the map NEIGHBOUR_MISSES", &error))?;
        let events = RingBuf::try_from(duplicate(&mut ebpf, maps::EVENTS)?)
            .map_err(|error| cannot("open the map EVENTS", &error))?;
        Ok(Self { ebpf, publisher: Publisher::new(generations, image_flags), neighbours, misses, events })
    }

    /// The lists in force.
    pub fn lists(&mut self, pins: &Pins) -> Result<Lists, Failure> {
        let Map::ArrayOfMaps(lists) = duplicate(&mut self.ebpf, maps::LISTS)? else {
            return Err(object::lacks(maps::LISTS));
        };
        let flags = object::Shapes::read(&[])?.inner(maps::LISTS)?.flags;
        Ok(Lists::open(lists::Publisher::new(lists, flags), pins))
    }

    /// Pins new maps; the last one makes the set complete.
    pub fn pin(&self, pins: &Pins) -> Result<(), Failure> {
        let last = [maps::META];
        for name in maps::ALL.iter().filter(|name| !last.contains(name)).chain(&last) {
            let map = self.ebpf.map(name).ok_or_else(|| object::lacks(name))?;
            map.pin(pins.map(name)).map_err(|error| cannot(&format!("pin the map {name}"), &error))?;
        }
        Ok(())
    }

    /// Loads the program onto the maps, and leaves the maps that user space goes on using.
    pub fn load(self, kind: &Kind) -> Result<(Program, Served), Failure> {
        let Self { mut ebpf, publisher, neighbours, misses, events } = self;
        let program: &mut Xdp = ebpf
            .program_mut(kind.program)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| object::lacks(kind.program))?;
        signals::held(|| program.load()).map_err(|error| refused(kind.program, &error))?;
        let program = Program { ebpf, name: kind.program, attached: BTreeMap::new() };
        Ok((program, Served { publisher, neighbours, misses, events }))
    }
}

/// The maps that user space writes and reads while it serves.
pub struct Served {
    /// Writes generations.
    pub publisher: Publisher,
    /// Last known ways to clients.
    pub neighbours: HashMap<MapData, NeighbourKey, Neighbour>,
    /// Next hops whose link-layer address the packet path misses.
    pub misses: RingBuf<MapData>,
    /// Samples of dropped packets.
    pub events: RingBuf<MapData>,
}

impl Program {
    /// Pins the program over the pin of its predecessor.
    pub fn pin(&self, pins: &Pins) -> Result<(), Failure> {
        let next = Pins::next(&pins.program());
        pins::remove(&next)?;
        syscall::pin(self.fd()?, &next).map_err(|error| Failure::io("pin the program", &error))?;
        fs::rename(&next, pins.program()).map_err(|error| Failure::io("pin the program", &error))
    }

    fn fd(&self) -> Result<BorrowedFd<'_>, Failure> {
        let program: &Xdp = self
            .ebpf
            .program(self.name)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| object::lacks(self.name))?;
        Ok(program.fd().map_err(|error| cannot("use the program", &error))?.as_fd())
    }
}

fn size_maps(loader: &mut EbpfLoader<'_>, kind: &Kind) {
    for (map, entries) in &kind.sizes {
        loader.map_max_entries(map, *entries);
    }
}

/// A second handle of a map; the first one stays with the loader, for pinning.
fn duplicate(ebpf: &mut Ebpf, name: &str) -> Result<Map, Failure> {
    let map = ebpf.map(name).ok_or_else(|| object::lacks(name))?;
    let (Map::ArrayOfMaps(data) | Map::HashMap(data) | Map::RingBuf(data)) = map else {
        return Err(object::lacks(name));
    };
    let copy = data
        .fd()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| Failure::io(format!("open the map {name}"), &error))?;
    let copy = MapData::from_fd(copy).map_err(|error| cannot(&format!("open the map {name}"), &error))?;
    Ok(match map {
        Map::ArrayOfMaps(_) => Map::ArrayOfMaps(copy),
        Map::HashMap(_) => Map::HashMap(copy),
        _ => Map::RingBuf(copy),
    })
}

/// An error of the loader; one that the kernel gave for lack of a capability says so.
fn cannot(attempted: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    let mut denied = is_denied(error);
    while let Some(cause) = source {
        denied |= is_denied(cause);
        let text = cause.to_string();
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    let message = format!("cannot {attempted}: {}", causes.join(": "));
    if denied {
        Failure::new(Exit::Permission, message).hint("CAP_BPF and CAP_NET_ADMIN are needed, and sufficient")
    } else {
        Failure::new(Exit::Failed, message)
    }
}

fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Why the kernel did not load the program.
fn refused(program: &str, error: &ProgramError) -> Failure {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return cannot(&format!("load the program {program}"), error);
    };
    let log = verifier_log.to_string();
    tracing::debug!("verifier log of program {program}:\n{log}");
    let failure = cannot(&format!("load the program {program}"), io_error);
    match verdict(&log) {
        // What it only accepts of loaders that it trusts.
        Some(why) if why.ends_with("prohibited for !root") => {
            Failure::new(Exit::Permission, format!("{}: the verifier says: {why}", failure.message))
                .hint("give it CAP_PERFMON as well; it is dropped once the program is loaded")
        }
        // Other refusals are a defect of ours, not a missing permission, whatever their error code.
        Some(why) => Failure::new(Exit::Failed, format!("{}: the verifier says: {why}", failure.message))
            .hint("please report it, with the output of `--log-level debug` and `uname -r`"),
        None => failure,
    }
}

/// What the verifier objects to: the last line of its log before the statistics.
fn verdict(log: &str) -> Option<&str> {
    log.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("verification time") && !line.starts_with("processed "))
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_line_before_the_statistics() {
        let log = "0: R1=ctx()\n334: (0f) r8 += r5\nR5 has pointer with unsupported alu operation\n\
                   verification time 10 usec\nstack depth 16\nprocessed 229 insns\n";
        assert_eq!(verdict(log), Some("R5 has pointer with unsupported alu operation"));
        assert_eq!(verdict(""), None);
    }
}
