//! A prefix that an operator blocked or allowed.

use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;
use crate::who::Who;

/// What an operator says of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its packets are dropped.
    Block,
    /// Its clients are neither limited nor banned, whatever the configuration says.
    Allow,
}

impl Verdict {
    /// The word for a prefix of this kind.
    #[must_use]
    pub const fn participle(self) -> &'static str {
        match self {
            Self::Block => "blocked",
            Self::Allow => "allowed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Allow => "allow",
        })
    }
}

/// A prefix that an operator blocked or allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Number of this action on this relay.
    pub id: u64,
    /// What is said of it.
    pub verdict: Verdict,
    /// Without bits set behind its length.
    pub prefix: Ipv4Net,
    /// Why.
    pub reason: Option<String>,
    /// Who said it last.
    pub by: Who,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until it is removed.
    pub expires: Option<Timestamp>,
}
