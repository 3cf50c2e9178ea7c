//! Watching the clients beside the controller's loop: fair shares are worked out, and who stays over a limit is found.
//!
//! A thread of its own, for a walk over a million clients takes tens of milliseconds, which the loop must not. It sleeps at least
//! four times as long as its work took: however many clients there are, it takes no more than a fifth of a processor.
//!
//! When the controller ends, the fair shares stay as they are, as everything does in the packet path; the next start takes
//! them over and works them out anew within two looks.

mod bans;
mod shares;

use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::maps;

use crate::actions::NewBan;
use crate::clients::{ServiceTotals, Table};
use crate::compile;
use crate::config::policy::Limits;
use crate::config::valid::{Config, Role};
use crate::exit::Failure;
use crate::jiffies;
use crate::pinned::{Mapping, Node, ReadOnlyMap};
use crate::pins::Pins;
use crate::privileges;
use bans::Bans;
use shares::Shares;

/// How often clients are looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// Times as long as the work took that must pass before it is done again.
const REST: u32 = 5;
/// Bans that wait for the loop at most, in lots of one look.
const WAITING: usize = 4;

/// What is watched of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    /// Its name in the configuration.
    name: String,
    /// What holds for its clients.
    limits: Limits,
}

/// The services by their rows in the image; none at an egress relay.
fn watched(config: &Config) -> Vec<Watched> {
    let Role::Ingress(ingress) = &config.role else { return Vec::new() };
    let row = |service: &crate::config::valid::IngressService| Watched {
        name: service.name.clone(),
        limits: service.policy.limits,
    };
    compile::service_rows(ingress).map(row).collect()
}

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Watch {
    plans: Option<mpsc::Sender<Vec<Watched>>>,
    latest: Vec<Watched>,
    thread: Option<JoinHandle<()>>,
}

/// Clients to be banned, as they are found.
pub(super) type Offenders = tokio::sync::mpsc::Receiver<Vec<NewBan>>;

impl Watch {
    /// Starts the thread. `hz` is the length of a jiffy, `tick_shift` that of a tick of the tables.
    pub(super) fn start(
        config: &Config,
        pins: &Pins,
        hz: u32,
        tick_shift: u32,
    ) -> Result<(Self, Offenders), Failure> {
        let (to, offenders) = tokio::sync::mpsc::channel(WAITING);
        let mut watch = Self { plans: None, latest: Vec::new(), thread: None };
        if matches!(config.role, Role::Egress(_)) {
            return Ok((watch, offenders));
        }
        // Finding the kernel's clock takes capabilities that the thread will not have: it is found here.
        tracing::debug!("clients are watched from jiffy {} on", jiffies::now(hz));
        let tables = Tables::open(pins, hz, tick_shift)?;
        let (plans, changed) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch_all(tables, &changed, &to))
            .map_err(|error| Failure::io("start a thread", &error))?;
        (watch.plans, watch.thread) = (Some(plans), Some(thread));
        watch.update(config);
        Ok((watch, offenders))
    }

    /// Goes by this configuration from now on.
    pub(super) fn update(&mut self, config: &Config) {
        let rows = watched(config);
        if rows == self.latest {
            return;
        }
        self.latest.clone_from(&rows);
        if self.plans.as_ref().is_some_and(|plans| plans.send(rows).is_err()) {
            tracing::error!("clients are no longer watched: the thread for it has ended");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Without a sender the thread comes to its end.
        drop(self.plans.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What the thread reads, and the one thing it writes.
struct Tables {
    sets: Mapping<ClientSet>,
    details: Mapping<ClientDetails>,
    counters: ReadOnlyMap,
    fair_costs: Mapping<AtomicU64>,
    seed: u64,
    hz: u32,
    tick_shift: u32,
}

impl Tables {
    fn open(pins: &Pins, hz: u32, tick_shift: u32) -> Result<Self, Failure> {
        let node = Node::open(pins.clone())?;
        Ok(Self {
            sets: Mapping::read(&pins.map(maps::CLIENTS))?,
            details: Mapping::read(&pins.map(maps::CLIENT_DETAILS))?,
            counters: node.map(maps::SERVICE_COUNTERS)?,
            fair_costs: Mapping::write(&pins.map(maps::FAIR_COSTS))?,
            seed: node.meta().table_seed,
            hz,
            tick_shift,
        })
    }

    fn clients(&self) -> Table<'_> {
        Table::new(self.sets.values(), self.details.values(), self.seed)
    }

    fn totals(&self, service: usize) -> Result<ServiceTotals, Failure> {
        ServiceTotals::read(&self.counters, u8::try_from(service).unwrap_or(u8::MAX))
    }
}

fn watch_all(
    tables: Tables,
    changed: &mpsc::Receiver<Vec<Watched>>,
    to: &tokio::sync::mpsc::Sender<Vec<NewBan>>,
) {
    privileges::drop_all();
    let mut shares = Shares::default();
    let mut bans = Bans::default();
    let mut next = Instant::now();
    loop {
        let plan = if shares.is_idle() && bans.is_idle() {
            changed.recv().map_err(|_ended| RecvTimeoutError::Disconnected)
        } else {
            changed.recv_timeout(next.saturating_duration_since(Instant::now()))
        };
        match plan {
            Ok(rows) => {
                shares.plan(&rows, &tables);
                bans.plan(rows);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let start = Instant::now();
        let looked = shares.look(&tables, start).and_then(|()| bans.look(&tables, &shares, start));
        match looked {
            Ok(found) if found.is_empty() => {}
            // Who finds no room now is found again.
            Ok(found) => drop(to.try_send(found)),
            Err(failure) => tracing::error!("cannot look at the clients: {}", failure.message),
        }
        next = start + PERIOD.max(start.elapsed() * REST);
    }
}
