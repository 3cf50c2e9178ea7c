//! The user side of the relay: config -> compile -> apply -> observe -> serve.
//!
//! A library and a thin binary, so that the tests of other crates can call what the commands call.

pub mod actions;
pub mod api;
pub mod audit;
mod broken_pipe;
pub mod cli;
pub mod clients;
pub mod command;
pub mod compile;
pub mod config;
pub mod doctor;
pub mod events;
pub mod exit;
pub mod host;
pub mod inspect;
pub mod jiffies;
pub mod lists;
pub mod load;
pub mod lock;
pub mod neighbours;
pub mod netlink;
pub mod pinned;
pub mod pins;
mod privileges;
pub mod publish;
pub mod rehearse;
pub mod serve;
pub mod timestamp;
pub mod who;
