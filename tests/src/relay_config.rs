//! Configurations for the relays of a topology, as a user would write them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::topology::addresses::{BACKEND, EGRESS_TUNNEL, INGRESS_TUNNEL, VIP};
use crate::topology::{Place, Topology};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translate {
    /// The ingress relay rewrites VIP and port to the backend's.
    Ingress,
    /// The packet stays as the client sent it; the service host holds the VIP.
    None,
}

/// One service as both relays must know it.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: &'static str,
    pub protocol: &'static str,
    /// What clients ask for.
    pub port: u16,
    /// Where the service listens; equal to `port` where nothing is translated.
    pub backend_port: u16,
    pub translate: Translate,
    /// Further keys that an ingress relay has for it, as they stand in the file.
    pub keys: &'static str,
}

impl Service {
    /// One whose packets the ingress relay rewrites.
    pub fn new(name: &'static str, protocol: &'static str, port: u16, backend_port: u16) -> Self {
        Self { name, protocol, port, backend_port, translate: Translate::Ingress, keys: "" }
    }
}

/// What one relay is told.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    pub place: Place,
    pub services: Vec<Service>,
    /// The address that `translate = "ingress"` services are rewritten to.
    pub backend: Ipv4Addr,
    pub tunnel_mtu: Option<u32>,
    /// Added to the end as it is: further tables.
    pub extra: String,
    /// Places asked for in the client table of an ingress relay: few, so that tests need little memory.
    pub client_entries: u32,
    /// What of clients is limited, filtered and proved; ingress relay.
    policies: Vec<Policy>,
    interfaces: Vec<(&'static str, &'static str)>,
    pin_directory: PathBuf,
    directory: PathBuf,
}

/// Keys of one table, as they stand in the file.
#[derive(Clone, Debug)]
struct Policy {
    service: Option<&'static str>,
    table: &'static str,
    keys: String,
}

impl RelayConfig {
    pub fn of(topology: &Topology, place: Place, services: &[Service]) -> Result<Self> {
        let arms = match place {
            Place::Ingress => ["public", "tunnel"],
            Place::Egress => ["tunnel", "service"],
            Place::Client
            | Place::Attacker
            | Place::ClientRouter
            | Place::ServiceRouter
            | Place::Service
            | Place::Switch => {
                bail!("{} is no relay", place.label())
            }
        };
        let interfaces = arms
            .into_iter()
            .map(|arm| Ok((arm, topology.relay_device(place, arm)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            place,
            services: services.to_vec(),
            backend: BACKEND,
            tunnel_mtu: None,
            extra: String::new(),
            client_entries: 1024,
            policies: Vec::new(),
            interfaces,
            pin_directory: topology.pin_directory(),
            directory: topology.directory().to_owned(),
        })
    }

    /// Adds keys to a table of a service (`limits`, `filters` or `proof`); of every service without a name. As a user would write them,
    /// one a line.
    pub fn ask(&mut self, service: Option<&'static str>, table: &'static str, keys: &str) -> &mut Self {
        self.policies.push(Policy { service, table, keys: keys.to_owned() });
        self
    }

    /// Lists a prefix: `list` is `block` or `allow`.
    pub fn list(&mut self, list: &str, prefix: &str) -> &mut Self {
        // Writing to a String cannot fail.
        let _infallible = write!(self.extra, "\n[[{list}]]\nprefix = \"{prefix}\"\n");
        self
    }

    pub fn node(&self) -> String {
        format!("{}-1", self.place.label())
    }

    pub fn state_directory(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Writes the configuration and what it refers to; gives its path.
    pub fn write(&self) -> Result<PathBuf> {
        let key = self.key_file();
        if self.needs_key() && !key.exists() {
            write_key(&key)?;
        }
        let path = self.directory.join(format!("{}.toml", self.node()));
        std::fs::write(&path, self.text()).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    pub fn text(&self) -> String {
        let (local, peer, peer_address) = match self.place {
            Place::Egress => (EGRESS_TUNNEL, "ingress-1", INGRESS_TUNNEL),
            _ => (INGRESS_TUNNEL, "egress-1", EGRESS_TUNNEL),
        };
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |line: &str| {
            let _infallible = writeln!(text, "{line}");
        };
        line(&format!("role = \"{}\"", self.place.label()));
        line(&format!("node = \"{}\"", self.node()));
        line(&format!("pin_directory = \"{}\"", self.pin_directory.display()));
        line(&format!("state_directory = \"{}\"", self.state_directory().display()));
        if self.needs_key() {
            line(&format!("hash_key_file = \"{}\"", self.key_file().display()));
        }
        line("\n[interfaces]");
        for (arm, device) in &self.interfaces {
            line(&format!("{arm} = \"{device}\""));
        }
        line("mode = \"driver\"");
        line(&format!("\n[tunnel]\nlocal = \"{local}\""));
        if let Some(mtu) = self.tunnel_mtu {
            line(&format!("mtu = {mtu}"));
        }
        if self.place == Place::Ingress {
            line(&format!("\n[clients]\nentries = {}", self.client_entries));
            line(&self.tables(None, ""));
        }
        line(&format!("\n[[peers]]\nname = \"{peer}\"\naddress = \"{peer_address}\""));
        for service in &self.services {
            line(&self.service_text(service));
        }
        line(&self.extra);
        text
    }

    fn service_text(&self, service: &Service) -> String {
        let ingress = self.place == Place::Ingress;
        let untranslated = service.translate == Translate::None;
        let mut lines =
            vec![format!("\n[[services]]\nname = \"{}\"\nprotocol = \"{}\"", service.name, service.protocol)];
        if ingress || untranslated {
            lines.push(format!("vips = [\"{VIP}\"]\nport = {}", service.port));
        }
        if untranslated {
            lines.push("translate = \"none\"".to_owned());
        }
        if ingress {
            lines.push(service.keys.to_owned() + &self.tables(Some(service.name), "services."));
        }
        if !(ingress && untranslated) {
            let backend = self.backend;
            lines.push(format!(
                "[[services.backends]]\nname = \"{}-1\"\naddress = \"{backend}\"\nport = {}",
                service.name, service.backend_port
            ));
        }
        lines.join("\n")
    }

    /// The tables that were added for a service, or for all of them.
    fn tables(&self, service: Option<&str>, prefix: &str) -> String {
        let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for policy in self.policies.iter().filter(|policy| policy.service == service) {
            tables.entry(policy.table).or_default().push(&policy.keys);
        }
        let tables = tables.iter().map(|(table, keys)| format!("\n[{prefix}{table}]\n{}", keys.join("\n")));
        tables.collect()
    }

    fn needs_key(&self) -> bool {
        self.place == Place::Ingress
            || self.services.iter().any(|service| service.translate == Translate::None)
    }

    fn key_file(&self) -> PathBuf {
        self.directory.join("hash.key")
    }
}

fn write_key(path: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    writeln!(file, "000102030405060708090a0b0c0d0e0f").with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use relay_userspace::config::policy::{Limits, Proof, Rates};
    use relay_userspace::config::valid::Role;
    use relay_userspace::config::{Secrets, examine_bytes};

    use super::*;

    #[test]
    fn what_is_asked_of_clients_is_in_the_file() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let service = |name, translate| Service { translate, ..Service::new(name, "tcp", 80, 80) };
        let mut config = RelayConfig {
            place: Place::Ingress,
            services: vec![
                service("web", Translate::Ingress),
                Service { port: 81, backend_port: 81, ..service("kept", Translate::None) },
            ],
            backend: BACKEND,
            tunnel_mtu: None,
            extra: String::new(),
            client_entries: 2048,
            policies: Vec::new(),
            interfaces: vec![("public", "eth0"), ("tunnel", "eth1")],
            pin_directory: directory.path().to_owned(),
            directory: directory.path().to_owned(),
        };
        config
            .ask(None, "limits", "client_packets = 5")
            .ask(None, "limits", "total_packets = 9")
            .ask(Some("web"), "limits", "client_packets = 7")
            .ask(Some("web"), "proof", "syn = \"always\"")
            .list("block", "198.51.100.0/24");
        write_key(&config.key_file())?;
        let text = config.text();
        let report = examine_bytes("ingress.toml".into(), text.clone().into_bytes(), Secrets::Required);
        let Some(Role::Ingress(ingress)) = report.config().map(|config| &config.role) else {
            bail!("{text}\n{}", report.json());
        };
        let rates = |packets| Rates { packets: Some(packets), ..Rates::default() };
        let limits = |client| Limits { client: rates(client), total: rates(9), ..Limits::default() };
        let [web, kept] = [&ingress.services[0].policy, &ingress.services[1].policy];
        assert_eq!((web.limits, web.proof), (limits(7), Proof::Always));
        assert_eq!((kept.limits, kept.proof), (limits(5), Proof::Off));
        assert_eq!((ingress.clients.entries, ingress.lists.block.len()), (2048, 1));
        Ok(())
    }
}
