//! One controller for a node: two would undo each other's generations.
//!
//! A controller holds two locks. The file `<state_directory>/<node>.lock` carries its process id. The node's pin
//! directory is locked as well, so that `unload` finds a running controller whatever state directory that one uses.
//! Both are released by the kernel when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::pins::{self, Pins};

/// A lock that is held until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

/// Locks a node by its file in the state directory.
pub fn lock_node(state_directory: &Path, node: &str) -> Result<Lock, Failure> {
    pins::create_private(state_directory)?;
    pins::require_private(state_directory)?;
    let path = state_directory.join(format!("{node}.lock"));
    let failed = |error: io::Error| Failure::io(format!("lock {}", path.display()), &error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The process id is for the message only.
            drop(file.read_to_string(&mut holder));
            return Err(taken(node, holder.trim().parse().ok()));
        }
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(Lock(file))
}

/// Locks a node by its pin directory, which must exist.
pub fn lock_pins(pins: &Pins) -> Result<Lock, Failure> {
    let failed = |error: io::Error| Failure::io(format!("lock {}", pins.directory().display()), &error);
    let directory = File::open(pins.directory()).map_err(failed)?;
    match directory.try_lock() {
        Ok(()) => Ok(Lock(directory)),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            let inode = directory.metadata().map_err(failed)?.ino();
            Err(taken(pins.node(), holder(inode)))
        }
    }
}

fn taken(node: &str, pid: Option<u32>) -> Failure {
    let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    Failure::new(Exit::Failed, format!("a controller is already running for node {node}{who}"))
        .hint("stop it first; the data plane keeps running without it")
}

/// The controller that runs for a node, without taking its lock even for a moment: a start must not fail because
/// somebody looked.
pub fn holder_of(pins: &Pins) -> Result<Option<u32>, Failure> {
    match std::fs::metadata(pins.directory()) {
        Ok(metadata) => Ok(holder(metadata.ino())),
        Err(error) => Err(Failure::io(format!("examine {}", pins.directory().display()), &error)),
    }
}

/// Who holds the lock on an inode, if /proc tells.
fn holder(inode: u64) -> Option<u32> {
    holder_in(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

/// Lines read `1: FLOCK  ADVISORY  WRITE 1234 00:1a:5678 0 EOF`.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid) = (words.next()?, words.nth(2)?);
        let found: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
        (kind == "FLOCK" && found == inode).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_by_name_and_process() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let first = lock_node(&state, "ingress-1").unwrap();
        let refused = lock_node(&state, "ingress-1").unwrap_err();
        assert_eq!(refused.exit, Exit::Failed);
        let expected = format!("already running for node ingress-1 (process {})", std::process::id());
        assert!(refused.message.contains(&expected), "{refused}");
        assert!(lock_node(&state, "ingress-2").is_ok());
        drop(first);
        assert!(lock_node(&state, "ingress-1").is_ok());
    }

    #[test]
    fn the_holder_of_a_pin_directory_is_found() {
        let locks =
            "1: POSIX  ADVISORY  WRITE 7 00:1a:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 00:1a:42 0 EOF\n";
        assert_eq!(holder_in(locks, 42), Some(812));
        assert_eq!(holder_in(locks, 43), None);
    }

    #[test]
    fn a_locked_pin_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        let pins = Pins::new(directory.path(), "a");
        let held = lock_pins(&pins).unwrap();
        assert!(lock_pins(&pins).unwrap_err().message.contains("already running"));
        drop(held);
        assert!(lock_pins(&pins).is_ok());
    }
}
