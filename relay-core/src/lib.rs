//! The packet path of xdp-relay, free of kernel and of user space: how bytes look ([`wire`]) and what is decided
//! ([`path`]), generic over a bounds-checked packet ([`Frame`]) and the tables it asks ([`Tables`]).
//!
//! This crate knows no map, no clock, no XDP and no allocation; `relay-ebpf` runs it in the kernel, the tests on the host.
#![no_std]
#![forbid(unsafe_code)]

pub mod frame;
pub mod path;
pub mod tables;
pub mod wire;

pub use frame::Frame;
pub use path::{Outcome, egress, ingress};
pub use tables::{Apart, Tables};
