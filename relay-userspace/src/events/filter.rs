//! Which records somebody wants.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use relay_abi::Reason;
use relay_abi::reason::Action;
use serde::{Deserialize, Serialize};

use super::record::{Record, What};
use crate::config;
use crate::exit::{Exit, Failure};

/// Wanted records; the default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Labels of reasons; none for any.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Clients; `None` for any.
    #[serde(default)]
    pub client: Option<Ipv4Net>,
}

impl Filter {
    /// Takes what a user wrote. Refuses what no record can ever match.
    pub fn new(reasons: &[String], client: Option<&str>) -> Result<Self, Failure> {
        for label in reasons {
            reason(label)?;
        }
        Ok(Self { reasons: reasons.to_vec(), client: client.map(prefix).transpose()? })
    }

    /// Whether this record is wanted.
    #[must_use]
    pub fn admits(&self, record: &Record) -> bool {
        match &record.what {
            What::Drop(dropped) => {
                let reason =
                    self.reasons.is_empty() || self.reasons.iter().any(|label| *label == dropped.reason);
                let client = self
                    .client
                    .is_none_or(|prefix| dropped.client.is_some_and(|client| prefix.contains(&client)));
                reason && client
            }
            // That records are missing concerns whoever reads.
            What::Missed { .. } => true,
            What::Other(fields) => {
                let client = || fields.get("client")?.as_str()?.parse::<Ipv4Addr>().ok();
                self.reasons.is_empty()
                    && self
                        .client
                        .is_none_or(|prefix| client().is_some_and(|client| prefix.contains(&client)))
            }
        }
    }
}

/// The reason for a drop with this label.
pub fn reason(label: &str) -> Result<Reason, Failure> {
    let drops = || Reason::ALL.iter().filter(|reason| reason.action() == Action::Drop);
    if let Some(found) = drops().find(|reason| reason.label() == label) {
        return Ok(*found);
    }
    if let Some(other) = Reason::ALL.iter().find(|reason| reason.label() == label) {
        let becomes = if other.action() == Action::Send { "sent" } else { "left to the kernel" };
        return Err(Failure::new(
            Exit::Usage,
            format!("{label} is not a reason for a drop: such packets are {becomes}, and not sampled"),
        )
        .hint("`xdp-relay counters` counts them"));
    }
    let failure = Failure::new(Exit::Usage, format!("there is no reason {label:?}"));
    let meant = config::did_you_mean(label, drops().map(|reason| reason.label()));
    Err(failure.hint(meant.unwrap_or_else(|| "`xdp-relay counters --all` lists them".to_owned())))
}

/// A prefix of clients, or one client.
fn prefix(text: &str) -> Result<Ipv4Net, Failure> {
    let wrong = |why: &str| Failure::new(Exit::Usage, format!("{text:?} is no prefix of clients: {why}"));
    let net = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(net), _) => net,
        (_, Ok(address)) => address.into(),
        _ => return Err(wrong("it must be an address, or a prefix like 198.51.100.0/24")),
    };
    match net {
        IpNet::V4(net) => Ok(net.trunc()),
        IpNet::V6(_) => Err(wrong("IPv6 is not relayed, so nothing of it is dropped")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::sample::{dropped, record};
    use super::*;

    fn admits(reasons: &[&str], client: Option<&str>, record: &Record) -> bool {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        Filter::new(&reasons, client).unwrap().admits(record)
    }

    #[test]
    fn reason_and_client_must_both_be_wanted() {
        let record = record(1, dropped("blocked", [198, 51, 100, 2]));
        assert!(admits(&[], None, &record));
        assert!(admits(&["land", "blocked"], Some("198.51.100.0/24"), &record));
        assert!(admits(&[], Some("198.51.100.2"), &record));
        assert!(!admits(&["land"], None, &record));
        assert!(!admits(&["blocked"], Some("198.51.100.3"), &record));
    }

    #[test]
    fn one_without_a_client_is_of_no_prefix_and_gaps_concern_everybody() {
        let unread = Record {
            what: What::Drop(super::super::Dropped { client: None, ..dropped("land", [0; 4]) }),
            ..record(1, dropped("land", [0; 4]))
        };
        assert!(!admits(&[], Some("0.0.0.0/0"), &unread));
        let gap = Record { what: What::Missed { missed_records: 3 }, ..unread };
        assert!(admits(&["land"], Some("10.0.0.0/8"), &gap));
    }

    #[test]
    fn other_records_are_wanted_unless_a_reason_is_named() {
        let fields =
            [("event", "ban"), ("client", "198.51.100.2")].map(|(name, value)| (name.into(), value.into()));
        let ban =
            Record { what: What::Other(fields.into_iter().collect()), ..record(1, dropped("land", [0; 4])) };
        assert!(admits(&[], None, &ban));
        assert!(admits(&[], Some("198.51.100.0/24"), &ban));
        assert!(!admits(&[], Some("10.0.0.0/8"), &ban));
        assert!(!admits(&["blocked"], None, &ban));
    }

    #[test]
    fn what_can_never_match_is_refused_with_advice() {
        let hint = |label: &str| reason(label).unwrap_err().hint.unwrap();
        assert_eq!(hint("bloked"), "did you mean `blocked`?");
        assert!(hint("moonshine").contains("counters --all"));
        let sent = reason("forward_encapsulated").unwrap_err();
        assert!(sent.message.ends_with("are sent, and not sampled"), "{}", sent.message);
        assert!(reason("not_a_service").unwrap_err().message.contains("left to the kernel"));
        assert_eq!(reason("land").unwrap(), Reason::Land);
    }

    #[test]
    fn prefixes_are_ipv4() {
        let refused = |text: &str| Filter::new(&[], Some(text)).unwrap_err();
        assert_eq!(refused("2001:db8::/32").exit, Exit::Usage);
        assert!(refused("2001:db8::1").message.contains("IPv6"));
        assert!(refused("example.org").message.contains("198.51.100.0/24"));
        let set = Filter::new(&[], Some("198.51.100.2/24")).unwrap();
        assert_eq!(set.client.unwrap().to_string(), "198.51.100.0/24");
    }
}
