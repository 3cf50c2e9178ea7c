//! The command `check` as scripts meet it: exit codes, what goes to which stream, and manners.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_xdp-relay");

/// A directory with a valid configuration of an ingress relay.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        let key = files.path("hash.key");
        std::fs::write(&key, "00112233445566778899aabbccddeeff\n").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/config/ingress.toml");
        let text = std::fs::read_to_string(example).unwrap();
        let text = text.replace("/etc/xdp-relay/hash.key", key.to_str().unwrap());
        std::fs::write(files.path("good.toml"), &text).unwrap();
        std::fs::write(files.path("bad.toml"), text.replace("ttl = 64", "tll = 64\ndscp2 = 1")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn check(&self, name: &str, options: &[&str]) -> Output {
        Command::new(BINARY).arg("check").args(options).arg(self.path(name)).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_valid_file_ends_with_0_and_says_what_it_makes() {
    let output = Files::new().check("good.toml", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].ends_with("is valid: ingress relay `ingress-1`, 2 services, 2 backends, 2 peers"),
        "{text}"
    );
    assert!(lines.len() == 2 && lines[1].contains("MiB"), "{text}");
    // The files of its lists are not on this machine.
    let notes = stderr(&output);
    assert!(notes.lines().all(|line| line.starts_with("note: `lists.")), "{notes}");
}

#[test]
fn a_file_with_problems_ends_with_3_and_text_on_stderr() {
    let output = Files::new().check("bad.toml", &[]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&output), "");
    let text = stderr(&output);
    assert!(text.contains("did you mean `ttl`?") && text.contains("`tunnel.dscp2`: unknown key"), "{text}");
    assert!(text.ends_with("bad.toml has 2 problems\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "colour without a terminal");
}

#[test]
fn json_goes_to_stdout_and_text_to_stderr() {
    let files = Files::new();
    let output = files.check("bad.toml", &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&json["schema_version"], &json["ok"]), (&1.into(), &false.into()));
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2);
    assert_eq!((&problems[0]["key"], &problems[0]["column"]), (&"tunnel.tll".into(), &1.into()));
    assert_eq!(problems[0]["file"].as_str(), files.path("bad.toml").to_str());
    assert!(stderr(&output).contains("unknown key"));

    let output = files.check("good.toml", &["--json"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((output.status.code(), &json["ok"]), (Some(0), &true.into()));
}

#[test]
fn as_many_backends_as_are_allowed_fit_the_tables() {
    let files = Files::new();
    let text = std::fs::read_to_string(files.path("good.toml")).unwrap();
    let (head, rest) = text.split_once("[[services]]").unwrap();
    let (_, tail) = rest.split_once("[icmp]").unwrap();
    // 1024 backends at scattered addresses are 2048 endpoints.
    let mut services = String::new();
    let mut random = 1u32;
    for service in 0..4 {
        services += &format!(
            "[[services]]\nname = \"s{service}\"\nvips = [\"203.0.113.{service}\"]\nprotocol = \"tcp\"\nport = 443\n"
        );
        for backend in 0..256 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let address = std::net::Ipv4Addr::from_bits(0xac00_0000 | random >> 8);
            services += &format!("[[services.backends]]\nname = \"b{backend}\"\naddress = \"{address}\"\n");
        }
    }
    std::fs::write(files.path("full.toml"), format!("{head}{services}[icmp]{tail}")).unwrap();
    let output = files.check("full.toml", &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn a_file_that_cannot_be_read_ends_with_1() {
    let files = Files::new();
    for name in ["none.toml", "."] {
        let output = files.check(name, &["--json"]);
        assert_eq!(output.status.code(), Some(1));
        let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json["error"]["code"], "failed");
        assert!(stderr(&output).starts_with("error: cannot read the configuration /"), "{}", stderr(&output));
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [&["chekc"][..], &["check"], &[]] {
        let output = Command::new(BINARY).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn colour_is_the_users_choice() {
    let output = Files::new().check("bad.toml", &["--color", "always"]);
    assert!(stderr(&output).contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Read;
    let mut child = Command::new(BINARY)
        .args(["generate", "config-reference"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads: the pipe is closed before the page, or part of it, is written.
    drop(child.stdout.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(text, "");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(BINARY).args(["generate", "config-reference"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: cannot write to standard output"), "{}", stderr(&output));
}
