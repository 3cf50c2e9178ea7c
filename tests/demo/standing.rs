//! Which demos stand on this machine, and how they are removed: by their names alone, so that it works after a crash.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use relay_tests::topology::{Namespace, remove_named};

use crate::resolver;

/// The one demo that is left up on request.
pub(crate) const KEPT: &str = "relay-demo";
/// Held while the kept demo is made or removed.
const LOCK: &str = "/run/lock/xdp-relay-demo.lock";
const PINS: &str = "/sys/fs/bpf";

/// The name of a demo that ends with this process.
pub(crate) fn passing_name() -> String {
    format!("{KEPT}-{}", std::process::id())
}

/// Removes the demo of this name; says whether there was anything to remove.
pub(crate) fn remove(name: &str) -> Result<bool> {
    let stood = names()?.iter().any(|standing| standing == name);
    remove_named(name)?;
    resolver::remove_files_of(name)?;
    Ok(stood)
}

/// Removes demos whose process was killed before it could remove them itself; says whether there were any.
pub(crate) fn remove_abandoned() -> Result<bool> {
    let is_abandoned =
        |name: &String| owner_of(name).is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists());
    let abandoned: Vec<String> = names()?.into_iter().filter(is_abandoned).collect();
    for name in &abandoned {
        remove(name)?;
    }
    Ok(!abandoned.is_empty())
}

/// The right to make or remove the kept demo, until it is dropped.
pub(crate) fn only_one_kept() -> Result<File> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK)
        .with_context(|| format!("open the lock {LOCK}"))?;
    // SAFETY: the descriptor is open for as long as `lock` lives.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        bail!("another `cargo xtask demo` with --keep or --down is at work; wait for it to end");
    }
    Ok(lock)
}

/// The names of all demos of which anything exists.
fn names() -> Result<Vec<String>> {
    let mut names: Vec<String> =
        Namespace::all_names()?.iter().filter_map(|namespace| demo_of_namespace(namespace)).collect();
    for directory in [std::env::temp_dir().as_path(), Path::new(PINS)] {
        if !directory.exists() {
            continue;
        }
        let entries = directory.read_dir().with_context(|| format!("list {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", directory.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.extend((name == KEPT || owner_of(&name).is_some()).then_some(name));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// `relay-demo-client` and `relay-demo-77-client-router` belong to `relay-demo` and `relay-demo-77`.
fn demo_of_namespace(namespace: &str) -> Option<String> {
    let rest = namespace.strip_prefix(KEPT)?.strip_prefix('-')?;
    let first = rest.split('-').next()?;
    Some(if first.parse::<u32>().is_ok() { format!("{KEPT}-{first}") } else { KEPT.to_owned() })
}

/// The process that made a demo that was not to be kept.
fn owner_of(name: &str) -> Option<u32> {
    name.strip_prefix(KEPT)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_its_demo() {
        assert_eq!(demo_of_namespace("relay-demo-client").as_deref(), Some("relay-demo"));
        assert_eq!(demo_of_namespace("relay-demo-77-client-router").as_deref(), Some("relay-demo-77"));
        assert_eq!(demo_of_namespace("xr77-0-client"), None);
        assert_eq!(demo_of_namespace("relay-demonstration"), None);
    }

    #[test]
    fn the_kept_demo_has_no_owner() {
        assert_eq!(owner_of(KEPT), None);
        assert_eq!(owner_of("relay-demo-77"), Some(77));
    }
}
