//! What a controller makes of a host that is not as it left it, or not as it should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::relay::{Relay, binary};
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::{EndToEnd, Setup, privileged};

fn pins(system: &EndToEnd, relay: &Relay) -> PathBuf {
    system.topology().pin_directory().join(relay.node())
}

/// The controller ends by itself with this code, and says this.
fn refused(relay: &Relay, code: i32, why: &str) -> Result<()> {
    let ended = relay.run_second()?;
    ensure!(ended.code() == code, "ended with {}: {}", ended.code(), ended.stderr);
    ensure!(ended.stderr.contains(why), "does not say {why:?}: {}", ended.stderr);
    Ok(())
}

#[test]
fn a_pin_directory_that_others_can_write_is_refused() -> Result<()> {
    privileged("a_pin_directory_that_others_can_write_is_refused", || {
        let mut system = EndToEnd::start(Setup::default())?;
        system.ingress.stop()?;
        let directory = pins(&system, &system.ingress);
        let set = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).context("chmod");
        for mode in [0o770, 0o702, 0o1777] {
            set(mode)?;
            refused(&system.ingress, 8, "others may write")?;
        }
        set(0o700)?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let mode = entry.metadata()?.permissions().mode() & 0o7777;
            ensure!(mode == 0o600, "{} has mode {mode:o}", entry.path().display());
        }
        system.ingress.start()?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn what_an_interrupted_start_left_is_removed() -> Result<()> {
    privileged("what_an_interrupted_start_left_is_removed", || {
        let mut system = EndToEnd::start(Setup::default())?;
        system.egress.stop()?;
        let directory = pins(&system, &system.egress);
        // As if the process had died before the set of maps was complete.
        for device in system.egress.devices() {
            fs::remove_file(directory.join(format!("link_{device}"))).context("remove a link")?;
        }
        fs::remove_file(directory.join("META")).context("remove META")?;
        system.egress.start()?;
        ensure!(system.egress.log().contains("interrupted start"), "{}", system.egress.log());
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), Pace::default())?;
        stream.wait_for_more(100)?;
        stream.finish()?.must_be_lossless()?;
        drop(echo.finish()?);
        Ok(())
    })
}

#[test]
fn links_without_meta_are_not_touched() -> Result<()> {
    privileged("links_without_meta_are_not_touched", || {
        let mut system = EndToEnd::start(Setup::default())?;
        system.egress.stop()?;
        fs::remove_file(pins(&system, &system.egress).join("META")).context("remove META")?;
        refused(&system.egress, 1, "META is missing")?;
        for device in system.egress.devices() {
            let link = system.egress.namespace().link(device)?;
            ensure!(!link["xdp"].is_null(), "{device} was detached");
        }
        Ok(())
    })
}

#[test]
fn another_program_on_an_interface_is_refused_by_id_and_name() -> Result<()> {
    privileged("another_program_on_an_interface_is_refused_by_id_and_name", || {
        let mut system = EndToEnd::start(Setup::default())?;
        system.ingress.stop()?;
        // The same interfaces under another node's name: to that node, our program is another's.
        let written = system.ingress.config.write()?;
        let text = fs::read_to_string(&written)?.replace("node = \"", "node = \"other-");
        let other = written.with_extension("other.toml");
        fs::write(&other, text)?;
        let mut command = system.ingress.namespace().command(binary()?);
        command.arg("run").arg("--config").arg(&other);
        let ended = relay_tests::process::run(&mut command, Duration::from_secs(20))?;
        ensure!(ended.code() == 1, "ended with {}: {}", ended.code(), ended.stderr);
        ensure!(ended.stderr.contains("another XDP program (id "), "{}", ended.stderr);
        ensure!(ended.stderr.contains("name ingress)"), "{}", ended.stderr);
        system.ingress.start()?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn a_controller_killed_while_it_starts_loses_no_packet() -> Result<()> {
    privileged("a_controller_killed_while_it_starts_loses_no_packet", || {
        let mut system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), Pace::default())?;
        stream.wait_for_more(100)?;
        system.egress.stop()?;
        let config = system.egress.config.write()?;
        for round in 0..12_u64 {
            let mut command = system.egress.namespace().command(binary()?);
            command.arg("run").arg("--config").arg(&config).stderr(Stdio::null());
            let mut starting = command.spawn().context("start")?;
            std::thread::sleep(Duration::from_millis(40 * round));
            starting.kill().context("kill")?;
            starting.wait().context("wait")?;
        }
        system.egress.start()?;
        stream.wait_for_more(100)?;
        let report = stream.finish()?;
        report.must_be_lossless()?;
        ensure!(echo.finish()?.packets == report.sent);
        system.finish()?;
        Ok(())
    })
}
