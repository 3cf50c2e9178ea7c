//! What the demo found, and the verdict: which of it is not as promised.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use relay_tests::topology::addresses::CLIENT;
use serde::Serialize;

pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Requests of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Count {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Moves requests that were expected to fail until they did not.
    pub(crate) fn succeeded(&mut self, requests: u64) {
        self.ok += requests;
        self.failed = self.failed.saturating_sub(requests);
    }
}

/// One relay's counters against what its devices saw.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RelayFinding {
    pub(crate) node: String,
    /// Packets that the XDP program of this relay was run for, says the kernel.
    pub(crate) seen_packets: u64,
    /// Packets in the relay's counters.
    pub(crate) counted_packets: u64,
    /// Packets that a device refused after the relay's verdict.
    pub(crate) lost_packets: u64,
    /// Verdicts that the relay counted and the kernel did not carry out as often.
    pub(crate) disagreements: Vec<String>,
    pub(crate) counters: Vec<CounterFinding>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CounterFinding {
    pub(crate) verdict: String,
    pub(crate) reason: String,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl RelayFinding {
    fn unexplained(&self) -> u64 {
        self.seen_packets.abs_diff(self.counted_packets) + self.lost_packets
    }
}

/// What a run found. All of it starts as bad as it can be: what was not looked at is not as promised.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Findings {
    pub(crate) name_resolved_to_vip: bool,
    pub(crate) https: Count,
    pub(crate) https_bytes: u64,
    pub(crate) udp: Count,
    pub(crate) ping: Count,
    /// How the service sees a client that asks over UDP.
    pub(crate) service_seen_as: Option<String>,
    #[serde(skip)]
    pub(crate) echo_peers: BTreeSet<Ipv4Addr>,
    /// Lines of the web server's access log, and those that begin with the client's address.
    pub(crate) access_log_lines: u64,
    pub(crate) access_log_lines_with_client: u64,
    /// `None` if the capture cannot tell.
    pub(crate) hidden_addresses_seen_by_client: Option<u64>,
    pub(crate) client_frames_scanned: u64,
    pub(crate) client_bytes_scanned: u64,
    /// Packets followed over all four points, and those of them seen at each.
    pub(crate) packets_followed: u64,
    pub(crate) packets_seen_at_each_point: u64,
    pub(crate) native_xdp: bool,
    /// Both, unless the counters of one could not be read.
    pub(crate) relays: Vec<RelayFinding>,
    pub(crate) seconds: f64,
    /// What went wrong on the way.
    #[serde(skip)]
    pub(crate) notes: Vec<String>,
}

impl Findings {
    /// The first line of it: programs that fail may say a lot.
    pub(crate) fn note(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        self.notes.push(text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned());
    }

    fn requests(&self) -> Count {
        let all = [self.https, self.udp, self.ping];
        Count { ok: all.iter().map(|each| each.ok).sum(), failed: all.iter().map(|each| each.failed).sum() }
    }

    /// `None` unless both relays could be asked.
    pub(crate) fn unexplained_packets(&self) -> Option<u64> {
        let known = self.relays.len() == 2 && self.relays.iter().all(|relay| relay.seen_packets > 0);
        known.then(|| self.relays.iter().map(RelayFinding::unexplained).sum())
    }

    /// In every line of the log, in the answer over UDP, at the echo.
    pub(crate) fn service_saw_client_address(&self) -> bool {
        let logged = self.access_log_lines > 0
            && self.access_log_lines == self.access_log_lines_with_client
            && self.access_log_lines >= self.https.ok;
        let answered = self.service_seen_as.as_deref().and_then(crate::stage::address_of) == Some(CLIENT);
        logged && answered && self.echo_peers == BTreeSet::from([CLIENT])
    }

    /// What is not as promised, one line each.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.notes.clone();
        let mut must = |right: bool, text: String| problems.extend((!right).then_some(text));
        must(self.name_resolved_to_vip, "the client's name server does not give the VIP".to_owned());
        for (what, count) in [("HTTPS", self.https), ("UDP", self.udp), ("ping", self.ping)] {
            let Count { ok, failed } = count;
            must(failed == 0 && ok > 0, format!("{what}: {ok} requests answered, {failed} failed"));
        }
        must(
            self.service_saw_client_address(),
            format!(
                "the service did not see the client's address {CLIENT} each time: {} of {} lines of the access log, \
                 {:?} over UDP, {:?} at the echo",
                self.access_log_lines_with_client,
                self.access_log_lines,
                self.service_seen_as.as_deref().unwrap_or("nothing"),
                self.echo_peers
            ),
        );
        match self.hidden_addresses_seen_by_client {
            Some(0) => {}
            Some(times) => must(false, format!("the client saw hidden addresses {times} times")),
            None => must(false, "nobody can say whether the client saw hidden addresses".to_owned()),
        }
        must(self.client_frames_scanned > 0, "no frame was captured at the client".to_owned());
        let (followed, whole) = (self.packets_followed, self.packets_seen_at_each_point);
        must(
            followed > 0 && followed == whole,
            format!("of {followed} packets followed, {whole} were seen at each of the four points"),
        );
        match self.unexplained_packets() {
            Some(0) => {}
            Some(packets) => {
                must(false, format!("{packets} packets are in no counter or were lost after one"))
            }
            None => must(false, "the relays' counters could not be compared with their devices'".to_owned()),
        }
        for relay in &self.relays {
            for text in &relay.disagreements {
                must(false, format!("the counters of {} do not add up: {text}", relay.node));
            }
        }
        must(self.native_xdp, "the program does not run in XDP's native mode on every device".to_owned());
        problems
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    schema_version: u32,
    pub(crate) ok: bool,
    requests_ok: u64,
    requests_failed: u64,
    service_saw_client_address: bool,
    unexplained_packets: Option<u64>,
    #[serde(flatten)]
    pub(crate) findings: Findings,
    pub(crate) problems: Vec<String>,
}

impl Summary {
    pub(crate) fn of(findings: Findings) -> Self {
        let problems = findings.problems();
        let Count { ok, failed } = findings.requests();
        Self {
            schema_version: SCHEMA_VERSION,
            ok: problems.is_empty(),
            requests_ok: ok,
            requests_failed: failed,
            service_saw_client_address: findings.service_saw_client_address(),
            unexplained_packets: findings.unexplained_packets(),
            findings,
            problems,
        }
    }

    /// The verdict for people: what was promised, whether it holds, the facts.
    pub(crate) fn lines(&self) -> Vec<(&'static str, bool, String)> {
        let number =
            |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let Findings { https, udp, ping, .. } = &self.findings;
        let hidden = self.findings.hidden_addresses_seen_by_client;
        vec![
            (
                "requests",
                self.requests_failed == 0 && self.requests_ok > 0,
                format!(
                    "{} answered ({} pages, {} datagrams, {} pings), {} failed",
                    self.requests_ok, https.ok, udp.ok, ping.ok, self.requests_failed
                ),
            ),
            ("hidden", hidden == Some(0), format!("{} hidden addresses seen by the client", number(hidden))),
            (
                "visible",
                self.service_saw_client_address,
                if self.service_saw_client_address {
                    format!("the service saw the client's own address {CLIENT}, every time")
                } else {
                    format!("the service did not see the client's own address {CLIENT} every time")
                },
            ),
            (
                "counted",
                self.unexplained_packets == Some(0),
                format!("{} packets unexplained", number(self.unexplained_packets)),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> RelayFinding {
        RelayFinding {
            node: "ingress-1".to_owned(),
            seen_packets: 9,
            counted_packets: 9,
            ..RelayFinding::default()
        }
    }

    fn good() -> Findings {
        let all = |ok| Count { ok, failed: 0 };
        Findings {
            name_resolved_to_vip: true,
            https: all(56),
            https_bytes: 11_000_000,
            udp: all(1001),
            ping: all(5),
            service_seen_as: Some(format!("{CLIENT}:4711")),
            echo_peers: BTreeSet::from([CLIENT]),
            access_log_lines: 56,
            access_log_lines_with_client: 56,
            hidden_addresses_seen_by_client: Some(0),
            client_frames_scanned: 20_000,
            client_bytes_scanned: 12_000_000,
            packets_followed: 5,
            packets_seen_at_each_point: 5,
            native_xdp: true,
            relays: vec![relay(), relay()],
            seconds: 4.2,
            notes: Vec::new(),
        }
    }

    #[test]
    fn all_as_promised_has_no_problem_and_names_the_published_fields() {
        let summary = Summary::of(good());
        assert!(summary.ok, "{:?}", summary.problems);
        let object = serde_json::to_value(&summary).unwrap();
        assert_eq!(object["requests_ok"], 1062);
        assert_eq!(object["requests_failed"], 0);
        assert_eq!(object["hidden_addresses_seen_by_client"], 0);
        assert_eq!(object["service_saw_client_address"], true);
        assert_eq!(object["unexplained_packets"], 0);
        assert!(summary.lines().iter().all(|(_, right, _)| *right));
    }

    #[test]
    fn what_was_not_looked_at_is_not_as_promised() {
        let summary = Summary::of(Findings::default());
        assert!(!summary.ok && summary.lines().iter().all(|(_, right, _)| !*right));
    }

    #[test]
    fn each_wrong_finding_alone_is_enough() {
        type Spoil = fn(&mut Findings);
        let spoilt: [(&str, Spoil); 22] = [
            ("name server", |findings| findings.name_resolved_to_vip = false),
            ("HTTPS: 55", |findings| findings.https = Count { ok: 55, failed: 1 }),
            ("HTTPS: 0", |findings| findings.https = Count::default()),
            ("UDP: 1000", |findings| findings.udp = Count { ok: 1000, failed: 1 }),
            ("UDP: 0", |findings| findings.udp = Count::default()),
            ("ping: 4", |findings| findings.ping = Count { ok: 4, failed: 1 }),
            ("ping: 0", |findings| findings.ping = Count::default()),
            ("the service did not see", |findings| findings.access_log_lines_with_client = 55),
            ("the service did not see", |findings| {
                (findings.access_log_lines, findings.access_log_lines_with_client) = (55, 55);
            }),
            ("the service did not see", |findings| {
                findings.service_seen_as = Some("10.0.0.2:4711".to_owned())
            }),
            ("the service did not see", |findings| findings.service_seen_as = None),
            ("the service did not see", |findings| {
                findings.echo_peers.insert(Ipv4Addr::new(10, 0, 0, 2));
            }),
            ("the service did not see", |findings| findings.echo_peers.clear()),
            ("the client saw hidden", |findings| findings.hidden_addresses_seen_by_client = Some(1)),
            ("nobody can say", |findings| findings.hidden_addresses_seen_by_client = None),
            ("no frame", |findings| findings.client_frames_scanned = 0),
            ("of 5 packets followed, 4", |findings| findings.packets_seen_at_each_point = 4),
            ("1 packets are in no counter", |findings| findings.relays[1].seen_packets += 1),
            ("1 packets are in no counter", |findings| findings.relays[0].lost_packets = 1),
            ("could not be compared", |findings| findings.relays.truncate(1)),
            ("do not add up", |findings| findings.relays[0].disagreements.push("drop".to_owned())),
            ("native mode", |findings| findings.native_xdp = false),
        ];
        for (expected, spoil) in spoilt {
            let mut findings = good();
            spoil(&mut findings);
            let summary = Summary::of(findings);
            assert!(!summary.ok, "{expected}");
            assert!(
                summary.problems.iter().any(|problem| problem.contains(expected)),
                "{:?}",
                summary.problems
            );
        }
        let mut findings = good();
        findings.note(&anyhow::anyhow!("the ingress relay ended:\nits log"));
        assert_eq!(Summary::of(findings).problems, ["the ingress relay ended"]);
    }

    #[test]
    fn a_request_is_failed_until_it_succeeded() {
        let mut count = Count { ok: 0, failed: 5 };
        count.succeeded(4);
        assert_eq!(count, Count { ok: 4, failed: 1 });
    }
}
