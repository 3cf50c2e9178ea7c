use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::actions::{Key, Value, Verdict, parse_prefix};
use crate::exit::Exit;

fn order(what: What) -> Order {
    let who = Who { uid: 0, user: Some("root".into()), sudo_user: Some("alice".into()) };
    Order { who, reason: Some("floods us".into()), what }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_says_who_did_what_why_and_with_what_result() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::new(directory.path(), "ingress-1");
    let prefix = parse_prefix("192.0.2.0/24").unwrap();
    let block = order(What::Add(Verdict::Block, prefix, Some(Duration::from_secs(600))));
    let failure: Result<Done, Failure> = Err(Failure::new(Exit::NotFound, "there is no service wep"));
    log.write(&Record::new("ingress-1", &block).ended(Some(&failure)));
    let values = BTreeMap::from([(Key::ClientPackets, Value::Rate(None))]);
    log.write(&Record::new(
        "ingress-1",
        &order(What::SetLimits("web".into(), values, Duration::from_secs(9))),
    ));
    let lines = lines(&log.path);
    let first = &lines[0];
    assert_eq!((&first["uid"], &first["user"]), (&0.into(), &"root".into()));
    assert_eq!((&first["sudo_user"], &first["reason"]), (&"alice".into(), &"floods us".into()));
    assert_eq!((&first["action"], &first["target"]), (&"block.add".into(), &"192.0.2.0/24".into()));
    assert_eq!((&first["for_seconds"], &first["result"]), (&600.into(), &"not_found".into()));
    assert_eq!(first["message"], "there is no service wep");
    assert!(first["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[1]["limits"]["client_packets"], serde_json::Value::Null);
    assert_eq!(fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_full_file_is_put_aside_and_four_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log { file_bytes: 1000, ..Log::new(directory.path(), "a") };
    for number in 0..60_u8 {
        let prefix = parse_prefix(&format!("192.0.2.{number}")).unwrap();
        log.write(&Record::new("a", &order(What::Add(Verdict::Allow, prefix, None))));
    }
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["a.audit.jsonl", "a.audit.jsonl.1", "a.audit.jsonl.2", "a.audit.jsonl.3", "a.audit.jsonl.4"]
    );
    let mut numbers = Vec::new();
    for number in (0..=KEPT).rev() {
        assert!(fs::metadata(log.numbered(number)).unwrap().len() <= 1000);
        numbers.extend(
            lines(&log.numbered(number)).iter().map(|line| line["target"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(numbers.last().unwrap(), "192.0.2.59/32");
    let first = 60 - numbers.len();
    assert_eq!(numbers[0], format!("192.0.2.{first}/32"));
}
