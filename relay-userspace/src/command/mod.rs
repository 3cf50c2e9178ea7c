//! One file a command: what it reads, what it does, how it ends.

pub mod check;
pub mod generate;
pub mod output;
pub mod run;
pub mod unload;
