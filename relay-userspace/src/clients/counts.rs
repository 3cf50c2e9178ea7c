//! What is counted of a client, or of many.

use std::ops::AddAssign;

use bytemuck::{Pod, Zeroable};
use relay_abi::client::DropClass;
use relay_abi::service_state::Gone;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

/// What is counted of a client, or of many. Laid out as [`Gone`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Counts {
    /// Forwarded packets.
    pub packets: u64,
    /// Forwarded bytes, of IPv4 packets.
    pub bytes: u64,
    /// Packets back to the client.
    pub return_packets: u64,
    /// Their bytes.
    pub return_bytes: u64,
    /// New connections.
    pub connections: u64,
    /// Dropped packets by [`DropClass`].
    pub drops: [u64; DropClass::COUNT],
}

const _: () = assert!(size_of::<Counts>() == size_of::<Gone>());

impl Counts {
    /// Dropped packets of all classes.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.iter().fold(0, |sum, drops| sum.wrapping_add(*drops))
    }

    /// Every packet that came from the client: forwarded and dropped.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.packets.wrapping_add(self.dropped())
    }
}

/// Sums wrap: what is counted in two places may be below zero in one of them.
impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let to: &mut [u64] = bytemuck::cast_slice_mut(std::slice::from_mut(self));
        let from: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&other));
        for (to, from) in to.iter_mut().zip(from) {
            *to = to.wrapping_add(*from);
        }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Counts", 7)?;
        object.serialize_field("forward_packets", &self.packets)?;
        object.serialize_field("forward_bytes", &self.bytes)?;
        object.serialize_field("return_packets", &self.return_packets)?;
        object.serialize_field("return_bytes", &self.return_bytes)?;
        object.serialize_field("connections", &self.connections)?;
        object.serialize_field("drop_packets", &self.dropped())?;
        object.serialize_field("drops", &Drops(&self.drops))?;
        object.end()
    }
}

/// The classes that have drops.
struct Drops<'a>(&'a [u64; DropClass::COUNT]);

#[derive(Serialize)]
struct Drop {
    class: &'static str,
    packets: u64,
}

impl Serialize for Drops<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (class, packets) in DropClass::ALL.iter().zip(*self.0).filter(|(_, packets)| *packets > 0) {
            list.serialize_element(&Drop { class: class.label(), packets })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_zero_in_one_place_comes_right_in_the_sum() {
        let mut sum = Counts { packets: 3, bytes: 300, ..Counts::default() };
        let taken_back = Counts { packets: u64::MAX, bytes: 100_u64.wrapping_neg(), ..Counts::default() };
        sum += taken_back;
        assert_eq!((sum.packets, sum.bytes), (2, 200));
    }

    #[test]
    fn json_names_only_the_classes_that_have_drops() {
        let mut counts = Counts { packets: 5, connections: 1, ..Counts::default() };
        counts.drops[DropClass::LimitBytes as usize] = 7;
        counts.drops[DropClass::Other as usize] = 1;
        let json = serde_json::to_value(counts).unwrap();
        assert_eq!(
            json["drops"],
            serde_json::json!([{"class": "limit_bytes", "packets": 7}, {"class": "other", "packets": 1}])
        );
        assert_eq!((&json["forward_packets"], &json["drop_packets"]), (&5.into(), &8.into()));
    }
}
