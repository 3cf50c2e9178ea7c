//! `cargo xtask test`: the host's tests, then those that need root: packet cases in the kernel, end to end in network
//! namespaces.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{bpf::compile::line, process, setup, workspace};

/// Run the tests; all of them by default, which needs root.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Run the tests that need no root
    #[arg(long)]
    host: bool,
    /// Run the packet cases in the kernel
    #[arg(long)]
    kernel: bool,
    /// Run the end-to-end tests in network namespaces
    #[arg(long)]
    e2e: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// Asks the privileged tests to run; without it they skip themselves.
const PRIVILEGED: &str = "RELAY_PRIVILEGED";

/// Names the file to which every privileged test that really ran adds its name.
const RECORD: &str = "RELAY_PRIVILEGED_RECORD";

/// Names the relay that the tests run.
const RELAY: &str = "XDP_RELAY_BIN";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Host,
    Kernel,
    EndToEnd,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kernel => "kernel",
            Self::EndToEnd => "end-to-end",
        }
    }

    /// Integration tests tell by their name what they need.
    fn of(target: &str) -> Self {
        if target.starts_with("e2e_") {
            Self::EndToEnd
        } else if target == "cases_kernel" || target.starts_with("kernel_") {
            Self::Kernel
        } else {
            Self::Host
        }
    }
}

/// Added up over the closing lines of the test programs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let all = !options.host && !options.kernel && !options.e2e;
    let kinds = [(Kind::Host, options.host), (Kind::Kernel, options.kernel), (Kind::EndToEnd, options.e2e)];
    let chosen: Vec<Kind> =
        kinds.into_iter().filter(|(_, asked)| all || *asked).map(|(kind, _)| kind).collect();
    if chosen != [Kind::Host] && !workspace::is_root()? {
        bail!("the kernel and end-to-end tests need root; `cargo xtask test --host` runs the others");
    }
    let end_to_end = chosen.contains(&Kind::EndToEnd);
    setup::ensure(if end_to_end { &[setup::Group::Bpf, setup::Group::Test] } else { &[setup::Group::Bpf] })?;

    let targets = integration_tests()?;
    if chosen.iter().any(|kind| *kind != Kind::Host) {
        process::run(workspace::cargo("build").args(["--workspace", "--bin", "xdp-relay"]))?;
    }
    let filter = options.filter.as_deref();
    let mut total = Counts::default();
    let mut failures = Vec::new();
    for kind in chosen {
        let of_kind = || targets.iter().map(String::as_str).filter(|target| Kind::of(target) == kind);
        if kind == Kind::Host {
            host(of_kind(), filter, &mut total, &mut failures)?;
            continue;
        }
        if of_kind().next().is_none() {
            failures.push(format!("there is no {} test to run", kind.name()));
        }
        for target in of_kind() {
            privileged(target, kind, filter, &mut total, &mut failures)?;
        }
    }
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.ignored);
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    if total.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

fn host<'a>(
    targets: impl Iterator<Item = &'a str>,
    filter: Option<&str>,
    total: &mut Counts,
    failures: &mut Vec<String>,
) -> Result<()> {
    let mut units = workspace::cargo("test");
    units.args(["--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for target in targets {
        units.args(["--test", target]);
    }
    let mut documentation = workspace::cargo("test");
    documentation.args(["--workspace", "--no-fail-fast", "--doc"]);
    for mut command in [units, documentation] {
        if let Some(filter) = filter {
            command.args(["--", filter]);
        }
        command.env_remove(PRIVILEGED);
        count(&mut command, total, failures)?;
    }
    Ok(())
}

fn privileged(
    target: &str,
    kind: Kind,
    filter: Option<&str>,
    total: &mut Counts,
    failures: &mut Vec<String>,
) -> Result<()> {
    let record = record_path();
    fs::write(&record, "").with_context(|| format!("cannot write {}", record.display()))?;
    let mut command = workspace::cargo("test");
    command.args(["--workspace", "--test", target, "--"]).args(filter);
    if kind == Kind::EndToEnd {
        // They wait for timers and count lost packets: side by side they would disturb each other.
        command.arg("--test-threads=1");
    }
    command.env(PRIVILEGED, "1").env(RECORD, &record).env(RELAY, workspace::target().join("debug/xdp-relay"));
    count(&mut command, total, failures)?;
    let ran = fs::read_to_string(&record).with_context(|| format!("cannot read {}", record.display()))?;
    fs::remove_file(&record).with_context(|| format!("cannot remove {}", record.display()))?;
    if ran.lines().next().is_none() && filter.is_none() {
        failures.push(format!("`{}` ran no test", typed(&command)));
    }
    Ok(())
}

fn record_path() -> PathBuf {
    env::temp_dir().join(format!("xdp-relay-tests-{}", std::process::id()))
}

/// Runs a cargo test command, shows what it writes, and adds up what its test programs say at their end.
fn count(command: &mut Command, total: &mut Counts, failures: &mut Vec<String>) -> Result<()> {
    // An error that a test returns says what was wrong; where it was made is noise. Panics keep their backtrace.
    command.env("RUST_LIB_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    if let Some(stdout) = child.stdout.take() {
        for bytes in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&bytes);
            println!("{text}");
            if let Some(counts) = closing_line(&text) {
                total.passed += counts.passed;
                total.failed += counts.failed;
                total.ignored += counts.ignored;
            }
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", line(command)))?;
    if !status.success() {
        failures.push(format!("`{}` failed: {status}", typed(command)));
    }
    Ok(())
}

/// The command as a person would type it to see the same again.
fn typed(command: &Command) -> String {
    let asked = command.get_envs().any(|(name, value)| name == PRIVILEGED && value.is_some());
    let environment = if asked { format!("{PRIVILEGED}=1 ") } else { String::new() };
    format!("{environment}{}", line(command))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`
fn closing_line(text: &str) -> Option<Counts> {
    let (_, numbers) = text.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word| {
        let part = numbers.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse::<u64>().ok()
    };
    Some(Counts { passed: number("passed")?, failed: number("failed")?, ignored: number("ignored")? })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn integration_tests() -> Result<Vec<String>> {
    let text = process::read(workspace::cargo("metadata").args(["--no-deps", "--format-version=1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cannot read the answer of `cargo metadata`")?;
    let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
    let mut names: Vec<String> = targets
        .filter(|target| target.kind.iter().any(|kind| kind == "test"))
        .map(|target| target.name)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_closing_line_of_a_test_program() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(closing_line(line), Some(Counts { passed: 3, failed: 1, ignored: 2 }));
        assert_eq!(closing_line("test some::name ... ok"), None);
    }

    #[test]
    fn knows_what_a_target_needs_by_its_name() {
        assert_eq!(Kind::of("cases_host"), Kind::Host);
        assert_eq!(Kind::of("cases_kernel"), Kind::Kernel);
        assert_eq!(Kind::of("e2e_web"), Kind::EndToEnd);
    }
}
