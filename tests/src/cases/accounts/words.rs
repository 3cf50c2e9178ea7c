//! The tables as words, in the order in which both sides have them.

use anyhow::{Context, Result};
use relay_abi::client::set;
use relay_abi::image::Globals;
use relay_abi::limits::{CLIENT_WAYS, PREFIX_WAYS};

use super::{Client, Clock, Counts, Gone, Prefix, Service};
use crate::cases::case::Case;
use crate::cases::relay::{CLIENT_SETS, PREFIX_SETS, Relay, SERVICES};

/// The tables that an ingress relay keeps of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// [`relay_abi::client::ClientSet`].
    pub clients: Vec<[u64; 16]>,
    /// [`relay_abi::client::ClientDetails`].
    pub details: Vec<[u64; 16]>,
    /// [`relay_abi::limit::PrefixSet`].
    pub prefixes: Vec<[u64; 16]>,
    /// [`relay_abi::service_state::ServiceState`].
    pub states: Vec<[u64; 8]>,
    /// [`relay_abi::service_state::ServiceCounters`], of all CPUs together.
    pub counters: Vec<[u64; 22]>,
}

/// What they say.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub clients: Vec<Client>,
    pub prefixes: Vec<Prefix>,
    pub services: Vec<Service>,
}

impl Words {
    /// Tables that hold nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            clients: vec![[0; 16]; CLIENT_SETS as usize],
            details: vec![[0; 16]; CLIENT_SETS as usize * CLIENT_WAYS],
            prefixes: vec![[0; 16]; PREFIX_SETS as usize],
            states: vec![[0; 8]; SERVICES],
            counters: vec![[0; 22]; SERVICES],
        }
    }

    /// What a case starts with. What its clients have sent, their services have counted.
    pub fn of_case(case: &Case, relay: &Relay, clock: Clock) -> Result<Self> {
        let mut words = Self::empty();
        let Some(image) = &relay.image else { return Ok(words) };
        for text in &case.clients {
            words.enter(&Client::read(text)?, relay, &image.globals, clock)?;
        }
        for text in &case.prefixes {
            let prefix = Prefix::read(text)?;
            let number =
                set(prefix.key(relay)?, image.globals.table_seed, image.globals.prefix_mask) as usize;
            let free = (0..PREFIX_WAYS).find(|way| words.prefixes[number][4 * way] == 0);
            let way = free.with_context(|| format!("there is no room for the prefix {prefix}"))?;
            words.prefixes[number][4 * way..][..4].copy_from_slice(&prefix.words(relay, clock)?);
        }
        Ok(words)
    }

    fn enter(&mut self, client: &Client, relay: &Relay, globals: &Globals, clock: Clock) -> Result<()> {
        let number = set(client.key(relay)?, globals.table_seed, globals.client_mask) as usize;
        let free = (0..CLIENT_WAYS).find(|way| self.clients[number][4 * way] == 0);
        let way = free.with_context(|| format!("there is no room for the client {client}"))?;
        let (words, details) = client.words(relay, clock)?;
        self.clients[number][4 * way..][..4].copy_from_slice(&words);
        self.details[number * CLIENT_WAYS + way] = details;
        let counters = &mut self.counters[usize::from(relay.service_index(&client.service)?)];
        for (sum, count) in counters.iter_mut().zip(client.counts.forwarded) {
            *sum += count;
        }
        counters[5] += client.counts.dropped();
        Ok(())
    }

    /// What they say at a time.
    #[must_use]
    pub fn seen(&self, relay: &Relay, clock: Clock) -> Seen {
        let places = self.clients.iter().flat_map(|set| set.as_chunks().0).zip(&self.details).enumerate();
        let client = |(place, (words, details)): (usize, (&[u64; 4], &[u64; 16]))| {
            Client::from_words(place, *words, *details, relay, clock)
        };
        let prefixes = self.prefixes.iter().flat_map(|set| set.as_chunks().0);
        let services = (0..).zip(self.counters.iter().zip(&self.states));
        Seen {
            clients: places.filter_map(client).collect(),
            prefixes: prefixes.filter_map(|words| Prefix::from_words(*words, relay, clock)).collect(),
            services: services
                .map(|(index, (counters, state))| Service::from_words(index, counters, state, relay, clock))
                .collect(),
        }
    }
}

impl Seen {
    /// The counts of clients without a place, of the services that have any.
    #[must_use]
    pub fn gone(&self) -> Vec<Gone> {
        let gone = self.services.iter().map(|service| service.gone.clone());
        gone.filter(|gone| gone.counts != Counts::default()).collect()
    }
}
