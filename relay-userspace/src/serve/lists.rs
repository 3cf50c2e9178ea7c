//! Blocked, allowed and banned clients in the packet path.

use super::Relay;
use crate::actions::{Actions, Verdict};
use crate::api::{SCHEMA_VERSION, view};
use crate::exit::{Exit, Failure};

impl Relay {
    pub(super) fn put_lists_in_force(&mut self, _actions: &Actions) -> Result<(), Failure> {
        Err(Failure::new(Exit::Failed, "the packet path of this build has no lists"))
    }

    pub(super) fn show_rules(&self, verdict: Verdict, _all: bool) -> Result<view::Rules, Failure> {
        Ok(view::Rules {
            schema_version: SCHEMA_VERSION,
            node: self.config.node.clone(),
            kind: verdict.to_string(),
            rules: Vec::new(),
            left_out: 0,
        })
    }
}
