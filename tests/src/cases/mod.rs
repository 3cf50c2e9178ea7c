//! Packet cases: what one packet does to one relay, written down as data in `tests/cases`, judged on the host and in the kernel.
//!
//! A case names a relay (a real configuration, compiled by the real compiler), what its tables hold, a packet in words, and
//! everything that may change: verdict, reason, every byte that goes out, every counter and tally, every flow. What moves
//! without being named fails the case. Accounts of clients are looked at where a case names them; that they add up always is.

pub mod accounts;
pub mod case;
pub mod flow;
pub mod frame;
pub mod host;
pub mod judge;
pub mod kernel;
pub mod lists;
pub mod mutation;
pub mod packet;
pub mod relay;
pub mod tables;
pub mod truncation;
pub mod world;

pub use case::{Case, Step, load};
pub use frame::MemFrame;
pub use judge::{Observed, judge};
pub use relay::Relay;
pub use tables::MemTables;
