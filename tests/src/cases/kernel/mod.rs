//! Cases in the kernel: the real object, run packet by packet by `BPF_PROG_TEST_RUN` in a network namespace of its own.

mod maps;
mod network;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use aya::maps::{MapData, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use relay_abi::event::{EVENT_BYTES, Event};
use relay_abi::limits::{CLIENT_WAYS, FLOW_WAYS};
use relay_abi::neighbour::NeighbourKey;
use relay_abi::{Verdict, maps as names};
use relay_userspace::load::OBJECT;

use self::maps::Maps;
use super::accounts::Words;
use super::case::Case;
use super::flow::{self, Flow};
use super::host;
use super::judge::{Observed, Runner};
use super::lists;
use super::packet;
use super::relay::{CLIENT_SETS, FLOW_ENTRIES, Machine, PREFIX_SETS, Relay, With};
use super::world;

/// Room for what a program writes.
const OUT: usize = 8192;
const CPU: usize = 0;

/// Runs cases in the kernel. Lives on the thread that made it: the thread is in the namespace.
pub struct Kernel {
    machine: Machine,
    ebpf: Ebpf,
    /// The same programs, for which nothing was ever published.
    blank: Ebpf,
    misses: RingBuf<MapData>,
    events: RingBuf<MapData>,
    /// The kernel's tick counter, and when it was read.
    clock: (u64, Instant),
}

impl Kernel {
    /// Moves the calling thread into a namespace of its own, and loads the programs there. The namespace ends with the thread.
    pub fn new() -> Result<Self> {
        stay_on_one_cpu()?;
        network::enter()?;
        let jiffies_per_second = relay_userspace::jiffies::jiffies_per_second()
            .context("ask for the length of the kernel's tick")?;
        let machine = Machine {
            edge: network::index(world::EDGE)?,
            tunnel: network::index(world::TUNNEL)?,
            jiffies_per_second,
        };
        let mut ebpf = load()?;
        for device in [world::EDGE, world::TUNNEL] {
            // Nothing is sent here; but only a device that runs a program can be named as the one a packet came in on.
            program(&mut ebpf, names::PROGRAM_INGRESS)?
                .attach(device, XdpMode::Driver)
                .with_context(|| format!("attach to {device}"))?;
        }
        let misses = ebpf.take_map(names::NEIGHBOUR_MISSES).context("the object lacks NEIGHBOUR_MISSES")?;
        let misses = RingBuf::try_from(misses).context("open NEIGHBOUR_MISSES")?;
        let events = ebpf.take_map(names::EVENTS).context("the object lacks EVENTS")?;
        let events = RingBuf::try_from(events).context("open EVENTS")?;
        let mut kernel = Self { machine, ebpf, blank: load()?, misses, events, clock: (0, Instant::now()) };
        kernel.set_clock()?;
        Ok(kernel)
    }

    /// Learns the tick counter from a token bucket that the program has just filled.
    fn set_clock(&mut self) -> Result<()> {
        let relay = Relay::new("ingress", &With::default(), self.machine)?;
        let mut maps = Maps(&mut self.ebpf);
        maps.publish(&relay)?;
        maps.set_buckets(&[])?;
        let frame = packet::frame("eth client_mac > edge_mac\nip client > vip ttl=1\nudp 1 > 53")?;
        let before = Instant::now();
        self.test_run(&relay, world::EDGE, &frame)?;
        let read = Maps(&mut self.ebpf).refilled()?;
        if read == 0 {
            bail!("cannot tell the kernel's clock: a packet with TTL 1 took no token");
        }
        self.clock = (read, before);
        Ok(())
    }

    /// The events of a packet, which hold it as it came in.
    fn events(&mut self, ifindex: u32, frame: &[u8], faults: &mut Vec<String>) -> Vec<(u8, usize, u64)> {
        let mut events = Vec::new();
        while let Some(record) = self.events.next() {
            let event: Event = match bytemuck::try_pod_read_unaligned(&record) {
                Ok(event) => event,
                Err(error) => {
                    faults.push(format!("an event of {} bytes: {error}", record.len()));
                    continue;
                }
            };
            let captured = frame.len().min(EVENT_BYTES);
            let (start, rest) = event.start.split_at(captured);
            if (event.ifindex, event.captured as usize, event.cpu as usize) != (ifindex, captured, CPU)
                || start != &frame[..captured]
                || rest.iter().any(|byte| *byte != 0)
            {
                faults.push(format!("an event is not about the packet: {event:?}"));
            }
            events.push((event.reason as u8, event.length as usize, u64::from(event.suppressed)));
        }
        events
    }

    fn now(&self) -> u64 {
        let (read, at) = self.clock;
        read + (at.elapsed().as_secs_f64() * f64::from(self.machine.jiffies_per_second)) as u64
    }

    fn test_run(&mut self, relay: &Relay, device: &str, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let context = context(frame.len(), relay.ifindex(device)?);
        let mut out = vec![super::frame::POISON; OUT];
        let object = if relay.image.is_some() { &mut self.ebpf } else { &mut self.blank };
        let result = program(object, relay.program())?
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("run the program {} on {} bytes", relay.program(), frame.len()))?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }
}

impl Runner for Kernel {
    fn machine(&self) -> Machine {
        self.machine
    }

    fn prepare(&mut self, case: &Case, relay: &Relay) -> Result<()> {
        network::set_forwarding(!relay.with.forwarding_off)?;
        let now = self.now();
        let mut maps = Maps(&mut self.ebpf);
        maps.publish(relay)?;
        maps.set_accounts(&Words::of_case(case, relay, relay.clock(now))?)?;
        maps.set_fair_costs(&relay.fair_costs(&case.fair)?)?;
        for (slot, list) in (0..).zip(lists::compiled(&case.lists, host::tick(relay, now))?) {
            maps.set_list(slot, list.lines())?;
        }
        maps.set_flows(&host::flow_words(case, relay, now)?)?;
        maps.set_spilled(&host::spilled_words(case, relay, now)?)?;
        maps.set_neighbours(&host::last_known(case, relay)?)?;
        maps.set_buckets(&host::buckets(relay, now))
    }

    fn run(&mut self, relay: &Relay, device: &str, frame: &[u8]) -> Result<Observed> {
        while self.misses.next().is_some() {}
        while self.events.next().is_some() {}
        let configured = relay.image.is_some();
        let zeroed = if configured { &mut self.ebpf } else { &mut self.blank };
        Maps(zeroed).clear_counters()?;
        Maps(&mut self.ebpf).clear_event_budgets()?;
        let (action, bytes) = self.test_run(relay, device, frame)?;
        let mut faults = Vec::new();
        let verdict = match action {
            1 => Some(Verdict::Drop),
            2 => Some(Verdict::Pass),
            3 => Some(Verdict::Transmit),
            4 => Some(Verdict::Redirect),
            _ => {
                faults.push(format!("the program returned {action}"));
                None
            }
        };
        let mut reports = Vec::new();
        while let Some(record) = self.misses.next() {
            match bytemuck::try_pod_read_unaligned::<NeighbourKey>(&record) {
                Ok(key) => reports.push(host::report(relay, &key)),
                Err(error) => faults.push(format!("a report of {} bytes: {error}", record.len())),
            }
        }
        let events = self.events(relay.ifindex(device)?, frame, &mut faults);
        let now = self.now();
        let tick = host::tick(relay, now);
        let counters = Maps(if configured { &mut self.ebpf } else { &mut self.blank }).counters()?;
        let mut maps = Maps(&mut self.ebpf);
        let spilled = maps.spilled()?;
        Ok(Observed {
            verdict,
            to: None,
            bytes,
            counters,
            flows: flow::flows(&maps.flows()?, &relay.config, tick),
            spilled: spilled
                .iter()
                .map(|(key, state)| Flow::from_words(key.addresses, *state, &relay.config, tick))
                .collect(),
            accounts: maps.accounts()?.seen(relay, relay.clock(now)),
            events,
            reports,
            faults,
        })
    }
}

fn load() -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    for (map, entries) in [
        (names::FLOWS, FLOW_ENTRIES / FLOW_WAYS as u32),
        (names::CLIENTS, CLIENT_SETS),
        (names::CLIENT_DETAILS, CLIENT_SETS * CLIENT_WAYS as u32),
        (names::PREFIXES, PREFIX_SETS),
    ] {
        loader.map_max_entries(map, entries);
    }
    let mut ebpf = loader.load(OBJECT).context("load the BPF object")?;
    for name in [names::PROGRAM_INGRESS, names::PROGRAM_EGRESS] {
        program(&mut ebpf, name)?.load().with_context(|| format!("load the program {name}"))?;
    }
    Ok(ebpf)
}

fn program<'ebpf>(ebpf: &'ebpf mut Ebpf, name: &str) -> Result<&'ebpf mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the object lacks the program {name}"))?;
    program.try_into().with_context(|| format!("{name} is no XDP program"))
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(length: usize, ifindex: u32) -> Vec<u8> {
    [0, length as u32, 0, ifindex, 0, 0].iter().flat_map(|field| field.to_ne_bytes()).collect()
}

/// Counters and token buckets are those of one CPU.
fn stay_on_one_cpu() -> Result<()> {
    // SAFETY: a set of CPUs is plain bits, for which zero is a value.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and the number within its size.
    unsafe { libc::CPU_SET(CPU, &mut cpus) };
    // SAFETY: the set is whole; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cpus) } != 0 {
        return Err(std::io::Error::last_os_error()).context("stay on one CPU");
    }
    Ok(())
}
