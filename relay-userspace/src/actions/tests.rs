use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::exit::Exit;
use crate::who::Who;

fn order(what: What) -> Order {
    let who = Who { uid: 0, user: Some("root".into()), sudo_user: Some("alice".into()) };
    Order { who, reason: Some("why".into()), what }
}

fn net(text: &str) -> Ipv4Net {
    parse_prefix(text).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds))
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn add(actions: &mut Actions, verdict: Verdict, prefix: &str, lasts: Option<u64>, now: u64) -> Done {
    actions.apply(&order(What::Add(verdict, net(prefix), lasts.map(seconds))), at(now)).unwrap()
}

fn ban(address: [u8; 4]) -> NewBan {
    let cause = Cause {
        limit: "client_packets".into(),
        measured_per_second: 9000,
        limit_per_second: 1000,
        over_milliseconds: 10_000,
    };
    NewBan {
        address: address.into(),
        service: "web".into(),
        cause,
        verified: true,
        first: seconds(60),
        longest: seconds(300),
    }
}

#[test]
fn adding_again_is_one_rule_with_the_new_end() {
    let mut actions = Actions::default();
    assert_eq!(add(&mut actions, Verdict::Block, "192.0.2.0/24", Some(60), 0).result, "added");
    let again = add(&mut actions, Verdict::Block, "192.0.2.0/24", Some(600), 10);
    assert_eq!((again.result.as_str(), again.expires), ("updated", Some(at(610))));
    let rules: Vec<&Rule> = actions.rules().collect();
    assert_eq!((rules.len(), rules[0].id, rules[0].since), (1, 1, at(0)));
    let replaced = add(&mut actions, Verdict::Allow, "192.0.2.0/24", None, 20);
    assert_eq!(replaced.result, "replaced");
    assert!(replaced.note.unwrap().contains("blocked by root (for alice)"));
    assert_eq!(actions.rules().count(), 1);
}

#[test]
fn what_is_not_there_cannot_be_removed_and_the_way_out_is_said() {
    let mut actions = Actions::default();
    let refused =
        actions.apply(&order(What::Remove(Verdict::Block, net("192.0.2.0/24"))), at(0)).unwrap_err();
    assert_eq!(refused.exit, Exit::NotFound);
    assert!(refused.hint.unwrap().contains("xdp-relay allow add 192.0.2.0/24"));
    add(&mut actions, Verdict::Allow, "192.0.2.0/24", None, 0);
    assert!(actions.apply(&order(What::Remove(Verdict::Block, net("192.0.2.0/24"))), at(0)).is_err());
    assert!(actions.apply(&order(What::Remove(Verdict::Allow, net("192.0.2.0/24"))), at(0)).is_ok());
}

#[test]
fn everything_ends_when_it_is_to() {
    let mut actions = Actions::default();
    add(&mut actions, Verdict::Block, "192.0.2.0/24", Some(60), 0);
    add(&mut actions, Verdict::Block, "198.51.100.0/24", None, 0);
    let values = BTreeMap::from([(Key::ClientPackets, Value::Rate(Some(5)))]);
    actions.apply(&order(What::SetLimits("web".into(), values, seconds(30))), at(0)).unwrap();
    actions.ban(ban([192, 0, 2, 1]), at(0)).unwrap();
    assert_eq!(actions.next_end(), Some(at(30)));
    assert_eq!(actions.expire(at(29)), Expired::default());
    assert_eq!(actions.expire(at(30)), Expired { lists: false, limits: true });
    assert_eq!(actions.next_end(), Some(at(60)));
    assert_eq!(actions.expire(at(60)), Expired { lists: true, limits: false });
    assert_eq!(actions.expire(at(60)), Expired::default());
    assert_eq!(
        (actions.rules().count(), actions.bans(at(60)).count(), actions.overrides().count()),
        (1, 0, 0)
    );
}

#[test]
fn bans_double_up_to_the_longest_until_they_are_forgotten() {
    let mut actions = Actions::default();
    let mut now = 0;
    for (count, lasts) in [(1, 60), (2, 120), (3, 240), (4, 300), (5, 300)] {
        let made = actions.ban(ban([192, 0, 2, 1]), at(now)).unwrap();
        assert_eq!((made.count, made.expires), (count, at(now + lasts)));
        assert_eq!(actions.ban(ban([192, 0, 2, 1]), at(now + lasts - 1)), None);
        now += lasts;
        actions.expire(at(now));
    }
    let forgotten = now + 3600;
    actions.expire(at(forgotten));
    assert_eq!(actions.ban(ban([192, 0, 2, 1]), at(forgotten)).unwrap().count, 1);
    actions.apply(&order(What::Lift([192, 0, 2, 1].into())), at(forgotten + 1)).unwrap();
    assert_eq!(actions.bans(at(forgotten + 1)).count(), 0);
    let refused = actions.apply(&order(What::Lift([192, 0, 2, 1].into())), at(forgotten + 2)).unwrap_err();
    assert_eq!(refused.exit, Exit::NotFound);
}

#[test]
fn what_an_operator_allows_is_not_banned() {
    let mut actions = Actions::default();
    add(&mut actions, Verdict::Allow, "192.0.2.0/24", None, 0);
    add(&mut actions, Verdict::Block, "192.0.2.128/25", None, 0);
    assert!(actions.allows([192, 0, 2, 1].into()));
    assert!(!actions.allows([192, 0, 2, 129].into()));
    assert_eq!(actions.ban(ban([192, 0, 2, 1]), at(0)), None);
    assert!(actions.ban(ban([198, 51, 100, 1]), at(0)).is_some());
}

#[test]
fn there_is_an_end_to_how_much_is_kept() {
    let mut actions = Actions::default();
    for number in 0..RULES_MAX as u32 {
        let prefix = Ipv4Net::new(Ipv4Addr::from(number << 8), 24).unwrap();
        actions.apply(&order(What::Add(Verdict::Block, prefix, None)), at(0)).unwrap();
    }
    let refused = actions.apply(&order(What::Add(Verdict::Block, net("203.0.113.0/24"), None)), at(0));
    assert!(refused.unwrap_err().hint.unwrap().contains("into a file"));
    for number in 0..BANS_MAX as u32 {
        assert!(actions.ban(ban(number.to_be_bytes()), at(u64::from(number % 7))).is_some());
    }
    assert_eq!(actions.ban(ban([203, 0, 113, 1]), at(10)), None);
    assert!(actions.ban(ban([203, 0, 113, 1]), at(100)).is_some());
    assert_eq!(actions.bans.len(), BANS_MAX);
}

#[test]
fn times_and_reasons_out_of_bounds_are_refused() {
    let mut actions = Actions::default();
    for lasts in [Duration::ZERO, Duration::from_millis(999), LONGEST + seconds(1), Duration::MAX] {
        let what = What::Add(Verdict::Block, net("192.0.2.0/24"), Some(lasts));
        assert_eq!(actions.apply(&order(what), at(0)).unwrap_err().exit, Exit::Usage);
    }
    for reason in ["x".repeat(REASON_MAX + 1), "two\nlines".into(), "\u{1b}[31m".into()] {
        let what = What::Add(Verdict::Block, net("192.0.2.0/24"), None);
        let refused = actions.apply(&Order { reason: Some(reason), ..order(what) }, at(0)).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }
    assert_eq!(actions, Actions::default());
}

#[test]
fn values_are_read_as_operators_write_them() {
    let rate = |number| Value::Rate(Some(number));
    for (key, text, value) in [
        (Key::ClientPackets, "2000", rate(2000)),
        (Key::ClientPackets, "50k", rate(50_000)),
        (Key::TotalBytes, "1_000M", rate(1_000_000_000)),
        (Key::ClientPackets, "none", Value::Rate(None)),
        (Key::ClientPackets, "0", Value::Rate(None)),
        (Key::Burst, "200ms", Value::Time(Duration::from_millis(200))),
    ] {
        assert_eq!(key.read(text).unwrap(), value, "{key} {text}");
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    }
    for (key, text) in [
        (Key::ClientPackets, "-1"),
        (Key::ClientPackets, "+1"),
        (Key::ClientPackets, ""),
        (Key::ClientPackets, "k"),
        (Key::ClientPackets, "1e9"),
        (Key::ClientPackets, "17M"),
        (Key::ClientPackets, "200ms"),
        (Key::ClientPackets, "99999999999999999999G"),
        (Key::ClientBytes, "999"),
        (Key::Burst, "10"),
        (Key::Burst, "1ms"),
        (Key::Burst, "1h"),
    ] {
        let refused = key.read(text).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage, "{key} {text}");
        assert!(refused.hint.unwrap().starts_with("write "));
    }
    let unknown = "client_packet".parse::<Key>().unwrap_err();
    assert_eq!(unknown.hint.unwrap(), "did you mean `client_packets`?");
    assert!("x".parse::<Key>().unwrap_err().hint.unwrap().contains("total_bytes"));
}

#[test]
fn changed_limits_are_those_of_the_service_and_what_goes_with_nothing_is_given_up() {
    let mut config = crate::compile::sample::ingress();
    let Role::Ingress(ingress) = &mut config.role else { panic!("no ingress relay") };
    let name = ingress.services[0].name.clone();
    ingress.services[0].policy.limits.total.packets = Some(50);
    let limits = |config: &Config, index: usize| match &config.role {
        Role::Ingress(ingress) => ingress.services[index].policy.limits,
        Role::Egress(_) => panic!("no ingress relay"),
    };
    let mut actions = Actions::default();
    let mut set = |name: &str, key, value| {
        let what = What::SetLimits(name.to_owned(), BTreeMap::from([(key, value)]), seconds(60));
        actions.apply(&order(what), at(0)).unwrap();
        actions.effective(&config)
    };
    set("no such service", Key::ClientPackets, Value::rate(1));
    for (number, key) in (2000..).zip(Key::ALL.iter().filter(|key| **key != Key::Burst)) {
        let effective = set(&name, *key, Value::rate(number));
        assert_eq!(key.of(&limits(&effective, 0)), Value::rate(number), "{key}");
        assert_eq!(limits(&effective, 1), limits(&config, 1));
    }
    let effective = set(&name, Key::Burst, Value::Time(seconds(1)));
    assert_eq!(limits(&effective, 0).burst, seconds(1));
    // One capacity takes the place of the other.
    assert_eq!(Key::CapacityPackets.of(&limits(&effective, 0)), Value::Rate(None));
    set(&name, Key::TotalBytes, Value::Rate(None));
    set(&name, Key::TotalConnections, Value::Rate(None));
    set(&name, Key::TotalPackets, Value::Rate(None));
    assert!(actions.give_up_unfit(&config).is_empty());
    let Role::Ingress(ingress) = &mut config.role else { panic!("no ingress relay") };
    ingress.services[0].policy.limits.over = crate::config::policy::OverLimit::MarkDown;
    assert_eq!(actions.give_up_unfit(&config), [name]);
    assert_eq!(limits(&actions.effective(&config), 0), limits(&config, 0));
    assert_eq!(actions.overrides().count(), 1);
}

#[test]
fn a_broken_file_is_moved_aside_and_the_relay_starts() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(directory.path(), "a");
    assert_eq!(load(&path), Actions::default());
    for broken in ["", "{", "[]", r#"{"schema_version": 2}"#, r#"{"schema_version": 1, "rules": []}"#] {
        fs::write(&path, broken).unwrap();
        assert_eq!(load(&path), Actions::default());
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(directory.path().join("a.actions.json.broken")).unwrap(), broken);
    }
}

#[test]
fn the_file_is_private_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(directory.path(), "a");
    let mut actions = Actions::default();
    add(&mut actions, Verdict::Block, "192.0.2.0/24", Some(60), 0);
    file::save(&path, &actions).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(load(&path), actions);
    assert!(file::save(&directory.path().join("no/such"), &actions).is_err());
}

prop_compose! {
    fn any_actions()(
        prefixes in proptest::collection::vec((any::<u32>(), 0_u8..=32, any::<bool>(), proptest::option::of(1_u64..1000)), 0..20),
        bans in proptest::collection::vec(any::<[u8; 4]>(), 0..10),
        limits in proptest::collection::vec((0..Key::ALL.len(), 1000_u64..16_000_000), 0..10),
    ) -> Actions {
        let mut actions = Actions::default();
        for (address, length, block, lasts) in prefixes {
            let prefix = Ipv4Net::new(address.into(), length).unwrap().trunc();
            let verdict = if block { Verdict::Block } else { Verdict::Allow };
            actions.apply(&order(What::Add(verdict, prefix, lasts.map(seconds))), at(0)).unwrap();
        }
        for address in bans {
            let _whether_banned = actions.ban(ban(address), at(0)).is_some();
        }
        for (index, rate) in limits {
            let key = Key::ALL[index];
            let value = if key == Key::Burst { Value::Time(seconds(1)) } else { Value::Rate(Some(rate)) };
            let what = What::SetLimits("web".into(), BTreeMap::from([(key, value)]), seconds(rate));
            actions.apply(&order(what), at(0)).unwrap();
        }
        actions
    }
}

proptest! {
    #[test]
    fn what_is_saved_is_what_is_loaded(actions in any_actions()) {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "a");
        file::save(&path, &actions).unwrap();
        prop_assert_eq!(load(&path), actions);
    }

    #[test]
    fn a_damaged_file_never_panics(actions in any_actions(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "a");
        file::save(&path, &actions).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        fs::write(&path, &bytes).unwrap();
        // It is the whole file or nothing.
        let loaded = load(&path);
        prop_assert!(loaded == Actions::default() || loaded.rules.len() + 1 >= actions.rules.len());
    }

    #[test]
    fn after_the_next_end_nothing_that_ended_is_left(mut actions in any_actions()) {
        while let Some(end) = actions.next_end() {
            actions.expire(end);
            prop_assert!(actions.next_end().is_none_or(|next| next > end));
        }
        prop_assert!(actions.rules().all(|rule| rule.expires.is_none()));
    }
}
