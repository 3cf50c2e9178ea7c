//! The BPF object that this binary carries, and the shapes its maps must have.

use std::collections::HashMap;

use relay_abi::maps;

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

    /// Value size and flags of the arrays that hold images.
    pub(super) fn image(&self) -> Result<(u32, u32), Failure> {
        let inner = self
            .maps
            .get(maps::GENERATIONS)
            .and_then(aya_obj::Map::inner)
            .ok_or_else(|| lacks("the template of GENERATIONS"))?;
        Ok((inner.value_size(), inner.map_flags()))
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
        assert_eq!(shapes.image().unwrap().0 as usize, size_of::<Image>());
    }
}
