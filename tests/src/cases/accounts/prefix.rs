//! A prefix of clients: `198.51.100.0 web packets_due=60`.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use relay_abi::Ipv4;
use relay_abi::client::{address, key, service};

use super::client::{DUES, dues, write_dues};
use super::{Clock, all_close};
use crate::cases::packet::Line;
use crate::cases::relay::Relay;
use crate::cases::world;

/// A prefix with a place in the table.
#[derive(Clone, Debug, Eq)]
pub struct Prefix {
    /// Its first address.
    pub network: Ipv4Addr,
    /// Name of the service.
    pub service: String,
    /// Seconds that its packets, bytes and connections are ahead of their limits.
    pub dues: [u64; 3],
}

impl Prefix {
    /// Reads a prefix in words.
    pub fn read(text: &str) -> Result<Self> {
        let line = format!("prefix {text}");
        let read = |line: &Line<'_>| {
            let [network, service] = line.words() else { bail!("a prefix is ADDRESS SERVICE") };
            line.knows(line.words(), &DUES)?;
            let (network, service) = (world::address(network)?, (*service).to_owned());
            Ok(Self { network, service, dues: dues(line)? })
        };
        Line::new(&line).and_then(|line| read(&line)).with_context(|| format!("read the prefix `{text}`"))
    }

    /// Its key in the relay's table.
    pub(super) fn key(&self, relay: &Relay) -> Result<u64> {
        Ok(key(Ipv4(self.network.octets()), relay.service_index(&self.service)?))
    }

    /// Its words.
    pub(super) fn words(&self, relay: &Relay, clock: Clock) -> Result<[u64; 4]> {
        let [packets, bytes, connections] = self.dues.map(|due| clock.due(due));
        Ok([self.key(relay)?, packets, bytes, connections])
    }

    /// From its words; `None` where there is none.
    pub(super) fn from_words(words: [u64; 4], relay: &Relay, clock: Clock) -> Option<Self> {
        let [key, dues @ ..] = words;
        (key != 0).then(|| Self {
            network: Ipv4Addr::from(address(key).0),
            service: relay.service_name(u16::from(service(key))),
            dues: dues.map(|due| clock.ahead(due)),
        })
    }
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        (self.network, &self.service) == (other.network, &other.service) && all_close(&self.dues, &other.dues)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", world::name(self.network), self.service)?;
        write_dues(f, &self.dues)
    }
}
