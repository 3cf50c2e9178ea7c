//! From a configuration to a running data plane.

use std::time::{Duration, Instant};

use relay_abi::{Image, limits};

use super::lists::Configured;
use super::watch::Watch;
use super::{Relay, plan};
use crate::actions::{self, Saver};
use crate::audit;
use crate::compile;
use crate::config::valid::{Config, Role};
use crate::events::{Decoder, Journal, Ring};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::jiffies;
use crate::load::{self, Adopted, Found, Maps, Served};
use crate::lock;
use crate::neighbours::{Clients, Facts, MissLimit, NextHopTable};
use crate::netlink::Netlink;
use crate::pins::Pins;
use crate::timestamp::Timestamp;

/// How long the first attachment waits for next hops.
const FIRST_RESOLUTION: Duration = Duration::from_secs(3);

impl Relay {
    /// Brings the data plane up, or takes over the one that is running; see [`crate::load`] for the order.
    pub(super) async fn start(config: Config, journal: Journal) -> Result<Self, Failure> {
        // Before anything is changed: what runs goes on if a file is wrong.
        let listed = Configured::read(&config)?;
        let clock = jiffies::clock().map_err(|error| Failure::io("find out the kernel's tick", &error))?;
        let mut netlink = Netlink::open().map_err(|error| Failure::io("open a netlink socket", &error))?;
        let facts = read_facts(&netlink).await?;
        let links = check_links(&config, &facts, clock)?;

        let kind = plan::kind(&config);
        let pins = Pins::new(&config.pin_directory, &config.node);
        pins.create()?;
        let pins_lock = lock::lock_pins(&pins)?;
        let found = load::examine(&pins, &kind)?;
        let wanted = plan::wanted(&config, &facts)?;
        load::refuse_foreign(&pins, &wanted)?;

        let mut hops = Hops { facts, table: NextHopTable::new(plan::targets(&config)) };
        let (table_seed, generation) = match &found {
            Found::Complete(Adopted { table_seed, image: Some(image) }) => {
                hops.remember(image);
                (*table_seed, image.globals.generation + 1)
            }
            Found::Complete(Adopted { table_seed, image: None }) => (*table_seed, 1),
            Found::Nothing => (random_seed()?, 1),
        };
        hops.resolve_all(&config, &mut netlink).await;
        let Hops { facts, table } = hops;
        let links = facts.links(plan::edge(&config), &config.tunnel.interface, clock).unwrap_or(links);
        let next_hops = table.resolved(&facts);
        let file = actions::path(&config.state_directory, &config.node);
        let mut actions = actions::load(&file);
        actions.expire(Timestamp::now());
        for service in actions.give_up_unfit(&config) {
            tracing::warn!(
                "the limits of {service} are as configured: what was changed at run time does not go with that"
            );
        }
        let effective = actions.effective(&config);
        let image =
            compile::compile(&effective, &links, &next_hops, table_seed, generation).map_err(too_large)?;

        let mut maps;
        let memory = compile::table_memory(&config);
        match found {
            Found::Complete(_) => {
                maps = Maps::adopt(&pins, &kind)?;
                maps.publisher.publish(&pins, image)?;
                tracing::info!(
                    "adopted the maps in {}, generation {generation}: {memory} of tables",
                    pins.directory().display()
                );
            }
            Found::Nothing => {
                maps = Maps::create(&kind, table_seed)?;
                maps.publisher.publish(&pins, image)?;
                maps.pin(&pins)?;
                tracing::info!(
                    "made and pinned new maps in {}: {memory} of tables",
                    pins.directory().display()
                );
            }
        }
        let lists = listed.put_in_force(&mut maps, &pins, clock, &actions)?;
        let (mut program, served) = maps.load(&kind)?;
        program.attach(&pins, &wanted)?;
        program.pin(&pins)?;
        program.detach_others(&pins, &wanted)?;

        let hz = clock.jiffies_per_second;
        let (watch, offenders) = Watch::start(&effective, &pins, hz, compile::tick_shift(hz))?;
        let saver = Saver::start(file, audit::Log::new(&config.state_directory, &config.node))?;
        let Served { publisher, neighbours, misses, events } = served;
        let events = Ring::new(events, Decoder::new(&config), journal);
        let mut relay = Self {
            config,
            effective,
            actions,
            next_end: None,
            saver,
            lists,
            clock,
            table_seed,
            pins,
            _pins_lock: pins_lock,
            netlink,
            facts,
            table,
            links,
            next_hops,
            program,
            publisher,
            neighbours,
            clients: Clients::new(limits::NEIGHBOURS as usize),
            misses,
            miss_limit: MissLimit::default(),
            events,
            watch,
            offenders,
        };
        relay.note_end();
        relay.remember_clients();
        relay.relearn_clients().await;
        Ok(relay)
    }
}

struct Hops {
    facts: Facts,
    table: NextHopTable,
}

impl Hops {
    /// Takes over the next hops of the image in force.
    fn remember(&mut self, image: &Image) {
        let peers = image.peers.iter().map(|peer| (peer.address, &peer.next_hop));
        let backends = image.backends.iter().map(|backend| (backend.address, &backend.next_hop));
        for (address, hop) in peers.chain(backends).filter(|(_, hop)| hop.ifindex != 0) {
            let [[a, b, c, d], [e, f, ..], _] = hop.stations.map(u32::to_ne_bytes);
            self.table.remember(&self.facts, address.0.into(), hop.ifindex, [a, b, c, d, e, f]);
        }
    }

    /// Finds out the next hops, waiting a while for those that do not answer at once.
    async fn resolve_all(&mut self, config: &Config, netlink: &mut Netlink) {
        let deadline = Instant::now() + FIRST_RESOLUTION;
        loop {
            super::find_routes(config, &self.facts, &mut self.table, netlink).await;
            self.table.refresh(&self.facts);
            if self.table.unresolved().is_empty() {
                return;
            }
            for way in self.table.ways() {
                let entry = self.facts.entry(way.ifindex, way.neighbour);
                if let Some(ask) = crate::neighbours::ask_client(entry) {
                    super::ask(netlink, ask, way.ifindex, way.neighbour).await;
                }
            }
            let step = deadline.min(Instant::now() + Duration::from_millis(200));
            while let Ok(event) = tokio::time::timeout_at(step.into(), netlink.next_event()).await {
                self.facts.apply(&event);
                self.table.refresh(&self.facts);
                if self.table.unresolved().is_empty() {
                    return;
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        for target in self.table.unresolved() {
            tracing::warn!(
                "{} ({}) does not answer on {}: its packets are dropped until it does",
                target.name,
                target.address,
                target.interface
            );
        }
    }
}

/// Reads everything anew.
pub(super) async fn read_facts(netlink: &Netlink) -> Result<Facts, Failure> {
    let failed = |error: crate::netlink::Refused| Failure::new(Exit::Failed, error.to_string());
    let links = netlink.links().await.map_err(failed)?;
    let addresses = netlink.addresses().await.map_err(failed)?;
    let neighbours = netlink.neighbours().await.map_err(failed)?;
    Ok(Facts::new(links, addresses, neighbours))
}

fn check_links(config: &Config, facts: &Facts, clock: compile::Clock) -> Result<compile::Links, Failure> {
    let links = facts.links(plan::edge(config), &config.tunnel.interface, clock).map_err(|why| {
        Failure::new(Exit::Failed, format!("cannot attach: {why}"))
            .hint("compare `ip -br link` with [interfaces] in the configuration")
    })?;
    for interface in plan::interfaces(config) {
        if facts.link(interface).is_some_and(|link| !link.up) {
            tracing::warn!("interface {interface} is down or has no carrier");
        }
    }
    if matches!(config.role, Role::Ingress(_)) {
        match host::let_routes_be_asked() {
            Ok(false) => {}
            Ok(true) => tracing::info!(
                "switched net.ipv4.conf.lo.forwarding on: XDP asks the kernel for routes through it"
            ),
            Err(error) => tracing::warn!(
                "net.ipv4.conf.lo.forwarding is off and cannot be switched on ({error}), so nothing returns to clients: \
                 sysctl -w net.ipv4.conf.lo.forwarding=1"
            ),
        }
    }
    if !facts.owns(config.tunnel.local) {
        tracing::warn!(
            "this host does not have the address {} ([tunnel] local): the peers' packets will not find it",
            config.tunnel.local
        );
    }
    Ok(links)
}

fn random_seed() -> Result<u64, Failure> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is as long as said.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(read) != Ok(bytes.len()) {
        return Err(Failure::io("read random bytes", &std::io::Error::last_os_error()));
    }
    Ok(u64::from_ne_bytes(bytes))
}

/// The configuration does not fit the tables.
pub(super) fn too_large(error: compile::Error) -> Failure {
    Failure::new(Exit::ConfigInvalid, format!("cannot compile the configuration: {error}"))
}
