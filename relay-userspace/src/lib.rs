//! The user side of the relay: config -> compile -> apply -> observe -> serve.
//!
//! A library and a thin binary, so that the tests of other crates can call what the commands call.

mod broken_pipe;
pub mod cli;
pub mod command;
pub mod compile;
pub mod config;
pub mod exit;
pub mod jiffies;
