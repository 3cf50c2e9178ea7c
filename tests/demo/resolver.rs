//! DNS of the client network: a real dnsmasq that knows the service's name, and the files that make the client ask it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use relay_tests::process::{Background, output_of};
use relay_tests::topology::Namespace;
use relay_tests::waiting::wait_for;
use relay_tests::web_service::NAME;

/// `ip netns exec` puts the files of the namespace below this directory in place of those in /etc.
const FILES: &str = "/etc/netns";
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running dnsmasq. Dropping it stops it and removes its files.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// Gone when it was left running.
    dnsmasq: Option<Background>,
    files: Option<PathBuf>,
}

impl Resolver {
    /// Starts it in the client's namespace; the name has one address, `vip`.
    pub(crate) fn start(client: &Namespace, vip: Ipv4Addr, directory: &Path) -> Result<Self> {
        let files = Path::new(FILES).join(client.name());
        std::fs::create_dir_all(&files).with_context(|| format!("create {}", files.display()))?;
        let mut resolver = Self { dnsmasq: None, files: Some(files.clone()) };
        for (name, text) in [("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: dns\n")] {
            let path = files.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        let mut command = client.command("dnsmasq");
        command.args(["--conf-file=/dev/null", "--keep-in-foreground", "--user=root", "--log-facility=-"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts"]);
        command.arg(format!("--pid-file={}", directory.join("dnsmasq.pid").display()));
        command.arg("--log-queries").arg(format!("--local=/{NAME}/")).arg(format!("--address=/{NAME}/{vip}"));
        let mut dnsmasq = Background::start(&mut command, &directory.join("dnsmasq.log"))?;
        wait_for("an answer of dnsmasq", START_PATIENCE, || {
            dnsmasq.must_run()?;
            Ok(look_up(client).ok())
        })?;
        resolver.dnsmasq = Some(dnsmasq);
        Ok(resolver)
    }

    pub(crate) fn leave_running(mut self) {
        self.files = None;
        if let Some(dnsmasq) = self.dnsmasq.take() {
            dnsmasq.leave_running();
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if let Some(files) = self.files.take()
            && let Err(error) = remove(&files)
        {
            eprintln!("{error:#}");
        }
    }
}

/// A command that runs where names are resolved as the client does.
pub(crate) fn command_of(client: &Namespace, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", client.name(), program]);
    command
}

/// Asks for the service's address as any program of the client does.
pub(crate) fn look_up(client: &Namespace) -> Result<Ipv4Addr> {
    let text = output_of(command_of(client, "getent").args(["ahostsv4", NAME]))?;
    let first = text.split_whitespace().next().with_context(|| format!("{NAME} has no address"))?;
    first.parse().with_context(|| format!("read the address {first} of {NAME}"))
}

/// Removes what [`Resolver::start`] wrote for the client of the demo `name`.
pub(crate) fn remove_files_of(name: &str) -> Result<()> {
    remove(&Path::new(FILES).join(format!("{name}-client")))
}

fn remove(files: &Path) -> Result<()> {
    if files.exists() {
        std::fs::remove_dir_all(files).with_context(|| format!("remove {}", files.display()))?;
        // Others may have files there; then it stays.
        drop(std::fs::remove_dir(FILES));
    }
    Ok(())
}
