//! What the API shows. The commands print the same with `--json`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::actions::{Cause, Key, Value};
use crate::events::DropsSeen;
use crate::timestamp::Timestamp;
use crate::who::Who;

/// What a relay is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// See [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Its name.
    pub node: String,
    /// `ingress` or `egress`.
    pub role: String,
    /// Version of the program.
    pub version: String,
    /// Number of the configuration in force.
    pub generation: u64,
    /// Its services.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// A service, as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Its public addresses; none where this relay knows only the hosts'.
    pub vips: Vec<Ipv4Addr>,
    /// Its public port; null: every port, or not known here.
    pub port: Option<u16>,
}

/// The drops of a client that the controller remembers: samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// See [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The relay.
    pub node: String,
    /// The client.
    pub client: Ipv4Addr,
    /// One for each reason and service, the latest first.
    pub drops: Vec<DropsSeen>,
}

/// Blocked or allowed prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// See [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The relay.
    pub node: String,
    /// `block` or `allow`.
    pub kind: String,
    /// One for each prefix.
    pub rules: Vec<Rule>,
    /// Prefixes from files that are not shown, for they have decided about no packet.
    pub left_out: u64,
}

/// A blocked or allowed prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The prefix.
    pub prefix: Ipv4Net,
    /// `runtime`, `config`, or the path of a file.
    pub origin: String,
    /// Packets it has decided about; null where that is not known.
    pub hit_packets: Option<u64>,
    /// Why it is listed.
    pub reason: Option<String>,
    /// Since when, if at run time.
    pub since: Option<Timestamp>,
    /// Until when; null: for good.
    pub expires: Option<Timestamp>,
    /// Who listed it, if at run time.
    pub by: Option<Who>,
}

/// Banned clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bans {
    /// See [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The relay.
    pub node: String,
    /// One for each client.
    pub bans: Vec<Ban>,
}

/// A banned client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The client.
    pub address: Ipv4Addr,
    /// Whose limit it was over.
    pub service: String,
    /// Which limit, and by how much.
    pub cause: Cause,
    /// Whether the client had proved that the address is its own.
    pub verified: bool,
    /// Which ban of this client it is, from 1.
    pub count: u32,
    /// Dropped packets; null where that is not known.
    pub hit_packets: Option<u64>,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub expires: Timestamp,
}

/// Limits of services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// See [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The relay.
    pub node: String,
    /// One for each limit of each service.
    pub limits: Vec<Limit>,
}

/// A limit of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The service.
    pub service: String,
    /// Which limit. Rates are a second; bytes are those of IPv4 packets.
    pub limit: Key,
    /// What the configuration says; null: no limit.
    pub configured: Value,
    /// What holds; null: no limit.
    pub in_force: Value,
    /// `config`, or `runtime` where an operator changed it.
    pub origin: String,
    /// Why it was changed.
    pub reason: Option<String>,
    /// Who changed it.
    pub by: Option<Who>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When the configured limit holds again.
    pub expires: Option<Timestamp>,
}
