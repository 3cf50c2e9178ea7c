//! `cargo xtask demo` itself: it shows a good relay to be good, a bad one to be bad, and leaves nothing behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::privileged;
use relay_tests::process::{Finished, run};
use relay_tests::relay::{BINARY, binary};
use relay_tests::topology::Namespace;
use serde_json::Value;

/// The demo that `--keep` leaves up.
const KEPT: &str = "relay-demo";
const LIMIT: Duration = Duration::from_secs(120);

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(arguments);
    command
}

/// The one object that `--json` prints, with nothing before or behind it.
fn object(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.stdout)
        .with_context(|| format!("the demo printed:\n{}{}", finished.stdout, finished.stderr))
}

/// Namespaces of demos, the kept one's or all.
fn namespaces(prefix: &str) -> Result<Vec<String>> {
    Ok(Namespace::all_names()?.into_iter().filter(|name| name.starts_with(prefix)).collect())
}

#[test]
fn the_demo_shows_all_as_promised() -> Result<()> {
    privileged("the_demo_shows_all_as_promised", || {
        let before = namespaces(KEPT)?;
        let finished = run(&mut demo(&["--json"]), LIMIT)?;
        let summary = object(&finished)?;
        ensure!(finished.code() == 0 && summary["ok"] == true, "{summary:#}");
        for (field, expected) in [
            ("requests_failed", Value::from(0)),
            ("hidden_addresses_seen_by_client", Value::from(0)),
            ("service_saw_client_address", Value::from(true)),
            ("unexplained_packets", Value::from(0)),
        ] {
            ensure!(summary[field] == expected, "{field}: {summary:#}");
        }
        ensure!(summary["requests_ok"].as_u64().is_some_and(|requests| requests > 1000), "{summary:#}");
        ensure!(namespaces(KEPT)? == before, "it left {:?}", namespaces(KEPT)?);
        Ok(())
    })
}

#[test]
fn the_demo_of_a_relay_that_misses_the_service_fails() -> Result<()> {
    privileged("the_demo_of_a_relay_that_misses_the_service_fails", || {
        let directory = tempfile::tempdir()?;
        let wrapper = directory.path().join("xdp-relay");
        // The egress relay is told of a port at which nobody listens.
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in run*egress*) sed -i 's/^port = 443/port = 444/' \"$3\";; esac\nexec {} \"$@\"\n",
            binary()?.display()
        );
        std::fs::write(&wrapper, script)?;
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
        let finished = run(demo(&["--json"]).env(BINARY, &wrapper), LIMIT)?;
        let summary = object(&finished)?;
        ensure!(finished.code() == 1 && summary["ok"] == false, "{summary:#}");
        ensure!(summary["https"]["ok"] == 0 && summary["https"]["failed"] == 56, "{summary:#}");
        // What the egress relay drops is counted, all the same.
        ensure!(summary["unexplained_packets"] == 0, "{summary:#}");
        Ok(())
    })
}

#[test]
fn a_demo_left_up_works_beside_another_and_is_removed() -> Result<()> {
    privileged("a_demo_left_up_works_beside_another_and_is_removed", || {
        ensure!(
            namespaces(KEPT)?.is_empty(),
            "a demo is up, which this test would remove; do so with `cargo xtask demo --down`"
        );
        let kept = run(&mut demo(&["--keep"]), LIMIT)?;
        ensure!(kept.code() == 0, "{}{}", kept.stdout, kept.stderr);
        let standing = namespaces(KEPT)?;
        ensure!(standing.len() == 5, "{standing:?}");
        let beside = run(&mut demo(&["--json"]), LIMIT)?;
        ensure!(beside.code() == 0 && namespaces(KEPT)? == standing, "{}", beside.stdout);

        // The commands it advises, as they stand there.
        for wanted in ["curl", "ping", "status --node ingress-1", "counters --node egress-1"] {
            let line = kept.stdout.lines().find(|line| line.starts_with("    ") && line.contains(wanted));
            let line = line.with_context(|| format!("no advice on {wanted} in:\n{}", kept.stdout))?;
            run(Command::new("sh").args(["-c", line]), LIMIT)?.success()?;
        }

        // Left up again, it takes the place of the first.
        ensure!(run(&mut demo(&["--keep", "--json"]), LIMIT)?.code() == 0);
        ensure!(namespaces(KEPT)? == standing);
        for removed in [true, false] {
            let down = run(&mut demo(&["--down", "--json"]), LIMIT)?;
            ensure!(down.code() == 0 && object(&down)?["removed"] == removed, "{}", down.stdout);
        }
        let left =
            [format!("/tmp/{KEPT}"), format!("/sys/fs/bpf/{KEPT}"), format!("/etc/netns/{KEPT}-client")];
        let left: Vec<&String> = left.iter().filter(|path| Path::new(path.as_str()).exists()).collect();
        ensure!(left.is_empty() && namespaces(KEPT)?.is_empty(), "left behind: {left:?}");
        Ok(())
    })
}

#[test]
fn without_root_there_is_one_clear_line() -> Result<()> {
    privileged("without_root_there_is_one_clear_line", || {
        // Where everybody may run it; the repository may be root's own.
        let directory = tempfile::tempdir()?;
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let program = directory.path().join("demo");
        std::fs::copy(env!("CARGO_BIN_EXE_demo"), &program)?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(&program);
        let finished = run(&mut command, LIMIT)?;
        ensure!(finished.code() == 1 && finished.stdout.is_empty(), "{}", finished.stdout);
        let lines = finished.stderr.lines().count();
        ensure!(lines == 1 && finished.stderr.contains("needs root"), "{}", finished.stderr);
        Ok(())
    })
}
