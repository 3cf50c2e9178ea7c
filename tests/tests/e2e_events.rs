//! What is dropped is reported: who, whose, why, and the packet itself; within a budget that no flood uses up for others.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_tests::end_to_end::{ECHO, WEB};
use relay_tests::process::{Background, output_of};
use relay_tests::topology::addresses::{BACKEND, CLIENT, INGRESS_PUBLIC, VIP};
use relay_tests::topology::plan::CLIENT_DEVICE;
use relay_tests::traffic::packets::{Hop, tcp_syn, udp};
use relay_tests::traffic::raw::{Injector, hop_to};
use relay_tests::waiting::{wait_for, wait_until};
use relay_tests::{EndToEnd, Setup, privileged};
use relay_userspace::events::Record;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(10);
const RATE: u64 = 20;
const IP: usize = 14;

/// A system whose relays report so many drops a second, and a way to send it broken frames.
struct Stage {
    system: EndToEnd,
    injector: Injector,
    hop: Hop,
}

impl Stage {
    fn start() -> Result<Self> {
        let extra = format!("[events]\nrate = {RATE}");
        let mut system = EndToEnd::start(Setup { ingress_extra: extra, ..Setup::default() })?;
        system.client_forges = true;
        let injector = Injector::open(system.client()?, CLIENT_DEVICE)?;
        let hop = hop_to(system.client()?, CLIENT_DEVICE, INGRESS_PUBLIC)?;
        Ok(Self { system, injector, hop })
    }

    fn datagram(&self, from: Ipv4Addr) -> Result<Vec<u8>> {
        let to = SocketAddrV4::new(VIP, ECHO);
        self.hop.frame(&udp(SocketAddrV4::new(from, 40_000), to, 64, &[7; 100])?)
    }

    /// Dropped as `ip_checksum`.
    fn wrong_sum(&self) -> Result<Vec<u8>> {
        let mut frame = self.datagram(CLIENT)?;
        frame[IP + 10] ^= 0x55;
        Ok(frame)
    }

    /// Dropped as `martian_source`.
    fn martian(&self) -> Result<Vec<u8>> {
        self.datagram(Ipv4Addr::new(127, 0, 0, 1))
    }

    /// Dropped as `tcp_data_offset`.
    fn no_header(&self) -> Result<Vec<u8>> {
        let syn = tcp_syn(SocketAddrV4::new(CLIENT, 40_001), SocketAddrV4::new(VIP, WEB), 1460)?;
        let mut frame = self.hop.frame(&syn)?;
        frame[IP + 20 + 12] = 0x10;
        Ok(frame)
    }

    /// The records of drops, as `events` prints them.
    fn drops(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let all = [&["events", "--json", "--limit", "10000"], arguments].concat();
        let text = self.system.ingress.control(&all)?.success()?;
        let records: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(records.into_iter().filter(|record| record["event"] == "drop").collect())
    }

    /// Waits for this many drops for a reason.
    fn wait_for_drops(&self, reason: &str, count: usize) -> Result<Vec<Value>> {
        wait_for(&format!("{count} events for {reason}"), PATIENCE, || {
            let found = self.drops(&["--reason", reason])?;
            Ok((found.len() >= count).then_some(found))
        })
    }

    /// Starts a command that talks to the ingress relay's controller.
    fn background(&self, arguments: &[&str], log: &Path) -> Result<Background> {
        let relay = &self.system.ingress;
        let mut command = Command::new(relay.binary());
        command.args(arguments).args(["--node", &relay.node(), "--state-directory"]);
        Background::start(command.arg(relay.state_directory()), log)
    }
}

fn ended_well(process: &mut Background) -> Result<()> {
    let ended = wait_for("a command to end", PATIENCE, || process.ended())?;
    ensure!(ended.success(), "ended with {ended}: {}", process.log());
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_dropped_packet_is_reported_with_all_that_is_known_of_it() -> Result<()> {
    privileged("a_dropped_packet_is_reported_with_all_that_is_known_of_it", || {
        let stage = Stage::start()?;
        let frames = [
            ("ip_checksum", stage.wrong_sum()?),
            ("martian_source", stage.martian()?),
            ("tcp_data_offset", stage.no_header()?),
        ];
        for (_, frame) in &frames {
            stage.injector.send(frame)?;
        }
        let before = std::time::SystemTime::now() - Duration::from_secs(60);
        for (reason, frame) in &frames {
            let event = &stage.wait_for_drops(reason, 1)?[0];
            ensure!(event["length_bytes"] == frame.len(), "{event}");
            ensure!(event["start"] == hexadecimal(&frame[..frame.len().min(64)]), "{event}");
            ensure!(event["interface"] == stage.system.ingress.devices()[0], "{event}");
            ensure!((&event["node"], &event["verdict"]) == (&"ingress-1".into(), &"drop".into()), "{event}");
            let time = Record::from_json(&event.to_string())?.time;
            ensure!(time > before && time < before + Duration::from_secs(120), "{event}");
        }
        let web = &stage.wait_for_drops("tcp_data_offset", 1)?[0];
        let told = ["client", "source_port", "destination", "destination_port", "protocol", "service"]
            .map(|field| web[field].to_string());
        let sent = [
            format!("\"{CLIENT}\""),
            "40001".into(),
            format!("\"{VIP}\""),
            WEB.to_string(),
            "\"tcp\"".into(),
            "\"web\"".into(),
        ];
        ensure!(told == sent, "{told:?}");
        ensure!(stage.drops(&["--client", "127.0.0.0/8"])?.len() == 1);
        let text = stage.system.ingress.control(&["events", "--reason", "tcp_data_offset"])?.success()?;
        let line = format!("drop tcp_data_offset tcp {CLIENT}:40001 > {VIP}:{WEB} service web on ");
        ensure!(text.contains(&line), "{text}");
        let misspelt = stage.system.ingress.control(&["events", "--reason", "tcp_data_ofset"])?;
        ensure!(misspelt.code() == 2 && misspelt.stderr.contains("did you mean `tcp_data_offset`?"));
        stage.system.finish()?;
        Ok(())
    })
}

#[test]
fn a_flood_for_one_reason_leaves_the_others_their_reports() -> Result<()> {
    privileged("a_flood_for_one_reason_leaves_the_others_their_reports", || {
        const FLOOD: usize = 30_000;
        let stage = Stage::start()?;
        // What is left out is counted for each CPU, and a packet is handled by the one that sent it.
        stay_on_one_cpu()?;
        let wrong = stage.wrong_sum()?;
        let start = Instant::now();
        for _ in 0..FLOOD {
            stage.injector.send(&wrong)?;
        }
        stage.injector.send(&stage.martian()?)?;
        stage.wait_for_drops("martian_source", 1)?;
        let seconds = start.elapsed().as_secs() + 2;
        let reported = stage.drops(&["--reason", "ip_checksum"])?.len() as u64;
        ensure!((1..=RATE * seconds).contains(&reported), "{reported} reports in {seconds} s");
        // One more, when there is budget again, tells of all that were left out.
        let told = wait_for("all that was left out to be told", PATIENCE, || {
            stage.injector.send(&wrong)?;
            std::thread::sleep(Duration::from_millis(100));
            let events = stage.drops(&["--reason", "ip_checksum"])?;
            let told: u64 = events.iter().filter_map(|event| event["suppressed_events"].as_u64()).sum();
            Ok((told >= FLOOD as u64 - reported).then_some((told, events)))
        })?;
        let (suppressed, events) = told;
        let dropped = stage.system.ingress.counters()?.with_reason("ip_checksum");
        ensure!(
            suppressed + events.len() as u64 == dropped,
            "{suppressed} and {} of {dropped}",
            events.len()
        );
        stage.system.finish()?;
        Ok(())
    })
}

#[test]
fn an_egress_relay_reports_what_it_drops_as_well() -> Result<()> {
    privileged("an_egress_relay_reports_what_it_drops_as_well", || {
        let system = EndToEnd::start(Setup::default())?;
        let from = SocketAddrV4::new(BACKEND, 9999);
        let unasked = udp(from, SocketAddrV4::new(CLIENT, 40_000), 64, b"unasked")?;
        system.service_wire()?.send(&unasked)?;
        let event = wait_for("the event", PATIENCE, || {
            let text =
                system.egress.control(&["events", "--json", "--reason", "service_initiated"])?.success()?;
            text.lines().next().map(serde_json::from_str::<Value>).transpose().context("read an event")
        })?;
        ensure!(event["client"] == CLIENT.to_string() && event["source"] == BACKEND.to_string(), "{event}");
        ensure!(event["node"] == "egress-1" && event["source_port"] == 9999, "{event}");
        system.finish()?;
        Ok(())
    })
}

fn stay_on_one_cpu() -> Result<()> {
    // SAFETY: a set of CPUs is plain bits, for which zero is a value.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and the number within its size.
    unsafe { libc::CPU_SET(0, &mut cpus) };
    // SAFETY: the set is whole; 0 is the calling thread.
    let set = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cpus) };
    ensure!(set == 0, "stay on one CPU: {}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
fn what_is_followed_can_be_read_back_and_outlives_the_controller() -> Result<()> {
    privileged("what_is_followed_can_be_read_back_and_outlives_the_controller", || {
        let mut stage = Stage::start()?;
        let log = stage.system.topology().directory().join("events.jsonl");
        let mut follower = stage.background(&["events", "--json", "--follow"], &log)?;
        for number in 1..=3 {
            stage.injector.send(&stage.martian()?)?;
            wait_until("a follower to get an event", PATIENCE, || {
                follower.must_run()?;
                Ok(follower.log().lines().filter(|line| line.contains("martian_source")).count() == number)
            })?;
        }
        // The ring is pinned: what is dropped while no controller runs is told by the next one.
        stage.system.ingress.stop()?;
        ensure!(wait_for("the follower to end", PATIENCE, || follower.ended())?.code() == Some(4));
        stage.injector.send(&stage.no_header()?)?;
        stage.system.ingress.start()?;
        stage.wait_for_drops("tcp_data_offset", 1)?;
        let binary = stage.system.ingress.binary();
        let lines = std::fs::read_to_string(&log)?;
        let events: String = lines
            .lines()
            .filter(|line| line.starts_with("{\"schema"))
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(&log, &events)?;
        let read = |arguments: &[&str]| {
            output_of(Command::new(binary).args(["events", "-r"]).arg(&log).args(arguments))
        };
        ensure!(read(&["--json"])? == events, "not as it was written: {events}");
        ensure!(read(&["--reason", "martian_source"])?.lines().count() == 3);
        ensure!(read(&["--client", "198.51.100.0/24"])?.is_empty());
        stage.system.finish()?;
        Ok(())
    })
}

#[test]
fn a_capture_opens_in_wireshark_and_says_why() -> Result<()> {
    privileged("a_capture_opens_in_wireshark_and_says_why", || {
        let stage = Stage::start()?;
        let directory = stage.system.topology().directory().to_owned();
        let file = directory.join("drops.pcapng");
        let name = file.to_str().context("a path that is no text")?;
        let mut capture = stage.background(
            &["capture", "--reason", "ip_checksum", "--reason", "tcp_data_offset", "-w", name],
            &directory.join("capture.log"),
        )?;
        wait_until("the capture to start", PATIENCE, || Ok(capture.log().contains("capturing")))?;
        // It subscribes right after it says so.
        let wanted =
            BTreeMap::from([("ip_checksum", stage.wrong_sum()?), ("tcp_data_offset", stage.no_header()?)]);
        wait_until("both reasons in the file", PATIENCE, || {
            stage.injector.send(&stage.martian()?)?;
            for frame in wanted.values() {
                stage.injector.send(frame)?;
            }
            std::thread::sleep(Duration::from_millis(100));
            let comments = comments(&file)?;
            Ok(wanted.keys().all(|reason| comments.iter().any(|comment| comment.starts_with(reason))))
        })?;
        capture.signal(libc::SIGINT)?;
        ended_well(&mut capture)?;
        let comments = comments(&file)?;
        ensure!(capture.log().contains(&format!("{} packets captured", comments.len())), "{}", capture.log());
        ensure!(!comments.iter().any(|comment| comment.starts_with("martian")), "{comments:?}");
        let help = relay_abi::Reason::TcpDataOffset.help();
        ensure!(
            comments.contains(&format!("tcp_data_offset: {help} Service web. Relay ingress-1.")),
            "{comments:?}"
        );
        let fields = [
            "-e",
            "ip.src",
            "-e",
            "ip.dst",
            "-e",
            "frame.len",
            "-e",
            "frame.cap_len",
            "-e",
            "frame.interface_name",
        ];
        let frames = tshark(&file, &[&["-Y", "udp"], &fields[..]].concat())?;
        let length = wanted["ip_checksum"].len();
        let device = stage.system.ingress.devices()[0];
        let first = format!("{CLIENT}\t{VIP}\t{length}\t64\t{device}");
        ensure!(frames.first() == Some(&first), "{frames:?}, not {first}");
        counted_captures_end_by_themselves(&stage, &directory)?;
        stage.system.finish()?;
        Ok(())
    })
}

fn counted_captures_end_by_themselves(stage: &Stage, directory: &Path) -> Result<()> {
    let file = directory.join("two.pcapng");
    let name = file.to_str().context("a path that is no text")?;
    let mut capture = stage.background(&["capture", "-c", "2", "-w", name], &directory.join("two.log"))?;
    wait_until("the capture to end", PATIENCE, || {
        stage.injector.send(&stage.martian()?)?;
        std::thread::sleep(Duration::from_millis(50));
        Ok(capture.ended()?.is_some())
    })?;
    ended_well(&mut capture)?;
    ensure!(comments(&file)?.len() == 2);
    let mut timed = stage.background(&["capture", "-s", "1", "-w", name], &directory.join("timed.log"))?;
    ended_well(&mut timed)
}

fn comments(file: &Path) -> Result<Vec<String>> {
    tshark(file, &["-e", "frame.comment"])
}

/// A line a packet, as the real tshark reads it.
fn tshark(file: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let text = output_of(Command::new("tshark").arg("-r").arg(file).args(["-T", "fields"]).args(arguments))?;
    Ok(text.lines().map(str::to_owned).collect())
}
