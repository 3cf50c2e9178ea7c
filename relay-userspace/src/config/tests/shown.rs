//! How reports look, to the letter.

use super::base::{INGRESS, KeyFile, report};
use crate::config::{Report, Secrets, Style, examine_bytes};
use crate::exit::Exit;

fn broken() -> Report {
    let text = INGRESS
        .replace("mode = \"driver\"", "mode = \"drivr\"")
        .replace("address = \"10.0.0.12\"", "address = \"10.0.0.11\"");
    report(&KeyFile::new().put_into(&text))
}

#[test]
fn as_text() {
    let expected = r#"error: `interfaces.mode`: unknown value
 --> relay.toml:7:8
  |
7 | mode = "drivr"
  |        ^^^^^^^ allowed: "driver" or "generic"
  |
  = help: did you mean `driver`?

error: `peers[1].address`: this address is already a peer
  --> relay.toml:15:11
   |
15 | address = "10.0.0.11"
   |           ^^^^^^^^^^^
   |
  ::: relay.toml:12:11
   |
12 | address = "10.0.0.11"
   |           ----------- first here
   |
   = note: allowed: an address has one use: `tunnel.local`, one peer, VIPs, or backends"#;
    assert_eq!(broken().text(Style::Plain), expected);
    assert_eq!(broken().summary(), "relay.toml has 2 problems");
    assert!(broken().text(Style::Coloured).contains("\u{1b}["));
}

#[test]
fn as_json() {
    let expected = serde_json::json!({
        "schema_version": 1,
        "ok": false,
        "problems": [
            {
                "file": "relay.toml",
                "line": 7,
                "column": 8,
                "key": "interfaces.mode",
                "value": "\"drivr\"",
                "message": "unknown value",
                "allowed": "\"driver\" or \"generic\"",
                "hint": "did you mean `driver`?",
            },
            {
                "file": "relay.toml",
                "line": 15,
                "column": 11,
                "key": "peers[1].address",
                "value": "\"10.0.0.11\"",
                "message": "this address is already a peer",
                "allowed": "an address has one use: `tunnel.local`, one peer, VIPs, or backends",
                "hint": null,
            },
        ],
        "notes": [],
    });
    assert_eq!(broken().json(), expected);
}

#[test]
fn as_a_failure_of_a_command() {
    let failure = broken().failure(Style::Plain);
    assert_eq!(failure.exit, Exit::ConfigInvalid);
    let text = failure.to_string();
    assert!(text.starts_with("error: `interfaces.mode`"), "{text}");
    assert!(text.ends_with("\n\nerror: relay.toml has 2 problems"), "{text}");
}

#[test]
fn a_valid_file() {
    let report = report(&KeyFile::new().put_into(INGRESS));
    assert_eq!(
        report.summary(),
        "relay.toml is valid: ingress relay `in-1`, 2 services, 2 backends, 2 peers"
    );
    let json = report.json();
    assert_eq!((&json["ok"], json["problems"].as_array().unwrap().len()), (&true.into(), 0));
}

#[test]
fn bytes_that_are_not_utf_8_and_control_characters() {
    let report = examine_bytes("f".into(), b"role = 1\nnode = \"\xff\"\n".to_vec(), Secrets::Required);
    let json = report.json();
    assert_eq!((&json["problems"][0]["line"], &json["problems"][0]["column"]), (&2.into(), &9.into()));
    assert_eq!(json["problems"].as_array().unwrap().len(), 1);

    let report =
        examine_bytes("f".into(), b"\"a\\u001b[2J\" = 1\nb = \"\x1b[2J\"\n".to_vec(), Secrets::Required);
    assert!(!report.text(Style::Plain).contains('\u{1b}'), "{:?}", report.text(Style::Plain));
}
