//! The controller: keeps what the packet path goes by equal to what the configuration and this host say.
//!
//! Every change, whatever it was, ends in the same round: routes, next hops, image, and a new generation when the image
//! would do anything else to a packet than the one in force.

mod bans;
mod client_neighbours;
mod debounce;
mod lists;
mod plan;
mod requests;
mod signals;
mod start;
mod watch;

use std::future::pending;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData, RingBuf};
use relay_abi::neighbour::{Neighbour, NeighbourKey};
use sd_notify::NotifyState;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::actions::{Actions, Saver};
use crate::api::{self, Request, Requests, Server};
use crate::compile::{self, Clock, Links, NextHops};
use crate::config::valid::Config;
use crate::events::{Drained, Journal, Ring};
use crate::exit::Failure;
use crate::lists::Lists;
use crate::load::Program;
use crate::lock::Lock;
use crate::neighbours::{
    Ask, Clients, Effect, Facts, MissLimit, NextHopTable, Way, ask_client, ask_clients, ask_hop,
};
use crate::netlink::{Event, Netlink};
use crate::pins::Pins;
use crate::privileges;
use crate::publish::Publisher;
use crate::timestamp::Timestamp;
use debounce::Debounce;
use signals::Signals;
use watch::{Offenders, Watch};

/// How often everything is read anew, in case an event was missed.
const REREAD: Duration = Duration::from_secs(30);
/// How often at least the clock is looked at for what is to end: it may have been set.
const CLOCK: Duration = Duration::from_secs(30);

/// Serves a configuration until SIGTERM or SIGINT. The data plane goes on without us, from its pins.
pub fn serve(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the event loop", &error))?;
    runtime.block_on(async {
        let node = config.node.clone();
        // Before anything else, so that a signal during the start is not lost.
        let mut signals = Signals::new().map_err(|error| Failure::io("catch signals", &error))?;
        // The first to fail if it must: nothing is attached yet. Callers wait until the relay is there.
        let server = Server::bind(&api::socket(&config.state_directory, &node))?;
        let (requests, asked) = Requests::channel();
        let journal = Journal::new(&node);
        let relay = tokio::select! {
            relay = Relay::start(config, journal.clone()) => relay?,
            name = signals.stop() => {
                tracing::info!("received {name} while starting");
                return Ok(());
            }
        };
        privileges::drop_unneeded();
        tokio::spawn(server.serve(api::router(requests, journal)));
        let result = relay.run(&mut signals, asked).await;
        notify(&[NotifyState::Stopping]);
        tracing::info!(
            "stopping; node {node} goes on relaying without a controller until `xdp-relay unload`"
        );
        result
    })
}

struct Relay {
    /// What the file says.
    config: Config,
    /// The same with the limits that are in force.
    effective: Config,
    /// What was done at run time.
    actions: Actions,
    /// When the next of it is over.
    next_end: Option<Instant>,
    saver: Saver,
    /// Who is blocked, allowed and banned.
    lists: Lists,
    clock: Clock,
    table_seed: u64,
    pins: Pins,
    _pins_lock: Lock,
    netlink: Netlink,
    facts: Facts,
    table: NextHopTable,
    /// What the image in force was compiled from.
    links: Links,
    next_hops: NextHops,
    program: Program,
    publisher: Publisher,
    neighbours: HashMap<MapData, NeighbourKey, Neighbour>,
    clients: Clients,
    misses: RingBuf<MapData>,
    miss_limit: MissLimit,
    events: Ring,
    watch: Watch,
    offenders: Offenders,
}

impl Relay {
    async fn run(mut self, signals: &mut Signals, mut asked: mpsc::Receiver<Request>) -> Result<(), Failure> {
        let missed = readiness(&self.misses)
            .map_err(|error| Failure::io("wait for the map NEIGHBOUR_MISSES", &error))?;
        let reported =
            readiness(&self.events).map_err(|error| Failure::io("wait for the map EVENTS", &error))?;
        let mut probing = interval(self.config.neighbours.probe_interval);
        probing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rereading = interval(REREAD);
        rereading.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = Debounce::default();
        let mut effect = Effect::None;

        self.report(true);
        loop {
            tokio::select! {
                name = signals.stop() => {
                    tracing::info!("received {name}");
                    return Ok(());
                }
                event = self.netlink.next_event() => {
                    let found = self.take(&event).await;
                    if found != Effect::None {
                        effect = stronger(effect, found);
                        round.note(Instant::now());
                    }
                }
                guard = missed.readable() => {
                    if let Ok(mut guard) = guard {
                        guard.clear_ready();
                    }
                    self.answer_misses().await;
                }
                guard = reported.readable() => {
                    let drained = self.events.drain([&self.links.edge, &self.links.tunnel]);
                    if let (Ok(mut guard), Drained::Whole) = (guard, drained) {
                        guard.clear_ready();
                    }
                }
                Some(request) = asked.recv() => self.answer(request),
                Some(found) = self.offenders.recv() => self.ban(found),
                () = until(self.next_end) => self.end_actions(),
                _ = probing.tick() => self.probe().await,
                _ = rereading.tick() => {
                    effect = Effect::All;
                    round.note(Instant::now());
                }
                () = until(round.due()) => {
                    round.act(Instant::now());
                    self.round(std::mem::replace(&mut effect, Effect::None)).await;
                }
            }
        }
    }

    /// Takes over an event, and does at once what cannot wait.
    async fn take(&mut self, event: &Event) -> Effect {
        if let Event::LinkGone(ifindex) = event
            && let Some(name) = self.named(*ifindex)
        {
            tracing::warn!("interface {name} is gone: nothing is relayed there until it is back");
        }
        if let Event::Link(link) = event
            && self.named(link.ifindex).is_some()
            && self.facts.link(&link.name).is_some_and(|before| before.up != link.up)
        {
            let state = if link.up { "up again" } else { "down: its packets are lost until it is up" };
            tracing::warn!("interface {} is {state}", link.name);
        }
        let effect = self.facts.apply(event);
        let (ifindex, address) = match event {
            Event::Neighbour(entry) => {
                self.learn_client(entry).await;
                (entry.ifindex, entry.address)
            }
            Event::NeighbourGone { ifindex, address } => (*ifindex, *address),
            _ => return effect,
        };
        let is_next_hop = self.table.uses(Way { ifindex, neighbour: address });
        if is_next_hop && ask_hop(self.facts.entry(ifindex, address)) == Some(Ask::Solicit) {
            ask(&self.netlink, Ask::Solicit, ifindex, address).await;
        }
        effect
    }

    /// Brings the packet path up to date.
    async fn round(&mut self, effect: Effect) {
        if effect == Effect::All {
            match start::read_facts(&self.netlink).await {
                Ok(facts) => {
                    self.facts = facts;
                    self.relearn_clients().await;
                }
                Err(failure) => tracing::error!("{}", failure.message),
            }
        }
        if matches!(effect, Effect::Routes | Effect::All) {
            match self.netlink.addresses().await {
                Ok(addresses) => self.facts.set_addresses(addresses),
                Err(refused) => tracing::error!("{refused}"),
            }
            find_routes(&self.config, &self.facts, &mut self.table, &self.netlink).await;
            self.ask_unresolved().await;
        }
        self.table.refresh(&self.facts);
        // While an interface is missing, the last known facts about it stay.
        let edge = plan::edge(&self.config);
        let links = self
            .facts
            .links(edge, &self.config.tunnel.interface, self.clock)
            .unwrap_or_else(|_| self.links.clone());
        let next_hops = self.table.resolved(&self.facts);
        let clients_move =
            links.edge.mac != self.links.edge.mac || links.edge.ifindex != self.links.edge.ifindex;
        if links != self.links || next_hops != self.next_hops {
            match self.publish(links, next_hops) {
                Ok(()) if clients_move => self.rewrite_clients(),
                Ok(()) => {}
                // The inputs stay those of the image in force, so the next round tries again.
                Err(failure) => tracing::error!("{}", failure.message),
            }
        }
        self.attach_again();
    }

    fn publish(&mut self, links: Links, next_hops: NextHops) -> Result<(), Failure> {
        let generation = self.publisher.next_generation().unwrap_or(1);
        let image = compile::compile(&self.effective, &links, &next_hops, self.table_seed, generation)
            .map_err(start::too_large)?;
        if self.publisher.changes(&image) {
            self.publisher.publish(&self.pins, image)?;
            tracing::info!("published generation {generation}");
            self.report(false);
        }
        self.watch.update(&self.effective);
        (self.links, self.next_hops) = (links, next_hops);
        Ok(())
    }

    /// Attaches to an interface that was made again.
    fn attach_again(&mut self) {
        let Ok(wanted) = plan::wanted(&self.config, &self.facts) else { return };
        let missing: Vec<_> = wanted
            .into_iter()
            .filter(|wanted| !self.program.is_attached(&wanted.interface, wanted.ifindex))
            .collect();
        if let Err(failure) = self.program.attach(&self.pins, &missing) {
            tracing::error!("{}", failure.message);
        }
    }

    /// Asks every next hop, and neighbours towards clients, whether they are still there.
    async fn probe(&mut self) {
        for way in self.table.ways() {
            if let Some(what) = ask_hop(self.facts.entry(way.ifindex, way.neighbour)) {
                ask(&self.netlink, what, way.ifindex, way.neighbour).await;
            }
        }
        let edge = self.links.edge.ifindex;
        let others = self
            .facts
            .entries_on(edge)
            .filter(|entry| !self.table.uses(Way { ifindex: edge, neighbour: entry.address }));
        for address in ask_clients(others) {
            ask(&self.netlink, Ask::Probe, edge, address).await;
        }
    }

    async fn ask_unresolved(&self) {
        for way in self.table.ways() {
            if let Some(what @ Ask::Solicit) = ask_hop(self.facts.entry(way.ifindex, way.neighbour)) {
                ask(&self.netlink, what, way.ifindex, way.neighbour).await;
            }
        }
    }

    /// Asks for the neighbours that the packet path missed.
    async fn answer_misses(&mut self) {
        let now = Instant::now();
        let mut missed = Vec::new();
        while let Some(record) = self.misses.next() {
            if let Ok(key) = bytemuck::try_pod_read_unaligned::<NeighbourKey>(&record)
                && self.miss_limit.admit(key, now)
            {
                missed.push(key);
            }
        }
        for key in missed {
            let address = Ipv4Addr::from(key.address.0);
            if let Some(what) = ask_client(self.facts.entry(key.ifindex, address)) {
                tracing::debug!("no neighbour {address} on interface {}", key.ifindex);
                ask(&self.netlink, what, key.ifindex, address).await;
            }
        }
    }

    /// Notes when the next of what was done at run time is over.
    fn note_end(&mut self) {
        let left = |end: Timestamp| end.0.duration_since(Timestamp::now().0).unwrap_or_default().min(CLOCK);
        self.next_end = self.actions.next_end().map(|end| Instant::now() + left(end));
    }

    fn named(&self, ifindex: u32) -> Option<&str> {
        [&self.links.edge, &self.links.tunnel]
            .into_iter()
            .find(|link| link.ifindex == ifindex)
            .map(|link| link.name.as_str())
    }

    /// Tells the service manager how things stand.
    fn report(&self, ready: bool) {
        let (all, open) = (self.table.len(), self.table.unresolved().len());
        let generation = self.publisher.next_generation().unwrap_or(1) - 1;
        let status = format!("generation {generation}, {} of {all} next hops resolved", all - open);
        if ready {
            tracing::info!("ready: {status}");
            notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else {
            notify(&[NotifyState::Status(&status)]);
        }
    }
}

/// Asks the kernel for the way to every target.
async fn find_routes(config: &Config, facts: &Facts, table: &mut NextHopTable, netlink: &Netlink) {
    let mut ways = Vec::with_capacity(table.len());
    for address in table.addresses() {
        // Peers are reached as outer packets will be sent: from the tunnel address.
        let is_peer = config.peers.iter().any(|peer| peer.address == address);
        let from = (is_peer && facts.owns(config.tunnel.local)).then_some(config.tunnel.local);
        ways.push(netlink.route(address, from).await);
    }
    table.set_ways(facts, &ways);
}

async fn ask(netlink: &Netlink, what: Ask, ifindex: u32, address: Ipv4Addr) {
    match what {
        Ask::Solicit => netlink.solicit(ifindex, address).await,
        Ask::Probe => netlink.probe(ifindex, address).await,
    }
}

fn stronger(a: Effect, b: Effect) -> Effect {
    let rank = |effect| match effect {
        Effect::None => 0,
        Effect::Neighbours => 1,
        Effect::Routes => 2,
        Effect::All => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Tells when the ring has records. Must be made inside the runtime.
fn readiness(ring: &impl AsFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    let descriptor = ring.as_fd().try_clone_to_owned()?;
    // SAFETY: an owned descriptor is the same open one as long as it lives, and the AsyncFd owns it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(Into::into)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify the service manager: {error}");
    }
}
