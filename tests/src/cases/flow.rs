//! Flows in words: `client:40000 > web1:8443 tcp via ingress1 answered age=400`.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use relay_abi::flow::{ANSWERED, BUSY, FlowKey, KEY_BITS, age, peer, state};
use relay_abi::image::Globals;
use relay_abi::limits::FLOW_WAYS;
use relay_abi::{Be16, Ipv4};
use relay_userspace::config::valid::Config;

use super::packet::Line;
use super::world;

/// Ticks by which two ages may differ: the kernel's clock goes on between two looks.
const SLACK: u64 = 2;

/// The words of a flow set: addresses and state of each entry in turn.
pub type Words = [u64; 2 * FLOW_WAYS];

/// One flow.
#[derive(Clone, Debug, Eq)]
pub struct Flow {
    pub client: (Ipv4Addr, u16),
    pub endpoint: (Ipv4Addr, u16),
    pub udp: bool,
    /// Name of the peer it came through.
    pub through: String,
    pub answered: bool,
    /// Ticks since it was seen.
    pub age: u64,
}

impl Flow {
    /// Reads a flow in words.
    pub fn read(text: &str) -> Result<Self> {
        let line = format!("flow {text}");
        Line::new(&line).and_then(|line| Self::of(&line)).with_context(|| format!("read the flow `{text}`"))
    }

    fn of(line: &Line<'_>) -> Result<Self> {
        let end = |text: &str| -> Result<(Ipv4Addr, u16)> {
            let (address, port) = text.split_once(':').context("an end is ADDRESS:PORT")?;
            Ok((world::address(address)?, port.parse().with_context(|| format!("read the port {port}"))?))
        };
        line.knows(&["tcp", "udp", "answered"], &["via", "age"])?;
        let (client, endpoint) = line.both_ends()?;
        let (udp, tcp) = (line.has("udp"), line.has("tcp"));
        if udp == tcp {
            bail!("a flow is either tcp or udp");
        }
        Ok(Self {
            client: end(client)?,
            endpoint: end(endpoint)?,
            udp,
            through: line.text("via").context("a flow has a via=PEER")?.to_owned(),
            answered: line.has("answered"),
            age: line.number("age")?.unwrap_or(0),
        })
    }

    /// Its key in the relay's tables.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        let end = |(address, port): (Ipv4Addr, u16)| (Ipv4(address.octets()), Be16::new(port));
        let ((client, client_port), (endpoint, port)) = (end(self.client), end(self.endpoint));
        FlowKey::new(client, client_port, endpoint, port, self.udp)
    }

    /// Its state word at `tick`.
    pub fn state(&self, config: &Config, tick: u64) -> Result<u64> {
        let peer = config.peers.iter().position(|peer| peer.name == self.through);
        let peer = peer.with_context(|| format!("the relay has no peer `{}`", self.through))?;
        Ok(state(self.key(), self.answered, tick.wrapping_sub(self.age), peer as u16))
    }

    /// From its two words.
    #[must_use]
    pub fn from_words(addresses: u64, word: u64, config: &Config, tick: u64) -> Self {
        let key = FlowKey { addresses, ports: word & KEY_BITS };
        let index = usize::from(peer(word));
        Self {
            client: (Ipv4Addr::from(key.client().0), key.client_port().value()),
            endpoint: (Ipv4Addr::from(key.endpoint().0), key.endpoint_port().value()),
            udp: key.udp(),
            through: config
                .peers
                .get(index)
                .map_or_else(|| format!("peer {index}"), |peer| peer.name.clone()),
            answered: word & ANSWERED != 0,
            age: age(word, tick),
        }
    }
}

impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        let identity =
            |flow: &Self| (flow.client, flow.endpoint, flow.udp, flow.through.clone(), flow.answered);
        identity(self) == identity(other) && self.age.abs_diff(other.age) <= SLACK
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |(address, port): (Ipv4Addr, u16)| format!("{}:{port}", world::name(address));
        let protocol = if self.udp { "udp" } else { "tcp" };
        write!(f, "{} > {} {protocol} via={}", end(self.client), end(self.endpoint), self.through)?;
        f.write_str(if self.answered { " answered" } else { "" })?;
        if self.age > SLACK { write!(f, " age={}", self.age) } else { Ok(()) }
    }
}

/// The flow table that holds these flows; the first `busy` entries of each set are being replaced.
pub fn table(
    flows: &[Flow],
    busy: usize,
    globals: &Globals,
    config: &Config,
    tick: u64,
) -> Result<Vec<Words>> {
    let mut table = vec![Words::default(); globals.flow_mask as usize + 1];
    for set in &mut table {
        for entry in 0..busy.min(FLOW_WAYS) {
            (set[2 * entry], set[2 * entry + 1]) = (1, BUSY);
        }
    }
    for flow in flows {
        let key = flow.key();
        let set = &mut table[key.set(globals.table_seed, globals.flow_mask) as usize];
        let free = (0..FLOW_WAYS).find(|entry| set[2 * entry] == 0);
        let entry = free.with_context(|| format!("there is no room for the flow {flow}"))?;
        (set[2 * entry], set[2 * entry + 1]) = (key.addresses, flow.state(config, tick)?);
    }
    Ok(table)
}

/// The flows in a table, but for entries that are being replaced.
#[must_use]
pub fn flows(table: &[Words], config: &Config, tick: u64) -> Vec<Flow> {
    let entries = table.iter().flat_map(|set| set.chunks_exact(2));
    entries
        .filter(|entry| entry[0] != 0 && entry[1] != BUSY)
        .map(|entry| Flow::from_words(entry[0], entry[1], config, tick))
        .collect()
}
