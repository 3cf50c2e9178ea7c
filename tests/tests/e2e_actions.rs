//! What an operator does to a running controller: who may, how long it holds, and what is written down.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_tests::process::run;
use relay_tests::traffic::udp::{Echo, Pace, Stream};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};

fn start() -> Result<(EndToEnd, Echo)> {
    let system = EndToEnd::start(Setup::default())?;
    let echo = system.start_echo()?;
    Ok((system, echo))
}

fn finish(system: EndToEnd, echo: Echo) -> Result<()> {
    drop(echo.finish()?);
    system.finish().map(drop)
}

#[test]
fn a_changed_limit_holds_for_its_time() -> Result<()> {
    privileged("a_changed_limit_holds_for_its_time", || {
        let (mut system, echo) = start()?;
        let in_force = |system: &EndToEnd| -> Result<serde_json::Value> {
            let shown = system.ingress.control_json(&["limit", "show", "--service", "echo"])?;
            let limits = shown["limits"].as_array().context("no limits")?;
            let found = limits.iter().find(|limit| limit["limit"] == "client_packets");
            Ok(found.context("no client_packets")?.clone())
        };
        let before = in_force(&system)?;
        ensure!(before["in_force"].is_null() && before["origin"] == "config", "{before}");
        let set =
            ["limit", "set", "--service", "echo", "client_packets=20", "--for", "8s", "--reason", "test"];
        system.ingress.control(&set)?.success()?;
        let set_at = Instant::now();
        let limit = in_force(&system)?;
        ensure!(limit["in_force"] == 20 && limit["configured"].is_null(), "{limit}");
        ensure!(limit["origin"] == "runtime" && limit["reason"] == "test", "{limit}");
        system.ingress.kill()?;
        system.ingress.start()?;
        ensure!(in_force(&system)?["in_force"] == 20, "a restart forgot the limit");
        wait_until("the configured limit to hold again", Duration::from_secs(20), || {
            Ok(in_force(&system)?["in_force"].is_null())
        })?;
        ensure!(set_at.elapsed() > Duration::from_secs(7), "it ended after {:?}", set_at.elapsed());
        system
            .ingress
            .control(&["limit", "set", "--service", "echo", "client_packets=9k", "--for", "1h"])?
            .success()?;
        ensure!(in_force(&system)?["in_force"] == 9000);
        system.ingress.control(&["limit", "reset"])?.success()?;
        ensure!(in_force(&system)?["in_force"].is_null());
        let unknown =
            system.ingress.control(&["limit", "set", "--service", "eco", "burst=1s", "--for", "1h"])?;
        ensure!(unknown.code() == 5, "ended with {}", unknown.code());
        finish(system, echo)
    })
}

#[test]
fn who_did_what_and_why_is_in_the_audit_log() -> Result<()> {
    privileged("who_did_what_and_why_is_in_the_audit_log", || {
        let (system, echo) = start()?;
        let relay = &system.ingress;
        let mut command = relay.namespace().command(relay.binary());
        command.args(["limit", "set", "--service", "echo", "client_packets=9k", "--for", "1h"]);
        command.args(["--reason", "too loud", "--node", &relay.node()]);
        command.arg("--state-directory").arg(relay.state_directory()).env("SUDO_USER", "alice");
        run(&mut command, Duration::from_secs(20))?.success()?;
        let refused = relay.control(&["ban", "lift", "203.0.113.7", "--reason", "a mistake"])?;
        ensure!(refused.code() == 5, "ended with {}", refused.code());
        let path = relay.state_directory().join(format!("{}.audit.jsonl", relay.node()));
        let text = fs::read_to_string(&path).context("read the audit log")?;
        let lines: Vec<serde_json::Value> =
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("read a line")?;
        ensure!(lines.len() == 2, "{text}");
        let (first, second) = (&lines[0], &lines[1]);
        ensure!(first["uid"] == 0 && first["user"] == "root" && first["sudo_user"] == "alice", "{first}");
        ensure!(first["action"] == "limit.set" && first["target"] == "echo", "{first}");
        ensure!(first["limits"]["client_packets"] == 9000 && first["for_seconds"] == 3600, "{first}");
        ensure!(first["reason"] == "too loud" && first["result"] == "set", "{first}");
        ensure!(second["action"] == "ban.lift" && second["result"] == "not_found", "{second}");
        ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600);
        finish(system, echo)
    })
}

#[test]
fn the_socket_is_for_the_administrator_alone() -> Result<()> {
    privileged("the_socket_is_for_the_administrator_alone", || {
        let (mut system, echo) = start()?;
        let relay = &system.ingress;
        let socket = relay.state_directory().join(format!("{}.sock", relay.node()));
        ensure!(fs::metadata(&socket)?.permissions().mode() & 0o777 == 0o600);
        // Where everybody may run it.
        let directory = tempfile::tempdir().context("make a directory")?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let binary = directory.path().join("xdp-relay");
        fs::copy(relay.binary(), &binary).context("copy the binary")?;
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
        let as_nobody = || {
            let mut command = relay.namespace().command("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary);
            command.args(["block", "add", "203.0.113.7", "--node", &relay.node(), "--state-directory"]);
            run(command.arg(relay.state_directory()), Duration::from_secs(20))
        };
        let refused = as_nobody()?;
        ensure!(refused.code() == 8, "ended with {}: {}", refused.code(), refused.stderr);
        // Also when the modes of the files let everybody through.
        let mut opened = vec![socket.clone()];
        opened.extend(
            socket.ancestors().skip(1).take_while(|path| *path != std::env::temp_dir()).map(Into::into),
        );
        let modes: Vec<_> = opened
            .iter()
            .filter(|path| path.parent().is_some())
            .map(|path| Ok((path, fs::metadata(path)?.permissions())))
            .collect::<Result<_>>()?;
        for (path, before) in &modes {
            fs::set_permissions(path, fs::Permissions::from_mode(before.mode() | 0o777 & !0o022 | 0o011))?;
        }
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
        let refused = as_nobody();
        for (path, before) in modes {
            fs::set_permissions(path, before)?;
        }
        let refused = refused?;
        ensure!(refused.code() == 8, "ended with {}: {}", refused.code(), refused.stderr);
        ensure!(refused.stderr.contains("user 65534 may not control"), "{}", refused.stderr);
        system.ingress.stop()?;
        ensure!(!socket.exists(), "the socket outlived the controller");
        let nobody = system.ingress.control(&["block", "list"])?;
        ensure!(nobody.code() == 4, "ended with {}: {}", nobody.code(), nobody.stderr);
        ensure!(nobody.stderr.contains("xdp-relay run"), "{}", nobody.stderr);
        system.ingress.start()?;
        let egress = system.egress.control(&["block", "add", "203.0.113.7"])?;
        ensure!(egress.code() == 2 && egress.stderr.contains("egress relay"), "{}", egress.stderr);
        finish(system, echo)
    })
}

#[test]
fn a_thousand_bad_requests_disturb_nobody() -> Result<()> {
    privileged("a_thousand_bad_requests_disturb_nobody", || {
        let (mut system, echo) = start()?;
        let stream = Stream::start(system.client()?, system.echo_target(), Pace::default())?;
        stream.wait_for_more(100)?;
        let socket = relay_userspace::api::socket(&system.ingress.state_directory(), &system.ingress.node());
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..1000_u32 {
            let good: &[u8] = match round % 4 {
                0 => b"PUT /v1/limits/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 64\r\n\r\n{\"limits\": {\"client_packets\": 5}, \"duration_seconds\": 0, \"x\": [1]}",
                1 => b"PUT /v1/blocks/203.0.113.0/33 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                2 => b"GET /v1/events?limit=-1 HTTP/1.1\r\nhost: a\r\nx-sudo-user: \x1b[31m\r\n\r\n",
                _ => b"DELETE /v1/bans/1.2.3.4.5 HTTP/1.1\r\nhost: a\r\n\r\n",
            };
            let mut bytes = good.to_vec();
            for _ in 0..random() % 6 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
            if round % 5 == 0 {
                bytes.truncate(1 + random() as usize % bytes.len());
            }
            let mut connection = UnixStream::connect(&socket).context("connect")?;
            connection.set_read_timeout(Some(Duration::from_secs(20))).context("set a time limit")?;
            // It may have heard enough already.
            drop(connection.write_all(&bytes));
            drop(connection.shutdown(std::net::Shutdown::Write));
            let mut answer = Vec::new();
            drop(connection.read_to_end(&mut answer));
        }
        system.ingress.must_run()?;
        let limits = system.ingress.control_json(&["limit", "show"])?;
        let changed = |limit: &serde_json::Value| limit["origin"] != "config";
        let limits = limits["limits"].as_array().context("no limits")?;
        ensure!(!limits.is_empty() && !limits.iter().any(changed), "{limits:?}");
        stream.finish()?.must_be_lossless()?;
        finish(system, echo)
    })
}
