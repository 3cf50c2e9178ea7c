//! Putting lists in force: the one way to change them.
//!
//! As with images, see [`crate::publish`]: a list is written into an array of its own, that array is pinned beside the maps under a name
//! for the next one, put into its slot of `LISTS`, and then takes the place of the old pin. After a crash in between, what the slot holds
//! is pinned under one name or the other, which the array's number tells; the next list takes the place of both.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use aya::maps::MapData;
use relay_abi::list::Line;

use super::compiled::Compiled;
use super::view;
use crate::exit::Failure;
use crate::load::syscall;
use crate::pinned::{Mapping, ReadOnlyMap};
use crate::pins::{self, Pins};

/// Writes lists.
#[derive(Debug)]
pub struct Publisher {
    lists: MapData,
    flags: u32,
}

/// A list in force.
#[derive(Debug)]
pub struct InForce {
    /// Its lines; the packet path counts hits in them.
    pub lines: Mapping<Line>,
    /// Kernel memory it takes.
    pub bytes: u64,
}

impl Publisher {
    /// Takes the map `LISTS`, whose inner arrays have these flags.
    pub(crate) const fn new(lists: MapData, flags: u32) -> Self {
        Self { lists, flags }
    }

    /// The list in a slot, if there is one and it is pinned.
    #[must_use]
    pub fn in_force(&self, pins: &Pins, slot: u32) -> Option<InForce> {
        open(&pin_in_force(self.lists.fd().as_fd(), pins, slot)?).ok()
    }

    /// Puts a list into a slot, in place of `old`, whose hits go to the rules that both have. An empty one leaves the slot empty.
    pub fn publish(
        &self,
        pins: &Pins,
        slot: u32,
        list: &Compiled,
        old: Option<&InForce>,
    ) -> Result<Option<InForce>, Failure> {
        let pin = pins.list(slot);
        let next = Pins::next(&pin);
        let failed =
            |error: &io::Error| Failure::io(format!("put a list in force at {}", pin.display()), error);
        pins::remove(&next)?;
        if list.order.is_empty() {
            syscall::delete_element(self.lists.fd().as_fd(), slot).map_err(|error| failed(&error))?;
            pins::remove(&pin)?;
            return Ok(None);
        }
        let array = self.array(list, &next).map_err(|error| failed(&error))?;
        let new = open(&next)?;
        for (line, words) in new.lines.values().iter().zip(list.lines()) {
            for (place, word) in line.0.iter().zip(words) {
                place.store(*word, Relaxed);
            }
        }
        let descriptor = array.as_raw_fd().to_ne_bytes();
        syscall::write_element(self.lists.fd().as_fd(), slot, &descriptor).map_err(|error| failed(&error))?;
        // Only now does nobody count in the old one any more.
        if let Some(old) = old {
            view::carry_over(old.lines.values(), new.lines.values());
        }
        pins::rename(&next, &pin)?;
        Ok(Some(new))
    }

    fn array(&self, list: &Compiled, pin: &Path) -> io::Result<OwnedFd> {
        let entries = u32::try_from(list.lines().len()).map_err(io::Error::other)?;
        let array = syscall::create_array("LIST", size_of::<Line>() as u32, entries, self.flags)?;
        syscall::pin(array.as_fd(), pin)?;
        Ok(array)
    }
}

/// The pin of the list that a slot of the map `LISTS` holds, if there is one.
#[must_use]
pub fn pin_in_force(lists: BorrowedFd<'_>, pins: &Pins, slot: u32) -> Option<PathBuf> {
    let mut id = 0_u32;
    syscall::read_element(lists, slot, bytemuck::bytes_of_mut(&mut id)).ok()?;
    let pin = pins.list(slot);
    [Pins::next(&pin), pin].into_iter().find(|pin| {
        let info = syscall::open(pin).and_then(|array| syscall::map_info(array.as_fd()));
        info.is_ok_and(|info| info.id == id)
    })
}

fn open(pin: &Path) -> Result<InForce, Failure> {
    Ok(InForce { lines: Mapping::write(pin)?, bytes: ReadOnlyMap::open(pin)?.memory_bytes()? })
}
