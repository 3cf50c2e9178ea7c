//! Each way an interface can be wrong, and the command that mends it.

use super::*;
use crate::doctor::finding::Level;
use crate::doctor::sample;
use crate::inspect::{Offloads, Xdp, XdpFeatures};

/// What a check finds on the first interface after a change.
fn found(check: &str, change: impl FnOnce(&mut Relay)) -> Option<Finding> {
    let mut relay = sample::ingress();
    change(&mut relay);
    super::check(&relay, &relay.links[0]).into_iter().find(|finding| finding.check == check)
}

fn link(relay: &mut Relay) -> &mut Found {
    relay.links[0].found.as_mut().unwrap()
}

#[track_caller]
fn failed(check: &str, fix: &str, change: impl FnOnce(&mut Relay)) -> String {
    let finding = found(check, change).unwrap();
    assert_eq!(finding.level, Level::Fail, "{finding:?}");
    assert!(finding.fix.as_ref().unwrap().contains(fix), "{finding:?}");
    finding.message
}

#[track_caller]
fn warned(check: &str, fix: &str, change: impl FnOnce(&mut Relay)) -> String {
    let finding = found(check, change).unwrap();
    assert_eq!(finding.level, Level::Warn, "{finding:?}");
    assert!(finding.fix.as_ref().unwrap().contains(fix), "{finding:?}");
    finding.message
}

#[test]
fn good_interfaces_pass() {
    for relay in [sample::ingress(), sample::egress()] {
        for link in &relay.links {
            for finding in check(&relay, link) {
                assert_eq!(finding.level, Level::Ok, "{finding:?}");
            }
        }
    }
}

#[test]
fn an_interface_that_is_not_there_fails() {
    let message = failed("interface", "correct interfaces.public", |relay| relay.links[0].found = None);
    assert!(message.contains("there are: eth0, eth1"));
}

#[test]
fn an_interface_that_is_down_or_without_link_fails() {
    failed("interface", "ip link set dev eth0 up", |relay| link(relay).interface.up = false);
    failed("interface", "OTHER-END", |relay| link(relay).interface.carrier = false);
}

#[test]
fn a_driver_without_native_xdp_fails() {
    let generic = "interfaces.mode = \"generic\"";
    let driver = |relay: &mut Relay, name: &str| {
        let link = link(relay);
        link.features = None;
        link.offloads.as_mut().unwrap().driver = name.into();
    };
    failed("native_xdp", generic, |relay| driver(relay, "bridge"));
    warned("native_xdp", generic, |relay| driver(relay, "acme_eth"));
    assert_eq!(found("native_xdp", |relay| driver(relay, "mlx5_core")).unwrap().level, Level::Ok);
    let cannot = XdpFeatures { native: false, target: false };
    failed("native_xdp", "ethtool -L eth0 rx", |relay| link(relay).features = Some(cannot));
    failed("native_xdp", generic, |relay| {
        driver(relay, "dummy");
        link(relay).features = Some(cannot);
    });
    warned("native_xdp", "driver", |relay| relay.config.mode = AttachMode::Generic);
}

#[test]
fn a_program_of_somebody_else_fails() {
    let with = |mode| move |relay: &mut Relay| link(relay).interface.xdp = Some(Xdp { mode, program_id: 42 });
    let message = failed("xdp_program", "ip link set dev eth0 xdp off", with(XdpMode::Driver));
    assert!(message.contains("number 42"));
    failed("xdp_program", "ip link set dev eth0 xdpgeneric off", with(XdpMode::Generic));
}

#[test]
fn a_program_of_another_relay_is_called_by_its_name() {
    failed("xdp_program", "xdp-relay unload --node old", |relay| {
        link(relay).interface.xdp = Some(Xdp { mode: XdpMode::Driver, program_id: 42 });
        relay.running.others = vec![("old".into(), vec![42])];
    });
}

#[test]
fn our_own_program_passes_in_the_configured_mode() {
    let ours = |mode| {
        move |relay: &mut Relay| {
            link(relay).interface.xdp = Some(Xdp { mode, program_id: 42 });
            relay.running.programs = vec![42];
        }
    };
    assert_eq!(found("xdp_program", ours(XdpMode::Driver)).unwrap().level, Level::Ok);
    warned("xdp_program", "unload --node sample", ours(XdpMode::Generic));
}

#[test]
fn an_mtu_too_large_for_xdp_is_worth_a_warning() {
    warned("mtu", "ip link set dev eth0 mtu 1500", |relay| link(relay).interface.mtu = 9000);
    assert_eq!(found("mtu", |_| {}), None);
}

#[test]
fn a_veth_whose_other_end_takes_no_frames_fails() {
    let deaf = XdpFeatures { native: true, target: false };
    failed("veth_receives", "ethtool -K OTHER-END gro on", |relay| link(relay).features = Some(deaf));
    failed("veth_receives", "ethtool -K veth1 gro on", |relay| {
        let link = link(relay);
        link.features = None;
        let own = link.offloads.clone().unwrap();
        link.other_end = Some(("veth1".into(), Offloads { gro: false, ..own }));
    });
    warned("veth_receives", "gro on", |relay| link(relay).features = None);
}

#[test]
fn unfinished_checksums_on_a_veth_are_found() {
    let other = |checksum| {
        move |relay: &mut Relay| {
            let link = link(relay);
            let own = link.offloads.clone().unwrap();
            link.other_end = Some(("veth1".into(), Offloads { tx_checksum: checksum, ..own }));
        }
    };
    failed("veth_checksum", "ethtool -K veth1 tx off", other(true));
    assert_eq!(found("veth_checksum", other(false)).unwrap().level, Level::Ok);
    warned("veth_checksum", "ethtool -K eth0 tx off", |relay| {
        link(relay).offloads.as_mut().unwrap().tx_checksum = true;
    });
    let card = |relay: &mut Relay| {
        link(relay).interface.kind = None;
        link(relay).offloads.as_mut().unwrap().tx_checksum = true;
    };
    assert_eq!(found("veth_checksum", card), None);
}

#[test]
fn hidden_vlan_tags_fail_where_there_are_vlans() {
    let hidden = |relay: &mut Relay| link(relay).offloads.as_mut().unwrap().rx_vlan = true;
    warned("vlan_offload", "ethtool -K eth0 rxvlan off", hidden);
    let message = failed("vlan_offload", "ethtool -K eth0 rxvlan off", |relay| {
        hidden(relay);
        link(relay).vlans = vec!["eth0.7".into()];
    });
    assert!(message.contains("eth0.7"));
}

#[test]
fn merged_packets_fail() {
    failed("lro", "ethtool -K eth0 lro off", |relay| link(relay).offloads.as_mut().unwrap().lro = true);
}
