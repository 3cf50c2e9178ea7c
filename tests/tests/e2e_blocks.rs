//! Clients that an operator blocks or allows: at once, for as long as said, whatever becomes of the controller.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relay_tests::topology::addresses::CLIENT;
use relay_tests::traffic::udp::{Echo, ask};
use relay_tests::waiting::wait_until;
use relay_tests::{EndToEnd, Setup, privileged};
use relay_userspace::actions::Done;
use relay_userspace::api::client::Client;
use serde_json::json;

/// Patience with an answer that should come.
const ANSWER: Duration = Duration::from_millis(500);
/// What an action may take on a busy machine; the aim is a tenth of it.
const AT_ONCE: Duration = Duration::from_secs(1);

fn answered(system: &EndToEnd) -> Result<bool> {
    Ok(ask(system.client()?, system.echo_target(), b"hello", ANSWER)?.is_some())
}

fn must_be_blocked(system: &EndToEnd, when: &str) -> Result<()> {
    let before = system.ingress.counters()?;
    ensure!(!answered(system)?, "{when}: the service answers a blocked client");
    system.ingress.wait_for_reason(&before, "blocked", 1).context(when.to_owned())
}

fn must_be_served(system: &EndToEnd, when: &str) -> Result<()> {
    wait_until(when, Duration::from_secs(5), || answered(system))
}

fn client(system: &EndToEnd) -> Client {
    let node = system.ingress.node();
    Client::new(&relay_userspace::api::socket(&system.ingress.state_directory(), &node), &node)
}

fn start() -> Result<(EndToEnd, Echo)> {
    let system = EndToEnd::start(Setup::default())?;
    let echo = system.start_echo()?;
    must_be_served(&system, "before anything was done")?;
    Ok((system, echo))
}

fn finish(system: EndToEnd, echo: Echo) -> Result<()> {
    drop(echo.finish()?);
    system.finish().map(drop)
}

#[test]
fn a_block_holds_at_once_and_outlives_the_controller() -> Result<()> {
    privileged("a_block_holds_at_once_and_outlives_the_controller", || {
        let (mut system, echo) = start()?;
        let prefix = format!("{CLIENT}/32");
        let began = Instant::now();
        let body = json!({ "reason": "floods us", "duration_seconds": 3600 });
        let done: Done = client(&system).put(&format!("/v1/blocks/{prefix}"), &body)?;
        let took = began.elapsed();
        eprintln!("block: {took:?} from the request to the answer, with the file on disk");
        ensure!(done.result == "added", "{done:?}");
        ensure!(took < AT_ONCE, "it took {took:?}");
        must_be_blocked(&system, "right after the answer")?;

        system.ingress.stop()?;
        must_be_blocked(&system, "without a controller")?;
        system.ingress.start()?;
        must_be_blocked(&system, "after a restart")?;
        system.ingress.kill()?;
        must_be_blocked(&system, "after kill -9")?;
        system.ingress.start()?;
        must_be_blocked(&system, "after kill -9 and a start")?;

        let listed = system.ingress.control_json(&["block", "list"])?;
        let rule = &listed["rules"][0];
        ensure!(rule["prefix"] == prefix.as_str() && rule["origin"] == "runtime", "{listed}");
        ensure!(rule["reason"] == "floods us" && rule["by"]["uid"] == 0, "{listed}");
        ensure!(rule["hit_packets"].as_u64() >= Some(1), "{listed}");
        let text = system.ingress.control(&["block", "list"])?.success()?;
        ensure!(text.contains(&prefix) && text.contains("floods us"), "{text}");

        system.ingress.control(&["block", "remove", &prefix])?.success()?;
        must_be_served(&system, "the block was removed")?;
        let gone = system.ingress.control(&["block", "remove", &prefix, "--json"])?;
        ensure!(gone.code() == 5, "ended with {}: {}", gone.code(), gone.stderr);
        let said: serde_json::Value = serde_json::from_str(&gone.stdout).context("read the error")?;
        ensure!(said["error"]["code"] == "not_found", "{said}");
        finish(system, echo)
    })
}

#[test]
fn a_block_ends_by_itself_while_no_controller_runs() -> Result<()> {
    privileged("a_block_ends_by_itself_while_no_controller_runs", || {
        let (mut system, echo) = start()?;
        let block = ["block", "add", &CLIENT.to_string(), "--for", "5s"];
        let began = Instant::now();
        system.ingress.control(&block)?.success()?;
        system.ingress.kill()?;
        must_be_blocked(&system, "while it lasts")?;
        wait_until("the block to end", Duration::from_secs(30), || answered(&system))?;
        let lasted = began.elapsed();
        eprintln!("a block for 5 s lasted {lasted:?} without a controller");
        ensure!(lasted > Duration::from_secs(4), "it lasted {lasted:?}");
        system.ingress.start()?;
        let listed = system.ingress.control_json(&["block", "list"])?;
        ensure!(listed["rules"].as_array().is_some_and(Vec::is_empty), "{listed}");
        must_be_served(&system, "after the end and a start")?;
        finish(system, echo)
    })
}

#[test]
fn an_allowed_client_passes_what_blocks_it() -> Result<()> {
    privileged("an_allowed_client_passes_what_blocks_it", || {
        let (system, echo) = start()?;
        let address = CLIENT.to_string();
        system.ingress.control(&["block", "add", "198.51.100.0/24"])?.success()?;
        must_be_blocked(&system, "its prefix is blocked")?;
        system.ingress.control(&["allow", "add", &address, "--reason", "ours"])?.success()?;
        must_be_served(&system, "the longer prefix is allowed")?;
        let allowed = system.ingress.control_json(&["allow", "list"])?;
        ensure!(allowed["rules"][0]["reason"] == "ours", "{allowed}");
        system.ingress.control(&["allow", "remove", &address])?.success()?;
        must_be_blocked(&system, "it is allowed no longer")?;
        system.ingress.control(&["allow", "add", "198.51.100.0/24"])?.success()?;
        must_be_served(&system, "the last word about a prefix counts")?;
        finish(system, echo)
    })
}

#[test]
fn allow_at_run_time_wins_over_the_configuration() -> Result<()> {
    privileged("allow_at_run_time_wins_over_the_configuration", || {
        let extra = "[[block]]\nprefix = \"198.51.100.0/24\"\nreason = \"not yet\"\n";
        let mut system = EndToEnd::start(Setup::default())?;
        let echo = system.start_echo()?;
        system.ingress.stop()?;
        system.ingress.config.extra = extra.to_owned();
        system.ingress.start()?;
        must_be_blocked(&system, "the configuration blocks it")?;
        let listed = system.ingress.control_json(&["block", "list"])?;
        ensure!(listed["rules"][0]["origin"] == "config", "{listed}");
        let refused = system.ingress.control(&["block", "remove", "198.51.100.0/24"])?;
        ensure!(refused.code() == 5 && refused.stderr.contains("allow add"), "{}", refused.stderr);
        system.ingress.control(&["allow", "add", "198.51.100.0/24", "--for", "1h"])?.success()?;
        must_be_served(&system, "an operator allowed it")?;
        finish(system, echo)
    })
}

#[test]
fn a_limit_set_at_run_time_is_kept_from_the_answer_on() -> Result<()> {
    privileged("a_limit_set_at_run_time_is_kept_from_the_answer_on", || {
        let (mut system, echo) = start()?;
        // What is over the limit gets no answer, which is no loss.
        system.may_lose = true;
        let body = json!({ "limits": { "client_packets": 10 }, "duration_seconds": 3600 });
        let began = Instant::now();
        client(&system).put::<Done>("/v1/limits/echo", &body)?;
        let took = began.elapsed();
        eprintln!("limit: {took:?} from the request to the answer, with the file on disk");
        ensure!(took < AT_ONCE, "it took {took:?}");
        let before = system.ingress.counters()?;
        for _ in 0..20 {
            ask(system.client()?, system.echo_target(), b"hello", Duration::from_millis(1))?;
        }
        system.ingress.wait_for_reason(&before, "limit_client_packets", 5)?;
        client(&system).delete::<Done>("/v1/limits/echo")?;
        let before = system.ingress.counters()?;
        for _ in 0..20 {
            must_be_served(&system, "the limit was taken back")?;
        }
        let limited = system.ingress.counters()?.moved_since(&before).get("limit_client_packets").copied();
        ensure!(
            limited.is_none_or(|packets| packets == 0),
            "{limited:?} packets were over a limit that is gone"
        );
        finish(system, echo)
    })
}
