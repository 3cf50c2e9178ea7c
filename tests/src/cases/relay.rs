//! The relay of a case: a real configuration, changed as the case says, compiled by the real compiler.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use relay_abi::image::{Service, option};
use relay_abi::limit::{byte_cost, packet_cost};
use relay_abi::{Image, Ipv4, maps};
use relay_userspace::compile::{Clock, Link, Links, NextHops, ResolvedHop, compile, tick_shift};
use relay_userspace::config::policy::Proof;
use relay_userspace::config::valid::{Config, Protocol, Role};
use relay_userspace::config::{Secrets, examine_bytes};
use serde::Deserialize;

use super::accounts;
use super::world::{self, EDGE, TUNNEL};

/// Seed of the flow table's placement.
const FLOW_SEED: u64 = 0x5eed_0f10_5eed_0f11;
/// Flows the table of a case holds, unless it says otherwise.
pub const FLOW_ENTRIES: u32 = 64;
/// Ticks since 1970 less the clock of the cases, in every image: some number that is no multiple of an epoch.
pub const EPOCH_OFFSET: u64 = 425_000_001_234;
/// Clients that the table of a case is made for, and sets that this and the table of prefixes have.
pub const CLIENT_ENTRIES: u32 = 32;
pub const CLIENT_SETS: u32 = 16;
pub const PREFIX_SETS: u32 = 64;
/// No relay of the cases has more services.
pub const SERVICES: usize = 8;
/// Seconds of a relay's limits in a second of a case's: so slow that the time a case takes in the kernel does not matter.
pub const SLOWER: u64 = 60;
const HASH_KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// In what the relay of a case differs from the one in `tests/cases/relays`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct With {
    /// One interface for both sides.
    pub one_armed: bool,
    pub mtu: Option<u16>,
    pub dscp: Option<u8>,
    pub ttl: Option<u8>,
    /// ICMP errors a second, for the relay and for a /24.
    pub icmp_rate: Option<u32>,
    pub icmp_prefix_rate: Option<u32>,
    /// Fewer than a configuration may ask for, so that sets fill up.
    pub flow_entries: Option<u32>,
    /// More keys of services, by their names: lines of a configuration, with `; ` between them. A second of their limits lasts a minute.
    pub services: BTreeMap<String, String>,
    /// Client table and prefix table have one set each.
    pub one_set: bool,
    /// Names of peers or backends whose next hop is not known.
    pub unresolved: Vec<String>,
    /// The picks have nothing to pick.
    pub no_backends: bool,
    /// No egress relay reaches any backend.
    pub no_reach: bool,
    /// The edge interface has no address.
    pub unnumbered: bool,
    /// Nothing was published yet.
    pub unconfigured: bool,
    /// The kernel does not forward on the edge interface.
    pub forwarding_off: bool,
    /// Whole tokens left in the bucket of the relay, and in those of all prefixes.
    pub relay_tokens: Option<u64>,
    pub prefix_tokens: Option<u64>,
    /// When SYNs to every TCP service are challenged: `always`, or the SYNs a second above which they are.
    pub proof: Option<String>,
    /// Challenges a second and CPU, and whole tokens left in their bucket.
    pub challenge_rate: Option<u32>,
    pub challenge_tokens: Option<u64>,
    /// How long an epoch of proofs lasts; without it, epoch 0 lasts for ever, so that its numbers can be written down.
    pub epoch_seconds: Option<u32>,
    /// Entries of each flow set that another CPU is just replacing.
    pub busy_entries: usize,
    /// The driver left no room in front of the frame. Host only.
    pub no_head_room: bool,
    /// The kernel refuses to cut the frame's end. Host only.
    pub no_trim: bool,
    /// Another CPU wins each race for a flow entry. Host only.
    pub contended: bool,
    /// The ring of events is full. Host only.
    pub events_lost: bool,
    /// The spill table takes nothing. Host only.
    pub spill_refuses: bool,
}

impl With {
    /// Whether only the host can make this so.
    #[must_use]
    pub const fn host_only(&self) -> bool {
        self.no_head_room || self.no_trim || self.contended || self.spill_refuses || self.events_lost
    }
}

/// What the machine tells that a case runs on.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub edge: u32,
    pub tunnel: u32,
    pub jiffies_per_second: u32,
}

/// A relay as a case has it.
#[derive(Debug)]
pub struct Relay {
    pub config: Config,
    /// `None` where nothing was published.
    pub image: Option<Box<Image>>,
    pub with: With,
    pub machine: Machine,
}

impl Relay {
    /// The relay named `name`, changed.
    pub fn new(name: &str, with: &With, machine: Machine) -> Result<Self> {
        let config = changed(base(name, &with.services)?, with)?;
        let mut image =
            compile(&config, &links(&config, with, machine), &hops(&config, with, machine)?, FLOW_SEED, 1)
                .map_err(|error| anyhow!("compile the relay {name}: {error}"))?;
        if with.unnumbered {
            image.globals.edge_address = Ipv4::ZERO;
        }
        if with.no_backends {
            image.services.iter_mut().for_each(|service| service.ring_length = 0);
        }
        if with.no_reach {
            image.backends.iter_mut().for_each(|backend| backend.peer_count = 0);
        }
        image.globals.epoch_jiffies =
            with.epoch_seconds.map_or(u64::MAX, |seconds| u64::from(seconds * machine.jiffies_per_second));
        if with.one_set {
            (image.globals.client_mask, image.globals.prefix_mask) = (0, 0);
        }
        image.services.iter_mut().for_each(slow_down);
        let image = (!with.unconfigured).then_some(image);
        Ok(Self { config, image, with: with.clone(), machine })
    }

    /// Name of its program in the object.
    #[must_use]
    pub const fn program(&self) -> &'static str {
        match self.config.role {
            Role::Ingress(_) => maps::PROGRAM_INGRESS,
            Role::Egress(_) => maps::PROGRAM_EGRESS,
        }
    }

    /// The index of a service, all of which have one VIP.
    pub fn service_index(&self, name: &str) -> Result<u16> {
        let index = self.service_names().iter().position(|known| *known == name);
        index.map(|index| index as u16).with_context(|| format!("the relay has no service `{name}`"))
    }

    /// The name of the service with an index.
    #[must_use]
    pub fn service_name(&self, index: u16) -> String {
        let names = self.service_names();
        names.get(usize::from(index)).map_or_else(|| format!("service-{index}"), |name| (*name).to_owned())
    }

    fn service_names(&self) -> Vec<&str> {
        match &self.config.role {
            Role::Ingress(ingress) => ingress.services.iter().map(|service| service.name.as_str()).collect(),
            Role::Egress(_) => Vec::new(),
        }
    }

    /// The time of this relay.
    #[must_use]
    pub fn clock(&self, jiffies: u64) -> accounts::Clock {
        let jiffies_per_second = self.machine.jiffies_per_second;
        accounts::Clock { jiffies, jiffies_per_second, tick_shift: tick_shift(jiffies_per_second) }
    }

    /// What a fair share costs, by index of its service.
    pub fn fair_costs(&self, shares: &BTreeMap<String, u64>) -> Result<[u64; SERVICES]> {
        let mut costs = [0; SERVICES];
        for (name, rate) in shares {
            let index = usize::from(self.service_index(name)?);
            let options = self.image.as_ref().map_or(0, |image| image.services[index].options);
            let cost = if options & option::FAIR_BYTES != 0 { byte_cost } else { packet_cost };
            costs[index] = SLOWER * cost(*rate, self.machine.jiffies_per_second);
        }
        Ok(costs)
    }

    /// The interface of a name, on this machine.
    pub fn ifindex(&self, device: &str) -> Result<u32> {
        match device {
            EDGE => Ok(self.machine.edge),
            TUNNEL if !self.with.one_armed => Ok(self.machine.tunnel),
            _ => bail!("this relay has no interface {device}"),
        }
    }

    /// The name of an interface.
    #[must_use]
    pub fn device(&self, ifindex: u32) -> String {
        let devices = [(self.machine.edge, EDGE), (self.machine.tunnel, TUNNEL)];
        let known = devices.into_iter().find(|(known, _)| *known == ifindex);
        known.map_or_else(|| format!("interface {ifindex}"), |(_, name)| name.to_owned())
    }
}

/// The relay of a file, with more keys of its services.
fn base(name: &str, services: &BTreeMap<String, String>) -> Result<Config> {
    static RELAYS: OnceLock<Mutex<HashMap<Known, Config>>> = OnceLock::new();
    let relays = RELAYS.get_or_init(Mutex::default);
    let known = (name.to_owned(), services.clone());
    let mut relays = relays.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = relays.get(&known) {
        return Ok(config.clone());
    }
    let config = read(name, services)?;
    relays.insert(known, config.clone());
    Ok(config)
}

/// Name and keys of a relay that was read.
type Known = (String, BTreeMap<String, String>);

fn read(name: &str, services: &BTreeMap<String, String>) -> Result<Config> {
    if name != "ingress" && name != "egress" {
        bail!("there is no relay `{name}` in tests/cases/relays");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("cases/relays/{name}.toml"));
    let mut text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    for (service, keys) in services {
        let start = format!("[[services]]\nname = \"{service}\"\n");
        let at =
            text.find(&start).with_context(|| format!("{} has no service `{service}`", path.display()))?;
        text.insert_str(at + start.len(), &format!("{}\n", keys.replace("; ", "\n")));
    }
    let mut key = tempfile::NamedTempFile::new().context("make a file for the hash key")?;
    writeln!(key, "{HASH_KEY}").context("write the hash key")?;
    let mode = std::fs::Permissions::from_mode(0o600);
    key.as_file().set_permissions(mode).context("protect the hash key")?;
    let text = text.replace("HASH_KEY\"", &format!("{}\"", key.path().display()));
    let report = examine_bytes(format!("{name}.toml"), text.into_bytes(), Secrets::Required);
    report.config().cloned().with_context(|| format!("{} is not valid: {report:?}", path.display()))
}

/// Stretches the limits of a service.
fn slow_down(service: &mut Service) {
    service.burst *= SLOWER;
    for costs in [&mut service.client, &mut service.prefix, &mut service.total] {
        costs.packet *= SLOWER;
        costs.byte *= SLOWER;
        costs.connection *= SLOWER;
    }
}

fn changed(mut config: Config, with: &With) -> Result<Config> {
    let tunnel = &mut config.tunnel;
    tunnel.mtu = with.mtu.or(tunnel.mtu);
    tunnel.dscp = with.dscp.unwrap_or(tunnel.dscp);
    tunnel.ttl = with.ttl.unwrap_or(tunnel.ttl);
    config.icmp.rate = with.icmp_rate.unwrap_or(config.icmp.rate);
    config.icmp.prefix_rate = with.icmp_prefix_rate.unwrap_or(config.icmp.prefix_rate);
    if let Role::Egress(egress) = &mut config.role {
        egress.flows.entries = with.flow_entries.unwrap_or(FLOW_ENTRIES);
        egress.flows.idle_timeout = Duration::from_secs(300);
    }
    if let Role::Ingress(ingress) = &mut config.role {
        let clients = &mut ingress.clients;
        clients.entries = CLIENT_ENTRIES;
        clients.challenge_rate = with.challenge_rate.unwrap_or(clients.challenge_rate);
        if let Some(proof) = with.proof.as_deref().map(proof).transpose()? {
            for service in ingress.services.iter_mut().filter(|service| service.protocol == Protocol::Tcp) {
                service.policy.proof = proof;
            }
        }
    }
    Ok(config)
}

fn proof(text: &str) -> Result<Proof> {
    match text {
        "always" => Ok(Proof::Always),
        number => Ok(Proof::Above(number.parse().with_context(|| format!("read proof = \"{text}\""))?)),
    }
}

fn links(config: &Config, with: &With, machine: Machine) -> Links {
    let link = |name: &str, ifindex| Link {
        ifindex,
        mac: world::DEVICES
            .iter()
            .find(|(device, _)| *device == name)
            .and_then(|(_, station)| world::station(station).ok())
            .unwrap_or_default(),
        mtu: u32::from(world::LINK_MTU),
        name: name.to_owned(),
    };
    let edge = link(EDGE, machine.edge);
    let tunnel = if with.one_armed { edge.clone() } else { link(TUNNEL, machine.tunnel) };
    let (own, edge_address): (&[&str], &str) = match config.role {
        Role::Ingress(_) => (&["ingress1", "ingress_edge", "vip", "vip2", "vip3"], "ingress_edge"),
        Role::Egress(_) => (&["egress1", "egress_edge"], "egress_edge"),
    };
    Links {
        edge,
        tunnel,
        own_addresses: own.iter().filter_map(|name| world::address(name).ok()).collect(),
        edge_address: world::address(edge_address).unwrap_or(Ipv4Addr::UNSPECIFIED),
        clock: Clock { jiffies_per_second: machine.jiffies_per_second, epoch_offset: EPOCH_OFFSET },
    }
}

fn hops(config: &Config, with: &With, machine: Machine) -> Result<NextHops> {
    const PEERS: [(&str, &str); 4] = [
        ("egress1", "peer1_mac"),
        ("egress2", "peer2_mac"),
        ("ingress1", "peer1_mac"),
        ("ingress2", "peer2_mac"),
    ];
    const BACKENDS: [(&str, &str); 3] = [("web1", "web1_mac"), ("web2", "web2_mac"), ("web3", "web3_mac")];
    for name in &with.unresolved {
        if !PEERS.iter().chain(&BACKENDS).any(|(known, _)| known == name) {
            bail!("there is no peer or backend `{name}` to leave unresolved");
        }
    }
    let tunnel = if with.one_armed { (machine.edge, "edge_mac") } else { (machine.tunnel, "tunnel_mac") };
    let edge = (machine.edge, "edge_mac");
    let is_egress = matches!(config.role, Role::Egress(_));
    let peers = PEERS.iter().map(|hop| (hop, tunnel));
    let backends = BACKENDS.iter().filter(|_| is_egress).map(|hop| (hop, edge));
    peers
        .chain(backends)
        .filter(|((name, _), _)| !with.unresolved.iter().any(|unresolved| unresolved == name))
        .map(|((name, station), (ifindex, own))| {
            let (destination_mac, source_mac) = (world::station(station)?, world::station(own)?);
            Ok((world::address(name)?, ResolvedHop { ifindex, destination_mac, source_mac }))
        })
        .collect()
}
