//! Cases in the kernel: the real object, run packet by packet by `BPF_PROG_TEST_RUN` in a network namespace of its own.

mod maps;
mod network;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use aya::maps::{MapData, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use relay_abi::limits::{CLIENT_WAYS, FLOW_WAYS};
use relay_abi::neighbour::NeighbourKey;
use relay_abi::{Verdict, maps as names};
use relay_userspace::load::OBJECT;

use self::maps::Maps;
use super::case::Case;
use super::flow::{self, Flow};
use super::host;
use super::judge::{Observed, Runner};
use super::packet;
use super::relay::{FLOW_ENTRIES, Machine, Relay, With};
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
        let mut ebpf = load(machine)?;
        for device in [world::EDGE, world::TUNNEL] {
            // Nothing is sent here; but only a device that runs a program can be named as the one a packet came in on.
            program(&mut ebpf, names::PROGRAM_INGRESS)?
                .attach(device, XdpMode::Driver)
                .with_context(|| format!("attach to {device}"))?;
        }
        let misses = ebpf.take_map(names::NEIGHBOUR_MISSES).context("the object lacks NEIGHBOUR_MISSES")?;
        let misses = RingBuf::try_from(misses).context("open NEIGHBOUR_MISSES")?;
        let mut kernel = Self { machine, ebpf, blank: load(machine)?, misses, clock: (0, Instant::now()) };
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
        maps.clear_clients()?;
        maps.set_flows(&host::flow_words(case, relay, now)?)?;
        maps.set_spilled(&host::spilled_words(case, relay, now)?)?;
        maps.set_neighbours(&host::last_known(case, relay)?)?;
        maps.set_buckets(&host::buckets(relay, now))
    }

    fn run(&mut self, relay: &Relay, device: &str, frame: &[u8]) -> Result<Observed> {
        while self.misses.next().is_some() {}
        let configured = relay.image.is_some();
        let zeroed = if configured { &mut self.ebpf } else { &mut self.blank };
        Maps(zeroed).clear_counters()?;
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
        let tick = host::tick(relay, self.now());
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
            reports,
            faults,
        })
    }
}

/// The object, with tables of the sizes that the relays of the cases have.
fn load(machine: Machine) -> Result<Ebpf> {
    let relay = Relay::new("ingress", &With::default(), machine)?;
    let globals = relay.image.context("a plain relay has an image")?.globals;
    let client_sets = globals.client_mask + 1;
    let mut ebpf = EbpfLoader::new()
        .map_max_entries(names::FLOWS, FLOW_ENTRIES / FLOW_WAYS as u32)
        .map_max_entries(names::CLIENTS, client_sets)
        .map_max_entries(names::CLIENT_DETAILS, client_sets * CLIENT_WAYS as u32)
        .map_max_entries(names::PREFIXES, globals.prefix_mask + 1)
        .load(OBJECT)
        .context("load the BPF object")?;
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
