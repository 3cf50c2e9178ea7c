//! Every packet that the relay's program saw must be in exactly one of its counters, what was lost after the verdict must be
//! known, and the accounts of the clients must add up to the counters.
//!
//! What a veth counts (kernel 6.18, tried frame by frame): `rx_queue_N_xdp_packets` are the frames that passed the polled
//! receive path, which exists from the moment a program is attached (GRO off) and so equals the program's runs;
//! `_xdp_drops` those dropped by verdict or by a failed program; `_xdp_tx` and `_xdp_tx_errors` those sent back, well or
//! not; `_xdp_redirect` those handed to another device; `_drops` redirects refused at once (no receiver, too long, device
//! down). `tx_queue_N_xdp_xmit` and `_xdp_xmit_errors` are what a device made of redirects to it, later.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::accounts::Accounts;
use crate::process::output_of;
use crate::topology::Namespace;

/// What a relay's devices counted of the frames that ran through XDP, summed over devices and queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceCounters {
    pub seen: u64,
    pub dropped: u64,
    pub transmitted: u64,
    pub transmit_refused: u64,
    pub redirected: u64,
    /// Redirects refused at once.
    pub redirect_refused: u64,
    /// Redirects that the device took but did not send.
    pub redirect_lost: u64,
}

/// What `xdp-relay counters --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RelayCounters {
    pub node: String,
    pub role: String,
    pub counters: Vec<Counter>,
    #[serde(default)]
    pub tallies: Vec<TallyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Counter {
    pub verdict: String,
    pub reason: String,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TallyValue {
    pub name: String,
    pub value: u64,
}

impl DeviceCounters {
    pub fn read(namespace: &Namespace, devices: &[&str]) -> Result<Self> {
        let mut sum = Self::default();
        for device in devices {
            let text = output_of(namespace.command("ethtool").args(["-S", device]))
                .with_context(|| format!("read the XDP counters of {device}"))?;
            sum = sum.plus(&Self::parse(&text));
        }
        Ok(sum)
    }

    /// What was counted since `baseline`.
    pub fn since(&self, baseline: &Self) -> Self {
        self.zip(baseline, u64::saturating_sub)
    }

    /// Packets lost after the program had sent them.
    pub fn lost(&self) -> u64 {
        self.transmit_refused + self.redirect_refused + self.redirect_lost
    }

    fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    fn zip(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            seen: join(self.seen, other.seen),
            dropped: join(self.dropped, other.dropped),
            transmitted: join(self.transmitted, other.transmitted),
            transmit_refused: join(self.transmit_refused, other.transmit_refused),
            redirected: join(self.redirected, other.redirected),
            redirect_refused: join(self.redirect_refused, other.redirect_refused),
            redirect_lost: join(self.redirect_lost, other.redirect_lost),
        }
    }

    fn parse(ethtool: &str) -> Self {
        let mut sum = Self::default();
        for line in ethtool.lines() {
            let Some((name, value)) = line.trim().split_once(':') else { continue };
            let Ok(value) = value.trim().parse::<u64>() else { continue };
            // The name without `rx_queue_N_` or `tx_queue_N_`.
            let mut parts = name.splitn(4, '_');
            let (direction, kind) = (parts.next(), parts.nth(2));
            match (direction, kind) {
                (Some("rx"), Some("xdp_packets")) => sum.seen += value,
                (Some("rx"), Some("xdp_drops")) => sum.dropped += value,
                (Some("rx"), Some("xdp_tx")) => sum.transmitted += value,
                (Some("rx"), Some("xdp_tx_errors")) => sum.transmit_refused += value,
                (Some("rx"), Some("xdp_redirect")) => sum.redirected += value,
                (Some("rx"), Some("drops")) => sum.redirect_refused += value,
                (Some("tx"), Some("xdp_xmit_errors")) => sum.redirect_lost += value,
                _ => {}
            }
        }
        sum
    }
}

impl RelayCounters {
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).with_context(|| format!("read the relay's counters: {json}"))
    }

    /// Packets with this verdict, over all reasons.
    pub fn with_verdict(&self, verdict: &str) -> u64 {
        self.counters.iter().filter(|counter| counter.verdict == verdict).map(|counter| counter.packets).sum()
    }

    /// Packets with this reason, over all verdicts.
    pub fn with_reason(&self, reason: &str) -> u64 {
        self.counters.iter().filter(|counter| counter.reason == reason).map(|counter| counter.packets).sum()
    }

    /// How often something beside the packets' ends happened.
    pub fn tally(&self, name: &str) -> u64 {
        self.tallies.iter().filter(|tally| tally.name == name).map(|tally| tally.value).sum()
    }

    pub fn packets(&self) -> u64 {
        self.counters.iter().map(|counter| counter.packets).sum()
    }

    /// Which reasons counted more packets than in `before`, and how many.
    pub fn moved_since(&self, before: &Self) -> BTreeMap<String, u64> {
        let reasons = self.counters.iter().map(|counter| counter.reason.as_str());
        let moved = reasons.map(|reason| {
            (reason.to_owned(), self.with_reason(reason).saturating_sub(before.with_reason(reason)))
        });
        moved.filter(|(_, packets)| *packets > 0).collect()
    }
}

/// The relay's counters against its devices', and against what it says of its clients.
#[derive(Clone, Debug)]
pub struct Balance {
    pub relay: RelayCounters,
    pub devices: DeviceCounters,
    /// Of an ingress relay.
    pub accounts: Option<Accounts>,
}

impl Balance {
    /// What does not add up, one line each; empty if all does.
    pub fn faults(&self) -> Vec<String> {
        let devices = &self.devices;
        let lines = [
            ("packets seen by XDP", devices.seen, "in all counters", self.relay.packets()),
            ("dropped by the devices", devices.dropped, "counted as drop", self.relay.with_verdict("drop")),
            (
                "sent back by the devices",
                devices.transmitted + devices.transmit_refused,
                "counted as transmit",
                self.relay.with_verdict("transmit"),
            ),
            (
                "redirected by the devices",
                devices.redirected + devices.redirect_refused,
                "counted as redirect",
                self.relay.with_verdict("redirect"),
            ),
        ];
        let wrong = lines.into_iter().filter(|(_, seen, _, counted)| seen != counted);
        let wrong = wrong.map(|(what, seen, how, counted)| format!("{what}: {seen}, {how}: {counted}"));
        let accounts = self.accounts.iter().flat_map(|accounts| accounts.faults(&self.relay));
        wrong.chain(accounts).collect()
    }

    /// Packets that no counter explains, or that are counted too often.
    pub fn unexplained(&self) -> u64 {
        self.devices.seen.abs_diff(self.relay.packets())
    }

    pub fn must_hold(&self) -> Result<()> {
        let faults = self.faults();
        if faults.is_empty() {
            return Ok(());
        }
        let moved: Vec<&Counter> = self.relay.counters.iter().filter(|counter| counter.packets > 0).collect();
        bail!(
            "the counters of {} do not add up: {}\ndevices: {:?}\nrelay: {moved:?}",
            self.relay.node,
            faults.join("; "),
            self.devices
        );
    }

    /// An error if packets were lost after the relay had sent them.
    pub fn must_be_lossless(&self) -> Result<()> {
        if self.devices.lost() > 0 {
            bail!(
                "{} packets of {} were lost after the verdict: {:?}",
                self.devices.lost(),
                self.relay.node,
                self.devices
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHTOOL: &str = "NIC statistics:
     peer_ifindex: 2
     rx_queue_0_xdp_packets: 1000
     rx_queue_0_xdp_bytes: 140000
     rx_queue_0_drops: 3
     rx_queue_0_xdp_redirect: 200
     rx_queue_0_xdp_drops: 197
     rx_queue_0_xdp_tx: 100
     rx_queue_0_xdp_tx_errors: 0
     rx_queue_1_xdp_packets: 1
     tx_queue_0_xdp_xmit: 0
     tx_queue_0_xdp_xmit_errors: 7
";

    fn relay() -> RelayCounters {
        RelayCounters::parse(
            r#"{"schema_version":1,"node":"ingress-1","role":"ingress","counters":[
            {"verdict":"redirect","reason":"forward_encapsulated","packets":203,"bytes":1},
            {"verdict":"transmit","reason":"return_delivered","packets":100,"bytes":1},
            {"verdict":"drop","reason":"land","packets":197,"bytes":1},
            {"verdict":"pass","reason":"not_ip","packets":501,"bytes":1}],"tallies":[{"name":"x","value":1}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn sums_queues_and_tells_directions_apart() {
        let counters = DeviceCounters::parse(ETHTOOL);
        assert_eq!(
            counters,
            DeviceCounters {
                seen: 1001,
                dropped: 197,
                transmitted: 100,
                transmit_refused: 0,
                redirected: 200,
                redirect_refused: 3,
                redirect_lost: 7,
            }
        );
        assert_eq!(counters.lost(), 10);
    }

    #[test]
    fn one_packet_too_few_is_a_fault() {
        let devices = DeviceCounters::parse(ETHTOOL);
        let mut balance = Balance { relay: relay(), devices, accounts: None };
        assert_eq!(balance.faults(), Vec::<String>::new());
        balance.devices.seen += 1;
        assert_eq!(balance.faults(), ["packets seen by XDP: 1002, in all counters: 1001"]);
        assert_eq!(balance.unexplained(), 1);
        assert!(balance.must_hold().is_err());
    }

    #[test]
    fn says_which_reasons_moved() {
        let mut after = relay();
        after.counters[2].packets += 5;
        assert_eq!(after.moved_since(&relay()), BTreeMap::from([("land".to_owned(), 5)]));
    }
}
