//! One file a command: what it reads, what it does, how it ends.

pub mod allow;
pub mod ban;
pub mod block;
pub mod capture;
pub mod check;
pub mod client;
pub mod clients;
pub mod counters;
pub mod doctor;
pub mod events;
pub mod generate;
pub mod limit;
pub mod output;
mod rules;
pub mod run;
pub mod status;
pub mod table;
pub mod unload;
pub mod why;
