//! Traffic of every kind a relay meets: paced and numbered UDP, TCP through curl, and frames that no honest host sends.

pub mod fetch;
pub mod flood;
pub mod ledger;
pub mod packets;
pub mod raw;
pub mod sequence;
pub mod tcp;
pub mod udp;
mod udp_batch;
pub mod visitors;
