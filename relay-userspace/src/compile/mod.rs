//! Compiling: a valid configuration and facts about this host become the image of the maps. Pure.

pub mod inputs;

pub use inputs::{Link, Links, NextHops, ResolvedHop};
