//! How bytes look: headers as newtypes over their words, read and written by value.
//!
//! Nothing here decides what happens to a packet.

pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod siphash;
pub mod transport;
