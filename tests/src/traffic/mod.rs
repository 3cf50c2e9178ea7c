//! Traffic of every kind a relay meets: paced and numbered UDP, TCP through curl, and frames that no honest host sends.

pub mod fetch;
pub mod packets;
pub mod raw;
pub mod sequence;
pub mod udp;
mod udp_batch;
