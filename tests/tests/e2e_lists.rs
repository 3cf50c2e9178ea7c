//! Lists of the configuration: in force before the first packet, refused as a whole, kept while no controller runs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::process::run;
use relay_tests::relay::{Relay, binary};
use relay_tests::topology::addresses::CLIENT;
use relay_tests::traffic::udp::{Pace, Stream};
use relay_tests::{EndToEnd, Setup, privileged};

const FEW: Pace = Pace { packets_per_second: 2_000, payload: 100, flows: 2 };

/// A list file beside the relay's configuration.
fn list_file(relay: &Relay, name: &str, text: &str) -> Result<PathBuf> {
    let file = relay.config.write()?.with_file_name(name);
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

fn block_by_file(relay: &mut Relay, text: &str) -> Result<PathBuf> {
    let file = list_file(relay, "block.netset", text)?;
    relay.config.extra = format!("\n[lists]\nblock_files = [\"{}\"]\n", file.display());
    Ok(file)
}

#[test]
fn a_wrong_list_file_refuses_the_start_and_what_runs_goes_on() -> Result<()> {
    privileged("a_wrong_list_file_refuses_the_start_and_what_runs_goes_on", || {
        let mut system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        let stream = Stream::start(system.client()?, system.echo_target(), FEW)?;
        stream.wait_for_more(500)?;
        system.ingress.kill()?;
        let file = block_by_file(&mut system.ingress, "203.0.113.0/24\nnonsense\n203.0.113.0/240\n")?;
        let config = system.ingress.config.write()?;
        let mut command = system.ingress.namespace().command(binary()?);
        let ended = run(command.arg("run").arg("--config").arg(&config), Duration::from_secs(20))?;
        ensure!(ended.code() == 3, "ended with {}: {}", ended.code(), ended.stderr);
        for line in [2, 3] {
            let place = format!("{}:{line}: ", file.display());
            ensure!(ended.stderr.contains(&place), "says nothing of line {line}: {}", ended.stderr);
        }
        stream.wait_for_more(500)?;
        // Mended, it is taken.
        fs::write(&file, "# nobody of ours\n203.0.113.0/24 ; SBL1\n2001:db8::/32\n")?;
        system.ingress.start()?;
        let log = system.ingress.log();
        ensure!(log.contains("1 prefixes are listed") && log.contains("skipped 1 IPv6"), "{log}");
        stream.wait_for_more(500)?;
        let report = stream.finish()?;
        report.must_be_lossless()?;
        ensure!(echo.finish()?.packets == report.sent);
        system.finish()?;
        Ok(())
    })
}

#[test]
fn who_is_in_a_list_file_is_blocked_also_while_no_controller_runs() -> Result<()> {
    privileged("who_is_in_a_list_file_is_blocked_also_while_no_controller_runs", || {
        let mut system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        system.ingress.stop()?;
        block_by_file(&mut system.ingress, &format!("{CLIENT} # the client of this test\n"))?;
        system.ingress.start()?;
        let before = system.ingress.counters()?;
        let stream = Stream::start(system.client()?, system.echo_target(), FEW)?;
        system.ingress.wait_for_reason(&before, "blocked", 500)?;
        system.ingress.kill()?;
        let killed = system.ingress.counters()?;
        system.ingress.wait_for_reason(&killed, "blocked", 500)?;
        let report = stream.finish()?;
        ensure!(report.answers.received == 0, "{report:?}");

        // What was allowed at run time wins, also over a restart.
        system.ingress.start()?;
        let allowed = system.ingress.counters()?;
        let address = CLIENT.to_string();
        control(&system.ingress, &["allow", "add", &address])?;
        let list = control(&system.ingress, &["block", "list", "--json"])?;
        ensure!(list.contains("block.netset") && !list.contains("\"hit_packets\":0"), "{list}");
        for restart in [false, true] {
            if restart {
                system.ingress.kill()?;
                system.ingress.start()?;
            }
            let stream = Stream::start(system.client()?, system.echo_target(), FEW)?;
            stream.wait_for_more(500)?;
            stream.finish()?.must_be_lossless()?;
        }
        let moved = system.ingress.counters()?.moved_since(&allowed);
        ensure!(!moved.contains_key("blocked"), "{moved:?}");
        drop(echo.finish()?);
        system.finish()?;
        Ok(())
    })
}

/// A command to the controller of a relay.
fn control(relay: &Relay, arguments: &[&str]) -> Result<String> {
    let mut command = relay.namespace().command(binary()?);
    command.args(arguments).args(["--node", &relay.node()]);
    command.arg("--state-directory").arg(relay.config.write()?.with_file_name("state"));
    run(&mut command, Duration::from_secs(20))?.success()
}
