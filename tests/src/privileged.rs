//! The gate in front of every test that needs root: skipped with a line by default, never skipped when asked for.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};

/// Set to `1` to run the privileged tests; then one that cannot run fails.
pub const ENABLE: &str = "RELAY_PRIVILEGED";
/// Names a file to which every privileged test that really ran appends its name, so that the caller can insist on N > 0.
pub const RECORD: &str = "RELAY_PRIVILEGED_RECORD";
/// One privileged test at a time on a machine: they measure loss at speed, and disturb each other.
const LOCK: &str = "/run/lock/xdp-relay-privileged-tests.lock";

/// Runs `body` if privileged tests are asked for, alone on this machine.
pub fn privileged(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::env::var_os(ENABLE).is_none_or(|value| value != "1") {
        eprintln!("skipped {name}: it needs root and network namespaces; set {ENABLE}=1 to run it");
        return Ok(());
    }
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("cannot run {name}: {ENABLE}=1 is set but this is not root; run as root or unset it");
    }
    let _alone = alone()?;
    crate::topology::remove_abandoned()?;
    record(name)?;
    body()
}

fn alone() -> Result<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK)
        .with_context(|| format!("open the lock {LOCK}"))?;
    // SAFETY: the descriptor is open for as long as `lock` lives.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(std::io::Error::last_os_error()).context(format!("take the lock {LOCK}"));
    }
    Ok(lock)
}

fn record(name: &str) -> Result<()> {
    let Some(path) = std::env::var_os(RECORD) else { return Ok(()) };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open {} named by {RECORD}", path.display()))?;
    writeln!(file, "{name}").with_context(|| format!("write {}", path.display()))
}
