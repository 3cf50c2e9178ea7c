//! What is wrong with this machine and these interfaces, and which command mends it.
//!
//! [`gather`] asks the kernel, the checks judge: each of them is a pure function of [`facts::Facts`].

pub mod facts;
pub mod finding;
pub mod gather;
mod interfaces;
mod machine;
mod node;
mod routing;
#[cfg(test)]
mod sample;

use facts::{Facts, Wanted};
use finding::Finding;

/// Every finding, in the order a person would look: machine, configuration, interfaces, ways, what runs.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = machine::check(&facts.machine);
    match &facts.relay {
        Wanted::Nothing => {}
        Wanted::Unusable(complaints) => {
            for complaint in complaints {
                findings.push(Finding::fail("configuration", "", &complaint.message, &complaint.fix));
            }
        }
        Wanted::Relay(relay) => {
            findings.push(Finding::ok(
                "configuration",
                "",
                "valid; the hash key, if it names one, is readable and private",
            ));
            for link in &relay.links {
                findings.extend(interfaces::check(relay, link));
            }
            findings.extend(routing::check(relay));
            findings.extend(node::check(relay));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use facts::Complaint;
    use finding::Level;

    #[test]
    fn each_problem_of_a_configuration_is_a_finding() {
        let complaint =
            |key: &str| Complaint { message: format!("{key} is wrong"), fix: format!("mend {key}") };
        let relay = Wanted::Unusable(vec![complaint("role"), complaint("node")]);
        let findings = examine(&Facts { machine: sample::machine(), relay });
        let failed: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.level == Level::Fail)
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(failed, ["role is wrong", "node is wrong"]);
    }

    #[test]
    fn good_relays_on_a_good_machine_pass() {
        for relay in [sample::ingress(), sample::egress()] {
            let facts = Facts { machine: sample::machine(), relay: Wanted::Relay(Box::new(relay)) };
            let findings = examine(&facts);
            assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:?}");
            assert!(finding::text(&findings).ends_with("0 to look at, 0 failed\n"));
        }
    }
}
