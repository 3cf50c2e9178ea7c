//! `xdp-relay why`: what would become of a client's packet now, and why; and what was dropped of it lately.

mod controller;
mod text;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;
use relay_abi::Tally;
use relay_abi::reason::Action;
use serde::Serialize;

use crate::clients::Services;
use crate::command::output;
use crate::config::defaults::STATE_DIRECTORY;
use crate::events::DropsSeen;
use crate::exit::{Exit, Failure};
use crate::pinned::Selection;
use crate::rehearse::{Answer, Asked, Level, Listed, Place, Stage};
use crate::who::Who;
use crate::{api, privileges};
use controller::Controller;

const EXAMPLES: &str = "\
Examples:
  xdp-relay why 198.51.100.2
  xdp-relay why 198.51.100.2 --service web
  xdp-relay why 198.51.100.2 --service tcp/203.0.113.10:443 --json | jq '.services[].packets'

Makes up packets of the client and runs them through the packet path itself, loaded a second time on a copy of what the relay knows of the
client: nothing is counted, charged or changed. Needs root, as loading a relay does, and the relay's network namespace. The last drops are
samples, and come from the controller if it runs. Ends with 0 whatever the answer is; with 4 if no relay has pins, 5 if there
is no such service, 8 if a permission is missing.";

/// Say what would become of a client's packet now, and why
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Why {
    /// The client's IPv4 address
    address: Ipv4Addr,

    /// Only this service: its name, or protocol, address and port
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,

    #[command(flatten)]
    selection: Selection,

    /// Directory of the relay's control socket: `state_directory` of its configuration
    #[arg(long, value_name = "DIR", default_value = STATE_DIRECTORY)]
    state_directory: PathBuf,

    /// Print one JSON object
    #[arg(short, long)]
    json: bool,
}

#[derive(Serialize)]
struct Output {
    schema_version: u32,
    node: String,
    client: Ipv4Addr,
    /// False: the relay runs the program of another build of xdp-relay, this one was asked.
    same_program: bool,
    services: Vec<Row>,
    /// Null: no controller runs, which would remember them.
    drops: Option<Vec<DropsSeen>>,
}

/// The client at one service.
#[derive(Serialize)]
struct Row {
    service: String,
    /// Null: no controller runs, which would know it.
    name: Option<String>,
    verified: bool,
    place: Place,
    listed: Option<Rule>,
    limits: Vec<Level>,
    packets: Vec<Packet>,
}

/// The rule of a list that decides about the client.
#[derive(Serialize)]
struct Rule {
    #[serde(flatten)]
    listed: Listed,
    /// `runtime`, `config`, or the path of a file; this and what follows is null if it is not known: without a controller, for one.
    origin: Option<String>,
    reason: Option<String>,
    by: Option<Who>,
}

/// What would become of a packet.
#[derive(Serialize)]
struct Packet {
    packet: &'static str,
    #[serde(skip)]
    meaning: &'static str,
    #[serde(skip)]
    becomes: &'static str,
    verdict: &'static str,
    reason: &'static str,
    help: &'static str,
    /// The egress relay it would be sent to, and the host behind it.
    peer: Option<Ipv4Addr>,
    host: Option<Ipv4Addr>,
    tallies: Vec<&'static str>,
    #[serde(skip)]
    notes: Vec<&'static str>,
}

impl Why {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        output::json_failure(self.json, || {
            let found = self.found()?;
            if self.json {
                output::object(&found)?;
            } else {
                output::text(&found.text())?;
            }
            Ok(Exit::Ok)
        })
    }

    fn found(&self) -> Result<Output, Failure> {
        let node = self.selection.open()?;
        if node.role() != "ingress" {
            let message =
                format!("{} is an egress relay: clients are judged at ingress relays", node.pins().node());
            return Err(Failure::new(Exit::Usage, message).hint("ask an ingress relay: --node NAME"));
        }
        privileges::require()?;
        let controller = Controller::ask(&self.state_directory, &node, self.address)?;
        let services = Services::of(&*node.image()?);
        let wanted: Vec<u8> = match &self.service {
            Some(text) => controller.indices(&services, text)?,
            None => services.iter().map(|(index, _)| index).collect(),
        };
        let mut stage = Stage::open(&node)?;
        let mut rows = Vec::new();
        for index in wanted {
            let service = services.name(index);
            let name = controller.names.get(&service).cloned();
            let answer = stage.ask(self.address, index)?;
            let listed = answer.listed.map(|listed| controller.explain(listed, self.address)).transpose()?;
            rows.push(Row::new(service, name, listed, answer));
        }
        Ok(Output {
            schema_version: api::SCHEMA_VERSION,
            node: node.pins().node().to_owned(),
            client: self.address,
            same_program: stage.same_program(),
            services: rows,
            drops: controller.drops,
        })
    }
}

impl Row {
    fn new(service: String, name: Option<String>, listed: Option<Rule>, answer: Answer) -> Self {
        Self {
            service,
            name,
            verified: answer.verified,
            place: answer.place,
            listed,
            limits: answer.levels,
            packets: answer.packets.into_iter().map(Packet::new).collect(),
        }
    }
}

impl Packet {
    fn new(asked: Asked) -> Self {
        let (peer, host) = asked.sent_to.unzip();
        let telling = |tally: &&Tally| tells(**tally);
        Self {
            packet: asked.kind.label(),
            meaning: asked.kind.meaning(),
            becomes: match asked.reason.action() {
                Action::Send => "sent",
                Action::Pass => "left to the kernel",
                Action::Drop => "dropped",
            },
            verdict: asked.verdict.label(),
            reason: asked.reason.label(),
            help: asked.reason.help(),
            peer,
            host,
            tallies: asked.tallies.iter().map(|tally| tally.label()).collect(),
            notes: asked.tallies.iter().filter(telling).map(|tally| tally.help()).collect(),
        }
    }
}

/// Whether a tally says something about what becomes of the packet.
const fn tells(tally: Tally) -> bool {
    matches!(
        tally,
        Tally::ClientUnplaced
            | Tally::MarkedDown
            | Tally::ShadowReflectorPortVerified
            | Tally::ShadowReflectorPortUnproven
            | Tally::ShadowTcpFlagsVerified
            | Tally::ShadowTcpFlagsUnproven
            | Tally::ShadowSourcePortVerified
            | Tally::ShadowSourcePortUnproven
    )
}

#[cfg(test)]
mod tests {
    use relay_abi::{Reason, Verdict};

    use super::*;
    use crate::clients::Used;
    use crate::rehearse::Kind;

    fn level(scope: &'static str, used_microseconds: u64) -> Level {
        let used = Used {
            of: "packets",
            per_second: 1000,
            fair_share: false,
            burst_microseconds: 200_000,
            used_microseconds,
        };
        Level { scope, over: used.is_over(), used }
    }

    fn output() -> Output {
        let asked =
            |kind, verdict, reason, sent_to| Asked { kind, verdict, reason, tallies: Vec::new(), sent_to };
        let way = Some(([10, 0, 0, 2].into(), [192, 168, 100, 51].into()));
        let listed = Listed {
            list: "runtime",
            prefix: "198.51.100.0/24".parse().unwrap(),
            kind: "allowed",
            expires: None,
        };
        let rule = Rule {
            listed,
            origin: Some("runtime".into()),
            reason: Some("the office".into()),
            by: Some(Who { uid: 0, user: Some("root".into()), sudo_user: None }),
        };
        let answer = Answer {
            verified: true,
            place: Place::Known,
            listed: Some(listed),
            levels: vec![level("client", 201_250), level("service", 0)],
            packets: vec![
                asked(Kind::Syn, Verdict::Drop, Reason::LimitClientPackets, None),
                Asked {
                    tallies: vec![Tally::PaddingTrimmed, Tally::MarkedDown],
                    ..asked(Kind::Ack, Verdict::Redirect, Reason::ForwardEncapsulated, way)
                },
            ],
        };
        Output {
            schema_version: 1,
            node: "ingress-1".into(),
            client: [198, 51, 100, 2].into(),
            same_program: true,
            services: vec![Row::new("tcp 203.0.113.10:443".into(), Some("web".into()), Some(rule), answer)],
            drops: None,
        }
    }

    #[test]
    fn the_text_says_what_why_and_how_far() {
        let expected = "\
client 198.51.100.2 at ingress-1

service web (tcp 203.0.113.10:443)
  a SYN, for a new connection: dropped, limit_client_packets
    The client is over the service's limit of packets a second.
  an ACK, of an open connection: sent, forward_encapsulated
    A client's packet went into the tunnel to an egress relay.
    to 192.168.100.51 through relay 10.0.0.2
    A packet over a limit of its client or prefix passed, for its service's total had room.
  allowed as 198.51.100.0/24 by the runtime list, by root: the office
  proved that it receives at its address: yes
  limit of  what     a second  ahead ms  of ms
  client    packets      1000     201.2  200.0  over
  service   packets      1000       0.0  200.0

no controller runs, which would remember its last drops
";
        assert_eq!(output().text(), expected);
    }

    #[test]
    fn the_json_has_the_published_fields() {
        let json = serde_json::to_value(output()).unwrap();
        let web = &json["services"][0];
        assert_eq!((&web["name"], &web["place"]), (&"web".into(), &"known".into()));
        assert_eq!(
            (&web["packets"][0]["packet"], &web["packets"][0]["verdict"]),
            (&"tcp_syn".into(), &"drop".into())
        );
        assert_eq!(web["packets"][1]["tallies"], serde_json::json!(["padding_trimmed", "marked_down"]));
        assert_eq!((&web["limits"][0]["scope"], &web["limits"][0]["over"]), (&"client".into(), &true.into()));
        assert!(json["drops"].is_null());
        let listed = &web["listed"];
        assert_eq!((&listed["prefix"], &listed["kind"]), (&"198.51.100.0/24".into(), &"allowed".into()));
        assert_eq!((&listed["reason"], &listed["by"]["user"]), (&"the office".into(), &"root".into()));
    }
}
