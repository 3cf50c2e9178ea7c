//! What the relays counted, by reason, against what the kernel counted at their devices.

use anyhow::Result;
use relay_tests::relay::Relay;

use crate::findings::{CounterFinding, Findings, RelayFinding};
use crate::screen::Screen;
use crate::stage::Stage;

pub(crate) fn show(stage: &Stage, screen: &Screen, findings: &mut Findings) {
    for (name, relay) in [("ingress", &stage.ingress), ("egress", &stage.egress)] {
        screen.heading(&format!("What became of the packets at the {name} relay (xdp-relay counters)"));
        match show_one(relay, screen) {
            Ok(finding) => findings.relays.push(finding),
            Err(error) => {
                screen.check("counted", false, &format!("{error:#}"));
                findings.note(&error);
            }
        }
    }
}

fn show_one(relay: &Relay, screen: &Screen) -> Result<RelayFinding> {
    let balance = relay.balance()?;
    let text = relay.command("counters", &[])?.success()?;
    screen.block(&text);
    let finding = RelayFinding {
        node: relay.node(),
        seen_packets: balance.devices.seen,
        counted_packets: balance.relay.packets(),
        lost_packets: balance.devices.lost(),
        disagreements: balance.faults(),
        counters: balance
            .relay
            .counters
            .into_iter()
            .filter(|counter| counter.packets > 0)
            .map(|counter| CounterFinding {
                verdict: counter.verdict,
                reason: counter.reason,
                packets: counter.packets,
                bytes: counter.bytes,
            })
            .collect(),
    };
    let right = finding.disagreements.is_empty() && finding.lost_packets == 0;
    let facts = format!(
        "the kernel ran the program for {} packets, {} are counted, {} were lost after the verdict",
        finding.seen_packets, finding.counted_packets, finding.lost_packets
    );
    screen.line("");
    screen.check("counted", right, &facts);
    Ok(finding)
}
