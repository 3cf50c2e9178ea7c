//! The BPF object that this binary carries, and the shapes its maps must have.

use std::collections::HashMap;

use super::syscall::MapInfo;
use crate::exit::{Exit, Failure};

/// The object file, aligned for the parser.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("RELAY_EBPF_OBJECT"));

/// What the object says of its maps.
pub(super) struct Shapes {
    maps: HashMap<String, aya_obj::Map>,
    sizes: HashMap<&'static str, u32>,
}

impl Shapes {
    /// Reads the object; `sizes` are the entries of the maps whose size the configuration decides.
    pub(super) fn read(sizes: &[(&'static str, u32)]) -> Result<Self, Failure> {
        let object = aya_obj::Object::parse(OBJECT).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot parse the built-in BPF object: {error}"))
        })?;
        Ok(Self { maps: object.maps, sizes: sizes.iter().copied().collect() })
    }

    /// The shape of a map, with the configured size.
    pub(super) fn map(&self, name: &str) -> Result<MapInfo, Failure> {
        let map = self.maps.get(name).ok_or_else(|| lacks(name))?;
        let configured = self.sizes.get(name).copied();
        Ok(MapInfo {
            map_type: map.map_type(),
            id: 0,
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: configured.unwrap_or(map.max_entries()),
            flags: map.map_flags(),
        })
    }

    /// The shape of the arrays that a map of maps holds.
    pub(super) fn inner(&self, name: &str) -> Result<MapInfo, Failure> {
        let inner = self.maps.get(name).and_then(aya_obj::Map::inner);
        let inner = inner.ok_or_else(|| lacks(&format!("the template of {name}")))?;
        Ok(MapInfo {
            map_type: inner.map_type(),
            id: 0,
            key_size: inner.key_size(),
            value_size: inner.value_size(),
            max_entries: inner.max_entries(),
            flags: inner.map_flags(),
        })
    }
}

/// The object and this binary are built together; this is a broken build.
pub(super) fn lacks(what: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the built-in BPF object lacks {what}: rebuild with cargo xtask build"),
    )
}

#[cfg(test)]
mod tests {
    use relay_abi::Image;
    use relay_abi::list::Line;
    use relay_abi::maps;
    use relay_abi::meta::Meta;

    use super::*;

    #[test]
    fn the_object_has_every_map_in_its_shape() {
        let shapes = Shapes::read(&[(maps::FLOWS, 4096)]).unwrap();
        for name in maps::ALL {
            shapes.map(name).unwrap();
        }
        assert_eq!(shapes.map(maps::FLOWS).unwrap().max_entries, 4096);
        assert_eq!(shapes.map(maps::META).unwrap().value_size as usize, size_of::<Meta>());
        assert_eq!(shapes.inner(maps::GENERATIONS).unwrap().value_size as usize, size_of::<Image>());
        assert_eq!(shapes.inner(maps::LISTS).unwrap().value_size as usize, size_of::<Line>());
    }
}
