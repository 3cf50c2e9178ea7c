//! One file a command: what it reads, what it does, how it ends.

pub mod check;
pub mod client;
pub mod clients;
pub mod counters;
pub mod doctor;
pub mod generate;
pub mod output;
pub mod run;
pub mod status;
pub mod table;
pub mod unload;
