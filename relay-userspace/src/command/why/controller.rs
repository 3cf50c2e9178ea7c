//! What the controller knows of a client and its services.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;

use super::Rule;
use crate::api;
use crate::api::client::Client;
use crate::api::view;
use crate::clients::Services;
use crate::events::DropsSeen;
use crate::exit::{Exit, Failure};
use crate::pinned::Node;
use crate::rehearse::Listed;

/// What the controller knows; nothing if none runs.
#[derive(Default)]
pub(super) struct Controller {
    client: Option<Client>,
    /// Names of services, by protocol, address and port.
    pub(super) names: HashMap<String, String>,
    pub(super) drops: Option<Vec<DropsSeen>>,
}

impl Controller {
    pub(super) fn ask(state_directory: &Path, node: &Node, address: Ipv4Addr) -> Result<Self, Failure> {
        let name = node.pins().node();
        let client = Client::new(&api::socket(state_directory, name), name);
        let found: view::Node = match client.get("/v1/node") {
            Ok(found) => found,
            Err(failure) if failure.exit == Exit::NotRunning => return Ok(Self::default()),
            Err(failure) => return Err(failure),
        };
        let drops: view::Drops = client.get(&format!("/v1/drops/{address}"))?;
        let mut names = HashMap::new();
        for service in found.services {
            let port = service.port.map_or_else(|| "any".to_owned(), |port| port.to_string());
            for vip in &service.vips {
                names.insert(format!("{} {vip}:{port}", service.protocol), service.name.clone());
            }
        }
        Ok(Self { client: Some(client), names, drops: Some(drops.drops) })
    }

    /// Says of a rule where it is from and why it is there.
    pub(super) fn explain(&self, listed: Listed, address: Ipv4Addr) -> Result<Rule, Failure> {
        let mut rule = Rule { listed, origin: None, reason: None, by: None };
        let Some(client) = &self.client else { return Ok(rule) };
        let route = match listed.kind {
            "allowed" => "allows",
            "blocked" => "blocks",
            _ => {
                let bans: view::Bans = client.get("/v1/bans")?;
                let ban = bans.bans.into_iter().find(|ban| ban.address == address);
                rule.origin = ban.as_ref().map(|_| "runtime".to_owned());
                rule.reason = ban.map(|ban| ban.cause.to_string());
                return Ok(rule);
            }
        };
        let rules: view::Rules = client.get(&format!("/v1/{route}?covering={address}"))?;
        let same = |found: &view::Rule| {
            found.prefix == listed.prefix && (found.origin == "runtime") == (listed.list == "runtime")
        };
        if let Some(found) = rules.rules.into_iter().find(same) {
            (rule.origin, rule.reason, rule.by) = (Some(found.origin), found.reason, found.by);
        }
        Ok(rule)
    }

    /// The services a user means: by name there may be several, one for each VIP.
    pub(super) fn indices(&self, services: &Services, text: &str) -> Result<Vec<u8>, Failure> {
        let named: Vec<u8> = services
            .iter()
            .map(|(index, _)| index)
            .filter(|index| self.names.get(&services.name(*index)).is_some_and(|name| name == text))
            .collect();
        if named.is_empty() { services.find(text).map(|index| vec![index]) } else { Ok(named) }
    }
}
