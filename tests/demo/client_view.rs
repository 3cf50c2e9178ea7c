//! What the client can know: every byte of every frame on its link, searched for what is to stay hidden.

use std::net::Ipv4Addr;

use relay_tests::capture::Captured;
use relay_tests::hiding::scan;
use relay_tests::topology::addresses::{BACKEND, EGRESS_SERVICE, EGRESS_TUNNEL, INGRESS_TUNNEL};

use crate::findings::Findings;
use crate::screen::Screen;

/// Every address of this topology beyond the VIP.
const SOUGHT: [(Ipv4Addr, &str); 4] = [
    (BACKEND, "the service"),
    (EGRESS_TUNNEL, "the egress relay in the tunnel"),
    (EGRESS_SERVICE, "the egress relay towards the service"),
    (INGRESS_TUNNEL, "the ingress relay in the tunnel"),
];

pub(crate) fn show(captures: &[Captured], screen: &Screen, findings: &mut Findings) {
    screen.heading("What the client saw (all frames on its link, both directions, every byte)");
    let Some(client) = captures.first() else { return };
    let report = scan(&client.frames, &SOUGHT.map(|(address, _)| address), false);
    findings.client_frames_scanned = report.frames as u64;
    findings.client_bytes_scanned = report.bytes;
    screen.block(&format!(
        "{} frames, {} bytes, searched for these addresses, as bytes and as text:",
        report.frames, report.bytes
    ));
    for (address, whose) in SOUGHT {
        screen.block(&format!("  {:<15}  {whose}", address.to_string()));
    }
    if report.is_clean() && !report.by_chance.is_empty() {
        screen.block(&format!(
            "by chance {} times four equal bytes among random ones (sequence numbers, TLS); chance explains up to {}",
            report.by_chance.len(),
            report.by_chance_allowed
        ));
    }
    screen.line("");
    let seen = report.seen_by_client() as u64;
    for leak in report.leaks.iter().chain(if report.is_clean() { &[][..] } else { &report.by_chance[..] }) {
        screen.block(&leak.to_string());
    }
    let facts = match seen {
        0 => "0 bytes of hidden addresses".to_owned(),
        times => format!("hidden addresses were seen {times} times"),
    };
    screen.check("hidden", report.is_clean() && report.frames > 0, &facts);
    // A capture that missed frames can find a leak, but cannot find that there is none.
    match client.must_be_complete() {
        Ok(()) => findings.hidden_addresses_seen_by_client = Some(seen),
        Err(error) => {
            findings.hidden_addresses_seen_by_client = (seen > 0).then_some(seen);
            screen.check("hidden", false, &format!("{error:#}"));
            findings.note(&error);
        }
    }
    if let Err(error) = client.must_have_right_checksums(false) {
        findings.note(&error);
    }
}
