//! How to look around in a demo that was left up: commands to copy.

use anyhow::Result;
use relay_tests::relay::{Relay, binary};
use relay_tests::topology::{Namespace, Place};
use relay_tests::web_service::NAME;

use crate::stage::{Stage, WHO_AM_I};

pub(crate) fn text(stage: &Stage) -> Result<String> {
    let binary = binary()?;
    let topology = stage.topology();
    let (directory, client) = (topology.directory().display().to_string(), stage.client()?);
    let inside = |namespace: &Namespace| format!("nsenter --net={}", namespace.path().display());
    let relay = |relay: &Relay, command: &str| {
        format!(
            "{} {} {command} --pin-directory {}",
            inside(relay.namespace()),
            binary.display(),
            topology.pin_directory().display(),
        )
    };
    let at_client = format!("ip netns exec {}", client.name());
    let authority = stage.web.authority();
    let switch = inside(topology.at(Place::Switch)?);
    let service = inside(topology.at(Place::Service)?);
    let (tunnel, node) = (topology.switch_port(Place::Ingress)?, stage.ingress.node());
    let selected = |relay: &Relay| format!("--node {}", relay.node());
    let groups = [
        (
            "As the client (its own DNS: hence `ip netns exec`)",
            vec![
                format!("{at_client} curl --cacert {} https://{NAME}/", authority.display()),
                format!("{at_client} ping -c 3 {NAME}"),
                format!("echo 'who am I?' | {at_client} socat -t 1 - UDP:{NAME}:{WHO_AM_I}; echo"),
                format!("{at_client} tcpdump -ni any"),
            ],
        ),
        (
            "The relays (not `ip netns exec`, which hides the pins)",
            vec![
                relay(&stage.ingress, &format!("status {}", selected(&stage.ingress))),
                relay(&stage.egress, &format!("status {}", selected(&stage.egress))),
                relay(&stage.ingress, &format!("counters {}", selected(&stage.ingress))),
                relay(&stage.egress, &format!("counters {}", selected(&stage.egress))),
            ],
        ),
        (
            "The tunnel, outer and inner addresses; the service",
            vec![
                format!("{switch} tcpdump -vni {tunnel} proto 4"),
                format!("{service} tcpdump -ni any"),
                format!("tail -f {directory}/web/access.log"),
            ],
        ),
        (
            "Configurations and logs",
            vec![
                format!("cat {directory}/{node}.toml {directory}/{}.toml", stage.egress.node()),
                format!("tail {directory}/*.log"),
            ],
        ),
        ("Remove it all, with everything that runs in it", vec!["cargo xtask demo --down".to_owned()]),
    ];
    let mut text = "\nLeft up. As root:\n".to_owned();
    for (title, commands) in groups {
        text.push_str(&format!("\n  {title}\n"));
        for command in commands {
            text.push_str(&format!("    {command}\n"));
        }
    }
    Ok(text)
}
