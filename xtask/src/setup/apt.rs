//! Installs Debian packages, and starts none of the services in them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, bail};

use crate::{bpf::toolchain::find, process, workspace};

/// Asked by Debian's maintainer scripts before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The answer "this action is forbidden".
const POLICY_SCRIPT: &str = "#!/bin/sh\nexit 101\n";

/// Waits for another apt instead of failing.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=120";

/// Whether Debian's packages are the way to go: this machine's apt knows them, and it is for us to install them, or
/// there is no `other_way` than to have somebody do it.
pub(crate) fn offers(packages: &[&str], other_way: bool) -> Result<bool> {
    if find("apt-get").is_none() {
        return Ok(false);
    }
    if !workspace::is_root()? {
        return Ok(!other_way);
    }
    update()?;
    Ok(packages.iter().all(|package| knows(package)))
}

fn knows(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    let status = command.args(["show", package]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Brings the package lists up to date, once.
fn update() -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    process::run_with_progress("setup: updating Debian's package lists", apt().arg("update"))?;
    DONE.store(true, Ordering::Relaxed);
    Ok(())
}

pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if find("apt-get").is_none() {
        bail!("these are missing, and there is no apt-get to install them: {list} (Debian's package names)");
    }
    if !workspace::is_root()? {
        bail!(
            "these are missing, run as root: apt-get update && apt-get install --no-install-recommends {list}"
        );
    }
    update()?;
    let _no_services = NoServices::hold()?;
    eprintln!("setup: Debian packages to install: {list}");
    let mut command = apt();
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    process::run_with_progress("setup: installing Debian packages", &mut command)?;
    if packages.contains(&"nginx") {
        keep_nginx_off();
    }
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", LOCK_TIMEOUT]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// While it lives, installing a package starts no service: the tests run their own, in network namespaces.
#[derive(Debug)]
struct NoServices {
    made: bool,
}

impl NoServices {
    fn hold() -> Result<Self> {
        let policy = Path::new(POLICY);
        if policy.exists() {
            return Ok(Self { made: false });
        }
        fs::write(policy, POLICY_SCRIPT).with_context(|| format!("cannot write {POLICY}"))?;
        let held = Self { made: true };
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {POLICY} executable"))?;
        Ok(held)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!(
                "warning: cannot remove {POLICY}, which keeps Debian packages from starting services: {error}"
            );
        }
    }
}

/// The package enables the service for the next boot; a test tool must not open port 80 of somebody's machine.
fn keep_nginx_off() {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    let status = Command::new("systemctl").args(["disable", "nginx"]).stdin(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("warning: nginx may start at the next boot; `systemctl disable nginx` keeps it off");
    }
}
