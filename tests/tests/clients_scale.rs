//! A client table of a million clients, filled through its mapping and read by the code of the commands.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytemuck::Zeroable;
use relay_abi::client::{
    ClientDetails, ClientSet, DETAILED, DropClass, VERIFIED, count, key, place, set, state,
};
use relay_abi::image::Service;
use relay_abi::limit::DUE_SHIFT;
use relay_abi::limits::{CLIENT_WAYS, SERVICES};
use relay_abi::meta::ROLE_INGRESS;
use relay_abi::{Be16, Image, Ipv4, maps};
use relay_tests::relay::binary;
use relay_tests::{privileged, process};
use relay_userspace::clients::{Clients, Demand, Filter, Measured, Meter, Sort, Unit};
use relay_userspace::command::clients::lines;
use relay_userspace::load::{Kind, Maps};
use relay_userspace::pinned::{Mapping, Node};
use relay_userspace::pins::{DEFAULT_PIN_DIRECTORY, Pins};
use serde_json::Value;

const SEED: u64 = 0x0bad_cafe_1234_5677;
const SETS: u32 = 1 << 19;
const CLIENTS: u32 = 1_000_000;
/// What the work may take, in times of what is aimed at: the machine may be a slow one, and so is a build with checks.
const PATIENCE: u32 = if cfg!(debug_assertions) { 30 } else { 10 };

#[test]
fn a_million_clients_are_sorted_and_exported_in_time() -> Result<()> {
    privileged("a_million_clients_are_sorted_and_exported_in_time", || {
        let pins = Pins::new(DEFAULT_PIN_DIRECTORY.as_ref(), &format!("scale-{}", std::process::id()));
        let result = with_tables(&pins);
        pins.remove_leftovers().context("remove the pins")?;
        pins.remove_directory().context("remove the directory of the pins")?;
        result
    })
}

fn with_tables(pins: &Pins) -> Result<()> {
    let kind = Kind {
        role: ROLE_INGRESS,
        program: maps::PROGRAM_INGRESS,
        sizes: vec![(maps::CLIENTS, SETS), (maps::CLIENT_DETAILS, SETS * CLIENT_WAYS as u32)],
    };
    pins.create().context("make a directory for the pins")?;
    let mut tables = Maps::create(&kind, SEED).context("make the maps")?;
    tables.publisher.publish(pins, image()).context("publish an image")?;
    tables.pin(pins).context("pin the maps")?;
    let filled = fill(pins)?;
    let node = Node::open(pins.clone()).context("open the pins")?;

    let clients = timed("map the table", Duration::from_millis(100), || Clients::open(&node))??;
    ensure!(clients.table().count() == (filled.placed, filled.verified), "{:?}", clients.table().count());

    let everybody = Filter::default();
    let top = |sort, several| clients.table().top(&everybody, sort, 20, several);
    let aim = Duration::from_millis(300);
    let by_bytes = timed("sort by bytes", aim, || top(Sort::Bytes, false))?;
    let summed = timed("sort by bytes, summed over services", aim, || top(Sort::Bytes, true))?;
    timed("sort by drops", aim, || top(Sort::Drops, false))?;
    let largest: Vec<Ipv4Addr> = (0..20).map(|n| Ipv4Addr::from_bits(filled.largest - n)).collect();
    ensure!(by_bytes.addresses == largest && summed.addresses == largest, "{:?}", by_bytes.addresses);
    ensure!(by_bytes.matching == filled.placed);

    let sums = timed("add up all clients", aim, || clients.table().sums())?;
    ensure!(sums.of(0).packets + sums.of(1).packets == filled.packets, "{:?} {:?}", sums.of(0), sums.of(1));

    measure(pins, &clients, filled.placed)?;

    let mut to = Counter::default();
    let before = own_memory()?;
    timed("export as JSON lines", Duration::from_secs(5), || lines(&clients, &everybody, &mut to))??;
    let grown = own_memory()?.saturating_sub(before);
    println!("{} lines, {} bytes; memory grew by {grown} KiB", to.lines, to.bytes);
    ensure!(to.lines == filled.placed, "{} lines for {} clients", to.lines, filled.placed);
    ensure!(grown < 4096, "memory grew by {grown} KiB");
    commands(&node, &largest, filled.placed)
}

/// What the controller does ten times a second while a service is asked for more than it can take, at its worst: every client has sent
/// something since the last look, and something was dropped of it.
fn measure(pins: &Pins, clients: &Clients, placed: u64) -> Result<()> {
    const BURST: u64 = 50 << DUE_SHIFT;
    let sets = Mapping::<ClientSet>::write(&pins.map(maps::CLIENTS)).context("map the clients")?;
    let services = [Some(Measured { unit: Unit::Packets, burst: BURST, limited: true }); SERVICES];
    let (mut meter, mut demand) = (Meter::default(), Demand::default());
    let mut sent = 0;
    let aim = Duration::from_millis(100);
    for look in ["first", "second", "third"] {
        let jiffies = clients.moment().jiffies;
        for client in
            sets.values().iter().flat_map(|set| &set.0).filter(|client| client.state.load(Relaxed) != 0)
        {
            client.counts.fetch_add(count(100), Relaxed);
            client.dues[0].store((jiffies << DUE_SHIFT) + 2 * BURST, Relaxed);
        }
        timed(&format!("{look} look at what each client sent"), aim, || {
            meter.look(&clients.table(), &services, jiffies, |client| {
                sent += client.forwarded;
                demand.add(client.asked);
            });
        })?;
    }
    ensure!(sent == 2 * placed, "{sent} packets, not {placed} twice");
    timed("work out a fair share", aim, || demand.level(placed as f64 / 2.0))?.context("no level")?;
    Ok(())
}

/// What the commands print of the same table.
fn commands(node: &Node, largest: &[Ipv4Addr], placed: u64) -> Result<()> {
    let run = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(binary()?);
        command.args(arguments).arg("--node").arg(node.pins().node());
        let ended = process::run(&mut command, Duration::from_secs(60))?;
        ensure!(ended.code() == 0, "{arguments:?} ended with {}: {}", ended.code(), ended.stderr);
        Ok(ended.stdout)
    };
    print!(
        "{}{}{}",
        run(&["status"])?,
        run(&["clients", "--top", "3"])?,
        run(&["client", "show", "198.18.0.9"])?
    );
    let top: Value = serde_json::from_str(&run(&["clients", "--json"])?)?;
    let addresses = top["clients"].as_array().context("no clients")?.iter().map(|row| &row["address"]);
    ensure!(
        addresses.eq(largest.iter().map(|address| address.to_string()).collect::<Vec<String>>().iter()),
        "{top}"
    );
    let client = &top["clients"][0];
    ensure!(client["forward_packets"] == 15 && client["drops"][0]["packets"] == 3, "{client}");
    ensure!(top["matching_clients"] == placed, "{top}");

    let few =
        run(&["clients", "--json-lines", "--filter", "198.18.1.0/24", "--service", "tcp 203.0.113.10:53"])?;
    ensure!((100..=128).contains(&few.lines().count()), "{} lines", few.lines().count());
    let line: Value = serde_json::from_str(few.lines().next().context("no line")?)?;
    ensure!(line["service"] == "tcp 203.0.113.10:53" && line["drop_packets"] == 3, "{line}");

    let mut unknown = Command::new(binary()?);
    unknown.args(["client", "show", "192.0.2.1", "--json", "--node", node.pins().node()]);
    let ended = process::run(&mut unknown, Duration::from_secs(20))?;
    ensure!(
        ended.code() == 5 && ended.stdout.contains("\"not_found\""),
        "{}: {}",
        ended.code(),
        ended.stdout
    );
    Ok(())
}

struct Filled {
    placed: u64,
    verified: u64,
    packets: u64,
    /// The largest clients are this address and those below.
    largest: u32,
}

/// Fills the table through a mapping, as the packet path would: as many as find a place.
fn fill(pins: &Pins) -> Result<Filled> {
    let sets = Mapping::<ClientSet>::write(&pins.map(maps::CLIENTS)).context("map the clients")?;
    let details =
        Mapping::<ClientDetails>::write(&pins.map(maps::CLIENT_DETAILS)).context("map the details")?;
    let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    let mut filled = Filled { placed: 0, verified: 0, packets: 0, largest: base + CLIENTS - 1 };
    let largest: BTreeSet<u32> = (filled.largest - 20..=filled.largest).collect();
    for address in (base..base + CLIENTS).rev() {
        let key = key(Ipv4(address.to_be_bytes()), (address & 1) as u16);
        let set = set(key, SEED, SETS - 1);
        let ways = &sets.values()[set as usize].0;
        let Some(way) = ways.iter().position(|client| client.state.load(Relaxed) == 0) else {
            ensure!(!largest.contains(&address), "a set is full too early");
            continue;
        };
        let verified = address % 3 == 0;
        let flags = DETAILED | if verified { VERIFIED } else { 0 };
        ways[way].state.store(state(key, flags, 100), Relaxed);
        ways[way].counts.store(count(100) * 7, Relaxed);
        let cold = &details.values()[place(set, way as u32) as usize];
        cold.packets.store(5, Relaxed);
        cold.bytes.store(u64::from(address), Relaxed);
        cold.drops[DropClass::LimitPackets as usize].store(3, Relaxed);
        filled.placed += 1;
        filled.packets += 12;
        filled.verified += u64::from(verified);
    }
    println!("{} of {CLIENTS} clients found a place", filled.placed);
    Ok(filled)
}

fn image() -> Box<Image> {
    let mut image = bytemuck::allocation::zeroed_box::<Image>();
    image.globals.generation = 1;
    image.globals.tick_shift = 8;
    image.globals.client_mask = SETS - 1;
    for (index, port) in [(0, 443), (1, 53)] {
        image.services[index] =
            Service { vip: Ipv4([203, 0, 113, 10]), port: Be16::new(port), protocol: 6, ..Service::zeroed() };
    }
    image
}

/// Times work by the processor time it takes: others may be busy on this machine.
fn timed<T>(what: &str, aim: Duration, work: impl FnOnce() -> T) -> Result<T> {
    let (start, clock) = (processor_time()?, Instant::now());
    let result = work();
    let (took, clock) = (processor_time()?.saturating_sub(start), clock.elapsed());
    println!("{what}: {:.1} ms, {:.1} by the clock", took.as_secs_f64() * 1e3, clock.as_secs_f64() * 1e3);
    ensure!(took < aim * PATIENCE, "{what} took {took:?}, {aim:?} is aimed at");
    Ok(result)
}

/// Processor time of this thread.
fn processor_time() -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for one timespec.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    ensure!(status == 0, "clock_gettime: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// Memory of this process that is its own, in KiB: mapped tables do not count.
fn own_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    line.trim().trim_end_matches(" kB").parse().context("read RssAnon")
}

/// Counts what is written.
#[derive(Default)]
struct Counter {
    lines: u64,
    bytes: u64,
}

impl std::io::Write for &mut Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
