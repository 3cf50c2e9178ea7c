//! `xdp-relay doctor` on real hosts: each fault it knows is made, must be found, and must be gone after the command that it
//! prints was run as it stands. `status` beside it: what it says of relays that run, stand alone and are gone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::process::{Finished, output_of, run};
use relay_tests::relay::binary;
use relay_tests::relay_config::{RelayConfig, Service};
use relay_tests::topology::{Options, Place, Topology};
use relay_tests::{EndToEnd, Setup, privileged};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// Something made wrong on a relay's host, and what must be said of it.
struct Fault {
    /// The host that doctor is asked on.
    place: Place,
    /// The host that `make` is run on.
    made_at: Place,
    make: &'static str,
    check: &'static str,
    level: &'static str,
    /// Where the printed command is run, if not on the same host, with the device that it calls OTHER-END.
    mend_at: Option<(Place, &'static str)>,
}

const fn fault(place: Place, check: &'static str, level: &'static str, make: &'static str) -> Fault {
    Fault { place, made_at: place, make, check, level, mend_at: None }
}

const FAULTS: &[Fault] = &[
    fault(Place::Ingress, "interface", "fail", "ip link set dev public down"),
    fault(Place::Ingress, "forwarding", "warn", "sysctl -qw net.ipv4.conf.public.forwarding=1"),
    fault(Place::Ingress, "forwarding", "warn", "sysctl -qw net.ipv4.conf.tunnel.forwarding=1"),
    fault(Place::Egress, "forwarding", "warn", "sysctl -qw net.ipv4.conf.service.forwarding=1"),
    fault(Place::Egress, "ipv6_forwarding", "warn", "sysctl -qw net.ipv6.conf.all.forwarding=1"),
    fault(Place::Ingress, "vip", "warn", "ip address del 192.168.100.10/32 dev public"),
    Fault {
        made_at: Place::Egress,
        mend_at: Some((Place::Egress, "tunnel")),
        ..fault(Place::Ingress, "veth_receives", "fail", "ethtool -K tunnel gro off")
    },
    fault(Place::Ingress, "veth_checksum", "warn", "ethtool -K tunnel tx on"),
    fault(Place::Ingress, "vlan_offload", "warn", "ethtool -K public rxvlan on"),
    fault(Place::Ingress, "rp_filter", "warn", "sysctl -qw net.ipv4.conf.tunnel.rp_filter=1"),
    fault(Place::Egress, "rp_filter", "warn", "sysctl -qw net.ipv4.conf.service.rp_filter=1"),
    fault(Place::Ingress, "send_redirects", "warn", "sysctl -qw net.ipv4.conf.public.send_redirects=1"),
    fault(Place::Egress, "accept_redirects", "warn", "sysctl -qw net.ipv4.conf.service.accept_redirects=1"),
    fault(Place::Ingress, "tunnel_address", "fail", "ip address del 10.0.0.1/24 dev tunnel"),
    fault(Place::Ingress, "peer", "fail", "ip route add unreachable 10.0.0.2"),
    fault(Place::Ingress, "peer", "fail", "ip route replace 10.0.0.2 dev public"),
    fault(Place::Egress, "backend", "fail", "ip route add unreachable 192.168.100.51"),
    fault(Place::Egress, "backend", "fail", "ip route replace 192.168.100.51 dev tunnel"),
];

fn services() -> [Service; 1] {
    [Service::new("web", "tcp", 443, 443)]
}

/// Runs doctor on a host; gives its exit code and what it found.
fn doctor(topology: &Topology, place: Place) -> Result<(i32, Vec<Value>)> {
    let config = RelayConfig::of(topology, place, &services())?.write()?;
    let mut command = topology.at(place)?.command(binary()?);
    let finished = run(command.args(["doctor", "--json", "--config"]).arg(config), LIMIT)?;
    let code = finished.code();
    let report: Value = serde_json::from_str(&finished.stdout)
        .with_context(|| format!("read the report of doctor: {}{}", finished.stderr, finished.stdout))?;
    ensure!(report["schema_version"] == 1 && report["ok"] == (code == 0), "{report}");
    Ok((code, report["findings"].as_array().cloned().unwrap_or_default()))
}

/// The worst thing a check found.
fn worst<'a>(findings: &'a [Value], check: &str) -> Option<&'a Value> {
    let rank = |finding: &&Value| ["ok", "warn", "fail"].iter().position(|level| finding["level"] == *level);
    findings.iter().filter(|finding| finding["check"] == check).max_by_key(rank)
}

/// The part of an advice that a shell runs: before a remark in brackets, an alternative or another host's part.
fn command_in(fix: &str) -> &str {
    [" (", ", or ", ", and "].iter().fold(fix, |fix, end| fix.split(end).next().unwrap_or(fix))
}

fn shell(topology: &Topology, place: Place, line: &str) -> Result<()> {
    output_of(topology.at(place)?.command("bash").args(["-c", line])).map(drop)
}

/// Hosts on which doctor has nothing to say but what it cannot see.
fn healthy() -> Result<Topology> {
    let topology = Topology::build(Options::default())?;
    for (place, device) in [
        (Place::Ingress, "public"),
        (Place::Ingress, "tunnel"),
        (Place::Egress, "tunnel"),
        (Place::Egress, "service"),
    ] {
        // The relays at the ends of the tunnel are not started: without a program it is GRO that takes frames in.
        shell(&topology, place, &format!("ethtool -K {device} rxvlan off gro on"))?;
        shell(&topology, place, "ip link set dev tunnel mtu 1520")?;
        for name in ["all", device] {
            shell(&topology, place, &format!("sysctl -qw net.ipv4.conf.{name}.{{send,accept}}_redirects=0"))?;
        }
    }
    Ok(topology)
}

#[test]
fn a_healthy_host_passes() -> Result<()> {
    privileged("a_healthy_host_passes", || {
        let topology = healthy()?;
        for place in [Place::Ingress, Place::Egress] {
            let (code, findings) = doctor(&topology, place)?;
            let bad: Vec<&Value> = findings.iter().filter(|finding| finding["level"] != "ok").collect();
            ensure!(code == 0 && bad.is_empty(), "{}: {bad:?}", place.label());
        }
        Ok(())
    })
}

#[test]
fn each_fault_is_found_and_mended_by_the_command_printed_for_it() -> Result<()> {
    privileged("each_fault_is_found_and_mended_by_the_command_printed_for_it", || {
        let topology = healthy()?;
        for fault in FAULTS {
            find_and_mend(&topology, fault).with_context(|| fault.make)?;
        }
        Ok(())
    })
}

fn find_and_mend(topology: &Topology, fault: &Fault) -> Result<()> {
    shell(topology, fault.made_at, fault.make)?;
    let (code, findings) = doctor(topology, fault.place)?;
    let found = worst(&findings, fault.check).context("the check was not made")?;
    ensure!(found["level"] == fault.level, "found {found}");
    ensure!(
        code == i32::from(findings.iter().any(|finding| finding["level"] == "fail")),
        "ended with {code}"
    );
    let (place, other_end) = fault.mend_at.unwrap_or((fault.place, ""));
    let fix = found["fix"].as_str().context("nothing is said about mending it")?;
    shell(topology, place, &command_in(fix).replace("OTHER-END", other_end))?;
    let (_, findings) = doctor(topology, fault.place)?;
    let left = worst(&findings, fault.check).context("the check was not made again")?;
    ensure!(left["level"] == "ok", "after `{}`: {left}", command_in(fix));
    Ok(())
}

#[test]
fn large_packets_that_vanish_in_the_tunnel_are_noticed() -> Result<()> {
    privileged("large_packets_that_vanish_in_the_tunnel_are_noticed", || {
        let topology = healthy()?;
        // The kernel at the other end of the tunnel drops what is larger than this.
        shell(&topology, Place::Egress, "ip link set dev tunnel mtu 1300")?;
        let (code, findings) = doctor(&topology, Place::Ingress)?;
        let found = worst(&findings, "path_mtu").context("the path was not examined")?;
        ensure!(code == 1 && found["level"] == "fail", "{found}");
        shell(&topology, Place::Egress, "ip link set dev tunnel mtu 1520")?;
        let (code, findings) = doctor(&topology, Place::Ingress)?;
        ensure!(code == 0, "{findings:?}");
        Ok(())
    })
}

#[test]
fn hosts_that_do_not_answer_fail_unless_nothing_may_be_sent() -> Result<()> {
    privileged("hosts_that_do_not_answer_fail_unless_nothing_may_be_sent", || {
        let topology = healthy()?;
        shell(&topology, Place::Service, "ip address flush dev eth0").or_else(|_| {
            shell(
                &topology,
                Place::Service,
                "for d in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 8 > $d; done",
            )
        })?;
        shell(&topology, Place::Egress, "ip neighbour flush dev service")?;
        let config = RelayConfig::of(&topology, Place::Egress, &services())?.write()?;
        let mut offline = topology.at(Place::Egress)?.command(binary()?);
        let offline = run(offline.args(["doctor", "--offline", "--json", "--config"]).arg(config), LIMIT)?;
        ensure!(offline.code() == 0, "{}", offline.stdout);
        let neighbours = topology.at(Place::Egress)?.ip(&["neighbour", "show", "dev", "service"])?;
        ensure!(!neighbours.contains("192.168.100.51"), "it was asked for: {neighbours}");
        let (code, findings) = doctor(&topology, Place::Egress)?;
        let found = worst(&findings, "backend").context("the backend was not examined")?;
        ensure!(code == 1 && found["level"] == "fail", "{found}");
        ensure!(found["message"].as_str().unwrap_or_default().contains("answers no ARP request"), "{found}");
        Ok(())
    })
}

fn json(finished: Finished) -> Result<Value> {
    let text = finished.success()?;
    serde_json::from_str(&text).with_context(|| text)
}

#[test]
fn status_says_what_runs() -> Result<()> {
    privileged("status_says_what_runs", || {
        let mut system = EndToEnd::start(Setup::default())?;
        for (relay, role) in [(&system.ingress, "ingress"), (&system.egress, "egress")] {
            let status = json(relay.command("status", &["--json"])?)?;
            ensure!(status["role"] == role && status["controller"]["running"] == true, "{status}");
            ensure!(status["peers"][0]["resolved"] == true, "{status}");
            for interface in status["interfaces"].as_array().context("no interfaces")? {
                ensure!(interface["xdp_mode"] == "driver" && interface["up"] == true, "{status}");
            }
        }
        let status = json(system.egress.command("status", &["--json"])?)?;
        ensure!(status["flows"]["answered_entries"].as_u64() > Some(0), "{status}");
        ensure!(status["backends"][0]["resolved"] == true, "{status}");
        system.egress.kill()?;
        let status = json(system.egress.command("status", &["--json"])?)?;
        ensure!(
            status["controller"]["running"] == false && status["controller"]["pid"].is_null(),
            "{status}"
        );
        system.egress.unload()?;
        for command in ["status", "counters"] {
            let gone = system.egress.command(command, &["--json"])?;
            let error: Value = serde_json::from_str(&gone.stdout).context("read the failure")?;
            ensure!(gone.code() == 4 && error["error"]["code"] == "not_running", "{error}");
        }
        system.egress.start()?;
        system.finish()?;
        Ok(())
    })
}
