//! The control API: HTTP and JSON over the Unix socket `<state_directory>/<node>.sock`, for the commands and for scripts.
//!
//! It runs beside the controller's loop and never touches what that owns: what it wants to know or to change it asks for with a
//! [`Request`], and waits.

pub mod client;
mod events;
mod peer;
mod refusal;
mod request;
mod routes;
mod server;
pub mod view;

pub use request::{Answer, Extent, Request, Requests};
pub use routes::router;
pub use server::Server;

use std::path::{Path, PathBuf};

/// Version of the JSON that the API and the commands give.
pub const SCHEMA_VERSION: u32 = 1;
/// Header in which a command says who is behind sudo.
pub(crate) const SUDO_USER: &str = "x-sudo-user";

/// A path with those of the parameters that have a value.
#[must_use]
pub fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    let pairs: Vec<String> = given.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Text as a part of a path or a parameter.
#[must_use]
pub fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Where a node's socket is.
#[must_use]
pub fn socket(state_directory: &Path, node: &str) -> PathBuf {
    state_directory.join(format!("{node}.sock"))
}

#[cfg(test)]
mod tests;
