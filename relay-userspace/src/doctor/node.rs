//! Checks of what runs under the configured name.

use super::facts::Relay;
use super::finding::Finding;

/// All checks of the running node.
pub(super) fn check(relay: &Relay) -> Vec<Finding> {
    let node = &relay.config.node;
    let running = &relay.running;
    let controller = match running.controller {
        Some(pid) => Finding::ok("controller", node, format!("running (process {pid})")),
        None if running.programs.is_empty() => Finding::ok("controller", node, "not started"),
        None => Finding::warn(
            "controller",
            node,
            "not running: the data plane works on, but next hops are no longer kept fresh",
            "xdp-relay run --config FILE (with the same configuration: it takes over without losing a packet)",
        ),
    };
    let mut findings = vec![controller];
    if running.head_room_packets > 0 {
        findings.push(Finding::fail(
            "head_room",
            node,
            format!(
                "the driver left no room for the outer header in {} packets: they were dropped",
                running.head_room_packets
            ),
            "set interfaces.mode = \"generic\", or use another driver",
        ));
    } else if !running.programs.is_empty() {
        findings.push(Finding::ok("head_room", node, "every packet had room for the outer header"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::Running;
    use crate::doctor::finding::Level;
    use crate::doctor::sample;

    fn levels(running: Running) -> Vec<(&'static str, Level)> {
        let mut relay = sample::ingress();
        relay.running = running;
        check(&relay).into_iter().map(|finding| (finding.check, finding.level)).collect()
    }

    #[test]
    fn a_node_that_was_never_started_is_fine() {
        assert_eq!(levels(Running::default()), [("controller", Level::Ok)]);
    }

    #[test]
    fn a_data_plane_without_controller_is_worth_a_warning() {
        let running = Running { programs: vec![7], ..Running::default() };
        assert_eq!(levels(running), [("controller", Level::Warn), ("head_room", Level::Ok)]);
    }

    #[test]
    fn packets_without_head_room_fail() {
        let running =
            Running { controller: Some(1), programs: vec![7], head_room_packets: 3, others: Vec::new() };
        assert_eq!(levels(running), [("controller", Level::Ok), ("head_room", Level::Fail)]);
    }
}
