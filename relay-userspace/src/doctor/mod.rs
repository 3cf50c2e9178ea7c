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
        Wanted::Unusable(failure) => findings.push(Finding::fail(
            "configuration",
            "",
            failure.message.clone(),
            failure.hint.clone().unwrap_or_else(|| "xdp-relay check FILE says what is wrong".to_owned()),
        )),
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
