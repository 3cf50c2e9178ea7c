//! Two small valid files, a way to break them, and a way to say what must be reported.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::config::{Report, Secrets, examine_bytes};

/// An ingress relay with one service of each kind. `KEY` stands for the path of a good key file.
pub(super) const INGRESS: &str = r#"role = "ingress"
node = "in-1"
hash_key_file = "KEY"
[interfaces]
public = "eth0"
tunnel = "eth1"
mode = "driver"
[tunnel]
local = "10.0.0.1"
[[peers]]
name = "out-1"
address = "10.0.0.11"
[[peers]]
name = "out-2"
address = "10.0.0.12"
[[services]]
name = "web"
vips = ["203.0.113.10"]
protocol = "tcp"
port = 443
[[services.backends]]
name = "web-1"
address = "192.168.100.51"
port = 8443
[[services.backends]]
name = "web-2"
address = "192.168.100.52"
peers = ["out-2"]
[[services]]
name = "dns"
vips = ["203.0.113.53"]
protocol = "udp"
port = 53
translate = "none"
"#;

/// The egress relay to it.
pub(super) const EGRESS: &str = r#"role = "egress"
node = "out-1"
hash_key_file = "KEY"
[interfaces]
tunnel = "eth0"
service = "eth1"
mode = "driver"
[tunnel]
local = "10.0.0.11"
[[peers]]
name = "in-1"
address = "10.0.0.1"
[[services]]
name = "web"
protocol = "tcp"
[[services.backends]]
name = "web-1"
address = "192.168.100.51"
port = 8443
[[services]]
name = "dns"
vips = ["203.0.113.53"]
protocol = "udp"
port = 53
translate = "none"
[[services.backends]]
name = "dns-1"
address = "192.168.100.61"
"#;

/// An ingress relay that says something of all that clients may do.
pub(super) const GUARDED: &str = r#"role = "ingress"
node = "in-1"
hash_key_file = "KEY"
[interfaces]
public = "eth0"
tunnel = "eth1"
mode = "driver"
[tunnel]
local = "10.0.0.1"
[[peers]]
name = "out-1"
address = "10.0.0.11"
[clients]
entries = 2048
prefix_length = 20
challenge_rate = 5000
[events]
rate = 0
[limits]
client_packets = 1000
total_bytes = 1_000_000
over = "mark_down"
burst = "1s"
ban_after = "10s"
ban_for = "2m"
[filters]
tcp_flags = "shadow"
[proof]
syn = "above"
above = 500
[[services]]
name = "web"
vips = ["203.0.113.10"]
protocol = "tcp"
port = 443
[services.limits]
client_packets = 0
prefix_connections = 7
fair = true
capacity_bytes = 5000
[services.filters]
protocols = "enforce"
[services.proof]
syn = "always"
[[services.backends]]
name = "web-1"
address = "192.168.100.51"
[[services]]
name = "dns"
vips = ["203.0.113.53"]
protocol = "udp"
port = 53
translate = "none"
answers_verify = true
[services.limits]
ban_after = "0s"
[[services]]
name = "mail"
vips = ["203.0.113.25"]
protocol = "tcp"
port = 25
translate = "none"
[[block]]
prefix = "198.51.100.0/24"
reason = "scans since May"
expires = "2035-01-31T12:00:00Z"
[[allow]]
prefix = "192.0.2.7"
[lists]
block_files = ["/etc/xdp-relay/a.netset", "/etc/xdp-relay/b.netset"]
"#;

/// A change to a file, and the problems it must lead to.
pub(super) struct Case<'c> {
    pub(super) base: &'static str,
    /// Each first text, which must be there once, becomes the second.
    pub(super) edits: &'c [(&'c str, &'c str)],
    pub(super) problems: &'c [Expected<'c>],
}

/// A problem that must be reported.
pub(super) struct Expected<'c> {
    /// What the caret points at: the line of the file that has it, and the text after the place. In `a|b`, the place
    /// is between `a` and `b`, which must be there once.
    pub(super) at: &'c str,
    pub(super) key: &'c str,
    /// Part of message, allowed or hint, each.
    pub(super) says: &'c [&'c str],
}

/// A problem at a place.
pub(super) fn wrong<'c>(at: &'c str, key: &'c str, says: &'c [&'c str]) -> Expected<'c> {
    Expected { at, key, says }
}

/// Checks that exactly the expected problems are reported, each where it is.
pub(super) fn check(cases: &[Case<'_>]) {
    let keys = KeyFile::new();
    for case in cases {
        let mut text = case.base.to_owned();
        for (from, to) in case.edits {
            assert_eq!(text.matches(from).count(), 1, "{from:?} must be in the file once");
            text = text.replace(from, to);
        }
        let text = keys.put_into(&text);
        let report = report(&text);
        let json = report.json();
        let found = json["problems"].as_array().unwrap();
        let context = format!("\n{:?}\n{}", case.edits, report.text(crate::config::Style::Plain));
        assert_eq!(found.len(), case.problems.len(), "number of problems{context}");
        for (found, expected) in found.iter().zip(case.problems) {
            let (line, column) = place(&text, expected.at);
            assert_eq!((&found["line"], &found["column"]), (&line.into(), &column.into()), "place{context}");
            assert_eq!(found["key"].as_str().unwrap_or_default(), expected.key, "key{context}");
            let said = format!("{} / {} / {}", found["message"], found["allowed"], found["hint"]);
            let said = said.replace("\\\"", "\"");
            for part in expected.says {
                assert!(said.contains(part), "{part:?} in {said}{context}");
            }
        }
    }
}

/// Line and column of the `|` in a text that is in the file once.
fn place(text: &str, at: &str) -> (usize, usize) {
    let (before, after) = at.split_once('|').unwrap();
    let whole = format!("{before}{after}");
    assert_eq!(text.matches(&whole).count(), 1, "{whole:?} must be in the file once\n{text}");
    let until = text.split(&whole).next().unwrap().to_owned() + before;
    let line = until.rsplit('\n').next().unwrap().chars().count();
    (until.matches('\n').count() + 1, line + 1)
}

/// The report on a text.
pub(super) fn report(text: &str) -> Report {
    examine_bytes("relay.toml".to_owned(), text.as_bytes().to_vec(), Secrets::Required)
}

/// A directory with a good key file.
pub(super) struct KeyFile {
    directory: TempDir,
}

impl KeyFile {
    pub(super) fn new() -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        this.write("key", "00112233445566778899aabbccddeeff\n", 0o600);
        this
    }

    /// Another file beside it.
    pub(super) fn write(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The text with the path of the good key for `KEY`.
    pub(super) fn put_into(&self, text: &str) -> String {
        text.replace("\"KEY\"", &format!("{:?}", self.directory.path().join("key")))
    }
}
