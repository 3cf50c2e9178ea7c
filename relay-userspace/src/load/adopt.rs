//! What an earlier run left pinned, and whether this run may go on with it.

use std::io;
use std::os::fd::AsFd;

use relay_abi::limits::{CLIENT_WAYS, FLOW_WAYS};
use relay_abi::meta::{ABI_VERSION, MAGIC, Meta, ROLE_EGRESS, ROLE_INGRESS};
use relay_abi::{Image, maps};

use super::object::Shapes;
use super::syscall::{self, MapInfo};
use crate::exit::{Exit, Failure};
use crate::pins::Pins;

/// What the pin directory holds.
#[derive(Debug)]
pub enum Found {
    /// Nothing to go on with.
    Nothing,
    /// A complete set of maps of this role, ABI and size.
    Complete(Adopted),
}

/// Facts of a set of maps that goes on being used.
#[derive(Debug)]
pub struct Adopted {
    /// Seed of the flow table's placement.
    pub table_seed: u64,
    /// The image in force, if it can be told.
    pub image: Option<Box<Image>>,
}

/// Examines the pins of a node. Removes what an interrupted start left; refuses what it must not touch.
pub(super) fn examine(pins: &Pins, role: u32, shapes: &Shapes) -> Result<Found, Failure> {
    if !pins.complete() {
        return leftovers(pins);
    }
    let map = open(pins, maps::META)?;
    let info = syscall::map_info(map.as_fd()).map_err(|error| unreadable(pins, maps::META, &error))?;
    if info.value_size as usize != size_of::<Meta>() {
        return Err(refuse(pins, "its maps are of another version of xdp-relay"));
    }
    let mut meta = Meta { magic: 0, abi_version: 0, role: 0, table_seed: 0, created_seconds: 0 };
    syscall::read_element(map.as_fd(), 0, bytemuck::bytes_of_mut(&mut meta))
        .map_err(|error| unreadable(pins, maps::META, &error))?;
    suits(&meta, role).map_err(|why| refuse(pins, &why))?;
    for name in maps::ALL {
        let map = open(pins, name)?;
        let found = syscall::map_info(map.as_fd()).map_err(|error| unreadable(pins, name, &error))?;
        same_shape(name, &found, &shapes.map(name)?).map_err(|why| refuse(pins, &why))?;
    }
    Ok(Found::Complete(Adopted { table_seed: meta.table_seed, image: image_in_force(pins) }))
}

fn leftovers(pins: &Pins) -> Result<Found, Failure> {
    let links = pins.linked_interfaces()?;
    if let Some(interface) = links.first() {
        return Err(refuse(pins, &format!("{interface} has a link there, but the pin META is missing")));
    }
    let names = pins.names()?;
    if !names.is_empty() {
        tracing::warn!("removing what an interrupted start left in {}", pins.directory().display());
        pins.remove_leftovers()?;
    }
    Ok(Found::Nothing)
}

fn suits(meta: &Meta, role: u32) -> Result<(), String> {
    if meta.magic != MAGIC {
        return Err("its maps are not those of xdp-relay".to_owned());
    }
    if meta.abi_version != ABI_VERSION {
        return Err(format!(
            "its maps have version {}, this xdp-relay needs version {ABI_VERSION}",
            meta.abi_version
        ));
    }
    if meta.role != role {
        let (old, new) = (role_name(meta.role), role_name(role));
        return Err(format!("it is pinned as an {old} relay, the configuration says {new}"));
    }
    Ok(())
}

fn role_name(role: u32) -> &'static str {
    match role {
        ROLE_INGRESS => "ingress",
        ROLE_EGRESS => "egress",
        _ => "unknown",
    }
}

fn same_shape(name: &str, found: &MapInfo, wanted: &MapInfo) -> Result<(), String> {
    let found = MapInfo { id: 0, ..*found };
    if found == *wanted {
        return Ok(());
    }
    let sized = MapInfo { max_entries: wanted.max_entries, ..found };
    let (table, key, each) = match name {
        maps::FLOWS => ("flow table", "[flows] entries", FLOW_WAYS as u64),
        // The table has twice the places asked for.
        maps::CLIENTS => ("client table", "[clients] entries", CLIENT_WAYS as u64 / 2),
        _ => return Err(format!("its map {name} has another shape ({found:?}, not {wanted:?})")),
    };
    if sized == *wanted {
        let entries = |info: &MapInfo| u64::from(info.max_entries) * each;
        return Err(format!(
            "its {table} is made for {} entries, {key} asks for {}",
            entries(&found),
            entries(wanted)
        ));
    }
    Err(format!("its map {name} has another shape ({found:?}, not {wanted:?})"))
}

/// The image in force, if one is published and readable.
///
/// The slot of a map of maps only tells the id of what it holds, and opening by id takes CAP_SYS_ADMIN; so the array is
/// pinned beside it, and the ids say which of the two pins is in force.
#[must_use]
pub fn image_in_force(pins: &Pins) -> Option<Box<Image>> {
    let generations = syscall::open(&pins.map(maps::GENERATIONS)).ok()?;
    // A new generation may be published between the two looks.
    (0..3).find_map(|_| {
        let mut id = 0_u32;
        syscall::read_element(generations.as_fd(), 0, bytemuck::bytes_of_mut(&mut id)).ok()?;
        [pins.image(), pins.next_image()].iter().find_map(|pin| {
            let map = syscall::open(pin).ok()?;
            let info = syscall::map_info(map.as_fd()).ok()?;
            if info.id != id || info.value_size as usize != size_of::<Image>() {
                return None;
            }
            let mut image = bytemuck::allocation::zeroed_box::<Image>();
            syscall::read_element(map.as_fd(), 0, bytemuck::bytes_of_mut(image.as_mut())).ok()?;
            Some(image)
        })
    })
}

fn open(pins: &Pins, name: &str) -> Result<std::os::fd::OwnedFd, Failure> {
    syscall::open(&pins.map(name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refuse(pins, &format!("its pin {name} is missing")),
        _ => unreadable(pins, name, &error),
    })
}

fn unreadable(pins: &Pins, name: &str, error: &io::Error) -> Failure {
    Failure::io(format!("read the pinned map {}", pins.map(name).display()), error)
}

fn refuse(pins: &Pins, why: &str) -> Failure {
    let (node, directory) = (pins.node(), pins.directory());
    let parent = directory.parent().unwrap_or(directory).display();
    Failure::new(Exit::Failed, format!("cannot go on with what is pinned in {}: {why}", directory.display())).hint(
        format!(
            "`xdp-relay unload --node {node} --pin-directory {parent}` removes it and stops its traffic; then start again"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta { magic: MAGIC, abi_version: ABI_VERSION, role: ROLE_EGRESS, table_seed: 7, created_seconds: 1 }
    }

    #[test]
    fn only_maps_of_the_same_kind_are_adopted() {
        assert_eq!(suits(&meta(), ROLE_EGRESS), Ok(()));
        let other = |meta: Meta| suits(&meta, ROLE_EGRESS).unwrap_err();
        assert!(other(Meta { magic: 1, ..meta() }).contains("not those of xdp-relay"));
        assert!(other(Meta { abi_version: ABI_VERSION + 1, ..meta() }).contains("version"));
        let role = other(Meta { role: ROLE_INGRESS, ..meta() });
        assert_eq!(role, "it is pinned as an ingress relay, the configuration says egress");
    }

    #[test]
    fn another_size_of_the_flow_table_is_named() {
        let wanted = MapInfo { map_type: 2, id: 0, key_size: 4, value_size: 64, max_entries: 1024, flags: 0 };
        assert_eq!(same_shape(maps::FLOWS, &MapInfo { id: 9, ..wanted }, &wanted), Ok(()));
        let why = same_shape(maps::FLOWS, &MapInfo { max_entries: 2048, ..wanted }, &wanted).unwrap_err();
        assert_eq!(why, "its flow table is made for 8192 entries, [flows] entries asks for 4096");
        let other =
            same_shape(maps::COUNTERS, &MapInfo { max_entries: 2048, ..wanted }, &wanted).unwrap_err();
        assert!(other.contains("COUNTERS has another shape"), "{other}");
    }
}
