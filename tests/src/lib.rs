//! What the end-to-end tests and `cargo xtask demo` share: the published topology in network namespaces, the real
//! programs around the relay, captures, and the checks that are always on. It never looks inside the relay: it sees what
//! a network engineer at the cable sees.

pub mod accounts;
pub mod capture;
pub mod cases;
pub mod conservation;
pub mod drive;
pub mod end_to_end;
pub mod hiding;
pub mod packet_view;
pub mod privileged;
pub mod process;
pub mod relay;
pub mod relay_config;
pub mod table;
pub mod topology;
pub mod traffic;
pub mod waiting;
pub mod web_service;

pub use end_to_end::{EndToEnd, Setup};
pub use privileged::privileged;
pub use topology::{Place, Topology};
