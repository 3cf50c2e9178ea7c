//! Samples of dropped packets: from the ring `EVENTS` to whoever asks why.
//!
//! The kernel side reports so many a second for each reason and CPU, whatever comes in; each report says how many of its kind
//! were left out before it. The controller reads them ([`decode`]), keeps the last ones and each client's last drops
//! ([`Journal`]), and hands them to those who listen.

mod clock;
mod decode;
mod filter;
mod journal;
mod packet;
pub mod pcapng;
mod recent;
mod record;
mod ring;
mod services;

pub use clock::Clock;
pub use decode::Decoder;
pub use filter::{Filter, reason};
pub use journal::{Journal, Subscription};
pub use packet::sent_to;
pub use recent::DropsSeen;
pub use record::{Dropped, Fields, Record, SCHEMA_VERSION, What, rfc3339};
pub use ring::{Drained, Ring};
