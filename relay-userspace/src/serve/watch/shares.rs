//! Fair shares: what each service's clients ask for, and the level that follows from it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use relay_abi::limits::SERVICES;

use super::{Tables, Watched};
use crate::clients::{Demand, Measured, Meter, SCALE, ServiceTotals, Share, Unit, cost_of, level_of};
use crate::compile::due_units;
use crate::config::policy::{Capacity, Limits};
use crate::exit::Failure;
use crate::jiffies;

/// How long after the last need for them measurements are remembered.
const MEMORY: Duration = Duration::from_secs(30);

/// The services that share their capacity.
#[derive(Default)]
pub(super) struct Shares {
    /// By service.
    rows: Vec<Option<Row>>,
    meter: Meter,
    /// The last look at all clients.
    measured: Option<Instant>,
    /// The last look at the counters of services.
    looked: Option<Instant>,
}

struct Row {
    name: String,
    unit: Unit,
    burst: u64,
    /// A client's own limit in the same unit.
    own: Option<u64>,
    share: Share,
    totals: ServiceTotals,
    demand: Demand,
    /// What was forwarded for clients that have a place.
    placed: u64,
}

impl Shares {
    /// Whether no service has a fair share.
    pub(super) fn is_idle(&self) -> bool {
        self.rows.iter().all(Option::is_none)
    }

    /// The fair share in force for a service.
    pub(super) fn level(&self, service: usize) -> Option<(Unit, f64)> {
        let row = self.rows.get(service)?.as_ref()?;
        row.share.level().map(|level| (row.unit, level))
    }

    /// Goes by these services from now on. Levels in force stay until the next look.
    pub(super) fn plan(&mut self, services: &[Watched], tables: &Tables) {
        let row = |(index, service): (usize, &Watched)| {
            let (unit, capacity) = match service.limits.fair? {
                Capacity::Packets(rate) => (Unit::Packets, rate),
                Capacity::Bytes(rate) => (Unit::Bytes, rate),
            };
            let cost = tables.fair_costs.values().get(index).map_or(0, |cost| cost.load(Relaxed));
            Some(Row {
                name: service.name.clone(),
                unit,
                burst: due_units(service.limits.burst, tables.hz),
                own: own(&service.limits, unit),
                share: Share::new(capacity, level_of(cost, unit, tables.hz)),
                totals: tables.totals(index).unwrap_or_default(),
                demand: Demand::default(),
                placed: 0,
            })
        };
        self.rows = services.iter().enumerate().map(row).collect();
        self.rows.resize_with(SERVICES, || None);
        for (row, cost) in self.rows.iter().zip(tables.fair_costs.values()) {
            if row.is_none() {
                cost.store(0, Relaxed);
            }
        }
        self.meter.forget();
        (self.measured, self.looked) = (None, None);
    }

    /// Looks at the services; where one nears its capacity, at the clients; and sets the level.
    pub(super) fn look(&mut self, tables: &Tables, now: Instant) -> Result<(), Failure> {
        if self.is_idle() {
            return Ok(());
        }
        let since = |before: Option<Instant>| before.map(|before| (now - before).as_secs_f64());
        let seconds = since(self.looked.replace(now));
        let mut wanted = false;
        let mut forwarded = [0; SERVICES];
        for (index, row) in self.rows.iter_mut().enumerate() {
            let Some(row) = row else { continue };
            let totals = tables.totals(index)?;
            forwarded[index] = row.unit.of(&totals).wrapping_sub(row.unit.of(&row.totals));
            row.totals = totals;
            wanted |= seconds.is_none_or(|seconds| {
                row.share.wants_measurement(forwarded[index] as f64 / seconds.max(0.001))
            });
        }
        if !wanted {
            self.rest(now);
            return Ok(());
        }
        let measured = since(self.measured.replace(now));
        self.measure(tables, measured.unwrap_or(0.0));
        let Some(seconds) = measured else { return Ok(()) };
        for (index, row) in self.rows.iter_mut().enumerate() {
            let Some(row) = row else { continue };
            row.settle(forwarded[index], seconds);
            if let Some(cost) = tables.fair_costs.values().get(index) {
                cost.store(cost_of(row.share.level(), row.unit, tables.hz), Relaxed);
            }
        }
        Ok(())
    }

    /// What each client asked for since the last look.
    fn measure(&mut self, tables: &Tables, seconds: f64) {
        let mut services = [None; SERVICES];
        for (measured, row) in services.iter_mut().zip(&mut self.rows) {
            let Some(row) = row else { continue };
            *measured =
                Some(Measured { unit: row.unit, burst: row.burst, limited: row.share.level().is_some() });
            row.demand.clear();
            row.placed = 0;
        }
        let rows = &mut self.rows;
        self.meter.look(&tables.clients(), &services, jiffies::now(tables.hz), |sent| {
            let Some(Some(row)) = rows.get_mut(usize::from(sent.service)) else { return };
            row.placed += sent.forwarded;
            if sent.exempt {
                return row.demand.add_exempt(sent.forwarded * SCALE);
            }
            // Beyond its own limit a client gets nothing in any case.
            let own = row.own.map_or(u64::MAX, |own| (own as f64 * seconds * SCALE as f64).ceil() as u64);
            row.demand.add(sent.asked.min(own));
        });
    }

    /// Nothing has to be measured.
    fn rest(&mut self, now: Instant) {
        self.meter.pause();
        if self.measured.is_some_and(|measured| now - measured > MEMORY) {
            self.meter.forget();
        }
        self.measured = None;
    }
}

impl Row {
    /// Works the level out, when so much of all clients was forwarded.
    fn settle(&mut self, forwarded: u64, seconds: f64) {
        // What went through without a place: each packet of another client, as when every source is a new one.
        let rest = forwarded.saturating_sub(self.placed);
        let size = match self.unit {
            Unit::Packets => 1,
            Unit::Bytes => self.totals.forward_bytes.checked_div(self.totals.forward_packets).unwrap_or(1),
        };
        self.demand.add_equal(size * SCALE, rest.checked_div(size).unwrap_or(0));
        let before = self.share.level();
        self.share.settle(&self.demand, seconds);
        let unit = self.unit.name();
        match (before, self.share.level()) {
            (None, Some(level)) => tracing::warn!(
                "service {}: {:.0} {unit} a second are asked for, more than it can take: clients get {level:.0} each",
                self.name,
                self.demand.total() as f64 / (seconds * SCALE as f64),
            ),
            (Some(_), None) => tracing::info!("service {} can take again all that is asked for", self.name),
            _ => {}
        }
    }
}

fn own(limits: &Limits, unit: Unit) -> Option<u64> {
    match unit {
        Unit::Packets => limits.client.packets,
        Unit::Bytes => limits.client.bytes,
    }
}
