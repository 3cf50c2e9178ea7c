//! A second packet path beside the one that runs, on maps of its own: what goes through it is counted, charged and learned nowhere else.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;

use aya::maps::{Array, Map, MapError, PerCpuArray};
use aya::programs::{ProgramError, ProgramInfo, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use bytemuck::Zeroable as _;
use relay_abi::counters::Counters;
use relay_abi::limits::CLIENT_WAYS;
use relay_abi::list::Line;
use relay_abi::{Image, Reason, Tally, Verdict, maps};

use super::{OBJECT, cannot, object, refused, signals, syscall};
use crate::exit::{Exit, Failure};
use crate::pinned::Mapping;

/// Room for what the program makes of a packet.
const OUT_BYTES: usize = 4096;

/// The packet path, on maps that hold nothing yet.
pub struct Rehearsal {
    ebpf: Ebpf,
    program: &'static str,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Where it went.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What else was counted.
    pub tallies: Vec<Tally>,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
}

impl Rehearsal {
    /// Loads a program anew. The tables that are private to it have room for one set.
    pub fn load(program: &'static str) -> Result<Self, Failure> {
        let mut loader = EbpfLoader::new();
        for (map, entries) in small() {
            loader.map_max_entries(map, entries);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| cannot("make the maps of a rehearsal", &error))?;
        let xdp = xdp(&mut ebpf, program)?;
        signals::held(|| xdp.load()).map_err(|error| refused(program, &error))?;
        Ok(Self { ebpf, program })
    }

    /// Whether the program pinned at a path is this one, but for its maps.
    pub fn is_program(&self, pin: &Path) -> Result<bool, Failure> {
        let failed = |error: ProgramError| cannot(&format!("examine the program {}", pin.display()), &error);
        let pinned = ProgramInfo::from_pin(pin).map_err(failed)?;
        let own: &Xdp = self
            .ebpf
            .program(self.program)
            .and_then(|found| found.try_into().ok())
            .ok_or_else(|| object::lacks(self.program))?;
        Ok(own.info().map_err(failed)?.tag() == pinned.tag())
    }

    /// Puts an image in force.
    pub fn publish(&mut self, image: &Image) -> Result<(), Failure> {
        let array = array(maps::GENERATIONS, 1)?;
        syscall::write_element(array.as_fd(), 0, bytemuck::bytes_of(image))
            .map_err(|error| Failure::io("copy the image", &error))?;
        self.put(maps::GENERATIONS, 0, array)
    }

    /// Writes an element of an array.
    pub fn set<V: Pod>(&mut self, map: &str, index: u32, value: V) -> Result<(), Failure> {
        Array::<_, V>::try_from(self.map(map)?)
            .and_then(|mut array| array.set(index, value, 0))
            .map_err(|error| failed("write", map, &error))
    }

    /// Puts a copy of a list into a slot; hits are counted in the copy.
    pub fn put_list(&mut self, slot: u32, list: &[Line]) -> Result<Mapping<Line>, Failure> {
        let array = array(maps::LISTS, list.len())?;
        let copy = Mapping::<Line>::of_array(array.as_fd(), list.len())
            .map_err(|error| Failure::io("copy a list", &error))?;
        for (to, from) in copy.values().iter().zip(list) {
            for (to, from) in to.0.iter().zip(&from.0) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        self.put(maps::LISTS, slot, array)?;
        Ok(copy)
    }

    /// Puts an array into a slot of a map of maps.
    fn put(&mut self, map: &str, slot: u32, array: OwnedFd) -> Result<(), Failure> {
        let Map::ArrayOfMaps(slots) = self.map(map)? else { return Err(object::lacks(map)) };
        syscall::write_element(slots.fd().as_fd(), slot, &array.as_raw_fd().to_ne_bytes())
            .map_err(|error| Failure::io(format!("write the map {map} of a rehearsal"), &error))
    }

    /// Runs the program on a frame that comes in on an interface of this network namespace.
    pub fn run(&mut self, frame: &[u8], ifindex: u32) -> Result<Ran, Failure> {
        let before = self.counters()?;
        let mut out = vec![0; OUT_BYTES];
        let context = context(frame.len(), ifindex);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let length = xdp(&mut self.ebpf, self.program)?
            .test_run(options)
            .map_err(|error| {
                cannot(&format!("run a packet on interface {ifindex}"), &error)
                    .hint("an interface is seen only in its own network namespace: run this in the relay's")
            })?
            .data_size_out as usize;
        out.truncate(length);
        let after = self.counters()?;
        let counted = |verdict: &Verdict, reason: &Reason| {
            after.counter(*verdict, *reason).packets > before.counter(*verdict, *reason).packets
        };
        let end = Verdict::ALL.iter().find_map(|verdict| {
            Reason::ALL.iter().find(|reason| counted(verdict, reason)).map(|reason| (*verdict, *reason))
        });
        let (verdict, reason) = end.ok_or_else(|| {
            Failure::new(Exit::Failed, "the program counted nothing of the packet it was given")
                .hint("please report it")
        })?;
        let tallied = |tally: &&Tally| after.tally(**tally) > before.tally(**tally);
        let tallies = Tally::ALL.iter().filter(tallied).copied().collect();
        Ok(Ran { verdict, reason, tallies, frame: out })
    }

    fn counters(&mut self) -> Result<Box<Counters>, Failure> {
        let mut sum = Box::new(Counters::zeroed());
        let values = PerCpuArray::<_, Counters>::try_from(self.map(maps::COUNTERS)?)
            .and_then(|array| array.get(&0, 0))
            .map_err(|error| failed("read", maps::COUNTERS, &error))?;
        for cpu in values.iter() {
            for (sum, row) in sum.rows.iter_mut().zip(&cpu.rows) {
                sum.packets += row.packets;
            }
            for (sum, tally) in sum.tallies.iter_mut().zip(&cpu.tallies) {
                *sum += tally;
            }
        }
        Ok(sum)
    }

    fn map(&mut self, name: &str) -> Result<&mut Map, Failure> {
        self.ebpf.map_mut(name).ok_or_else(|| object::lacks(name))
    }
}

/// An array for a map of maps.
fn array(map: &str, entries: usize) -> Result<OwnedFd, Failure> {
    let shape = object::Shapes::read(&[])?.inner(map)?;
    u32::try_from(entries)
        .map_err(io::Error::other)
        .and_then(|entries| syscall::create_array("REHEARSAL", shape.value_size, entries, shape.flags))
        .map_err(|error| Failure::io(format!("make an array of {entries} values for the map {map}"), &error))
}

/// Entries of the maps that need not be as large as usual.
fn small() -> [(&'static str, u32); 8] {
    // SAFETY: takes a number and gives one.
    let page = u32::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1 << 16);
    [
        (maps::CLIENTS, 1),
        (maps::CLIENT_DETAILS, CLIENT_WAYS as u32),
        (maps::PREFIXES, 1),
        (maps::FLOWS, 1),
        (maps::FLOW_SPILL, 64),
        (maps::NEIGHBOURS, 1),
        (maps::NEIGHBOUR_MISSES, page),
        (maps::EVENTS, page),
    ]
}

fn xdp<'ebpf>(ebpf: &'ebpf mut Ebpf, program: &str) -> Result<&'ebpf mut Xdp, Failure> {
    ebpf.program_mut(program).and_then(|found| found.try_into().ok()).ok_or_else(|| object::lacks(program))
}

fn failed(attempted: &str, map: &str, error: &MapError) -> Failure {
    cannot(&format!("{attempted} the map {map} of a rehearsal"), error)
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(length: usize, ifindex: u32) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    [0, length, 0, ifindex, 0, 0].iter().flat_map(|field| field.to_ne_bytes()).collect()
}
