//! The real `xdp-relay`, run on a host of the topology as its administrator would.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::accounts::Accounts;
use crate::conservation::{Balance, DeviceCounters, RelayCounters};
use crate::process::{Background, Finished, run};
use crate::relay_config::RelayConfig;
use crate::topology::{Namespace, Place, Topology};
use crate::waiting::wait_for;

/// Names the binary to test; without it the newest one of this build is taken.
pub const BINARY: &str = "XDP_RELAY_BIN";

const START_PATIENCE: Duration = Duration::from_secs(20);
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// How long counters may take to agree after the last packet: the devices count at the end of a poll.
const BALANCE_PATIENCE: Duration = Duration::from_secs(3);

/// One relay, running or not.
#[derive(Debug)]
pub struct Relay {
    pub config: RelayConfig,
    namespace: Namespace,
    devices: Vec<&'static str>,
    directory: PathBuf,
    pin_directory: PathBuf,
    binary: PathBuf,
    process: Option<Background>,
    /// Runs the controller with less than all rights: a program and its arguments to put before it.
    pub wrapper: Vec<String>,
    /// What the devices had counted before the program was attached.
    baseline: DeviceCounters,
}

impl Relay {
    /// Writes the configuration; starts nothing.
    pub fn new(topology: &Topology, config: RelayConfig) -> Result<Self> {
        Ok(Self {
            namespace: topology.at(config.place)?.clone(),
            devices: topology.devices(config.place),
            directory: topology.directory().to_owned(),
            pin_directory: topology.pin_directory(),
            binary: binary()?,
            process: None,
            wrapper: Vec::new(),
            baseline: DeviceCounters::default(),
            config,
        })
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn devices(&self) -> &[&'static str] {
        &self.devices
    }

    pub fn node(&self) -> String {
        self.config.node()
    }

    /// Starts the controller and waits until it says that it is ready.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} runs already; stop it first", self.node());
        }
        if !self.is_pinned() {
            self.baseline = DeviceCounters::read(&self.namespace, &self.devices)?;
        }
        let config = self.config.write()?;
        let socket_path = self.directory.join(format!("{}.notify", self.node()));
        if socket_path.exists() {
            std::fs::remove_file(&socket_path)
                .with_context(|| format!("remove {}", socket_path.display()))?;
        }
        let socket = UnixDatagram::bind(&socket_path)
            .with_context(|| format!("listen on {}", socket_path.display()))?;
        socket.set_read_timeout(Some(Duration::from_millis(10))).context("set a time limit")?;
        let mut command = match self.wrapper.split_first() {
            Some((program, arguments)) => {
                let mut command = self.namespace.command(program);
                command.args(arguments).arg(&self.binary);
                command
            }
            None => self.namespace.command(&self.binary),
        };
        command.arg("run").arg("--config").arg(config).env("NOTIFY_SOCKET", &socket_path);
        let mut process = Background::start(&mut command, &self.log_path())?;
        wait_for(&format!("{} to be ready", self.node()), START_PATIENCE, || {
            process.must_run()?;
            let mut room = [0; 4096];
            let length = socket.recv(&mut room).unwrap_or(0);
            let text = String::from_utf8_lossy(&room[..length]).into_owned();
            Ok(text.lines().any(|line| line == "READY=1").then_some(()))
        })
        .or_else(|error| {
            // One that ended has said why already.
            process.must_run()?;
            Err(error.context(format!("its log:\n{}", process.log().trim_end())))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends the controller with SIGTERM; the data plane goes on.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { bail!("{} does not run", self.node()) };
        let status = process.stop()?;
        if !status.success() {
            bail!("{} ended with {status} on SIGTERM:\n{}", self.node(), process.log());
        }
        Ok(())
    }

    /// Ends the controller as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { bail!("{} does not run", self.node()) };
        process.kill()
    }

    /// An error if the controller has ended by itself.
    pub fn must_run(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Background::must_run)
    }

    /// Runs another command of the binary on this host, for this node.
    pub fn command(&self, name: &str, arguments: &[&str]) -> Result<Finished> {
        let mut command = self.namespace.command(&self.binary);
        command.arg(name).args(["--node", &self.node(), "--pin-directory"]).arg(&self.pin_directory);
        run(command.args(arguments), COMMAND_LIMIT)
    }

    /// Runs a command that talks to this node's controller.
    pub fn control(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = self.namespace.command(&self.binary);
        command.args(arguments).args(["--node", &self.node(), "--state-directory"]);
        run(command.arg(self.state_directory()), COMMAND_LIMIT)
    }

    /// The same, with what it prints as JSON.
    pub fn control_json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let printed = self.control(&[arguments, &["--json"]].concat())?.success()?;
        serde_json::from_str(&printed).with_context(|| format!("read what {arguments:?} printed: {printed}"))
    }

    pub fn state_directory(&self) -> PathBuf {
        self.config.state_directory()
    }

    /// The program under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A second controller for the same node, which must end by itself.
    pub fn run_second(&self) -> Result<Finished> {
        let mut command = self.namespace.command(&self.binary);
        run(command.arg("run").arg("--config").arg(self.config.write()?), COMMAND_LIMIT)
    }

    /// Stops the controller and removes what it pinned and attached.
    pub fn unload(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.stop()?;
        }
        self.command("unload", &[])?.success()?;
        Ok(())
    }

    pub fn counters(&self) -> Result<RelayCounters> {
        RelayCounters::parse(&self.command("counters", &["--json"])?.success()?)
    }

    /// What an ingress relay says of its clients and services.
    pub fn accounts(&self) -> Result<Accounts> {
        let clients = self.command("clients", &["--json-lines"])?.success()?;
        Accounts::parse(&clients, &self.command("status", &["--json"])?.success()?)
    }

    /// Waits until this reason has counted `packets` more than in `before`.
    pub fn wait_for_reason(&self, before: &RelayCounters, reason: &str, packets: u64) -> Result<()> {
        let mut moved = Default::default();
        wait_for(&format!("{packets} packets counted as {reason}"), BALANCE_PATIENCE, || {
            moved = self.counters()?.moved_since(before);
            Ok((moved.get(reason).copied().unwrap_or(0) >= packets).then_some(()))
        })
        .with_context(|| format!("{} counted {moved:?}", self.node()))
    }

    /// The relay's counters against its devices', once they agree or cannot be expected to any more.
    pub fn balance(&self) -> Result<Balance> {
        let mut latest = None;
        let settled = wait_for("the counters to settle", BALANCE_PATIENCE, || {
            let devices = DeviceCounters::read(&self.namespace, &self.devices)?.since(&self.baseline);
            let accounts = if self.config.place == Place::Ingress { Some(self.accounts()?) } else { None };
            let balance = Balance { relay: self.counters()?, devices, accounts };
            let holds = balance.faults().is_empty();
            latest = Some(balance.clone());
            Ok(holds.then_some(balance))
        });
        match (settled, latest) {
            (Ok(balance), _) | (Err(_), Some(balance)) => Ok(balance),
            (Err(error), None) => Err(error),
        }
    }

    /// An error unless the program runs in native mode, and nowhere in generic mode.
    pub fn must_be_native(&self) -> Result<()> {
        const NATIVE: u64 = 1;
        for device in &self.devices {
            let link = self.namespace.link(device)?;
            let mode = link["xdp"]["mode"].as_u64();
            if mode != Some(NATIVE) {
                bail!(
                    "{device} of {} has XDP in mode {mode:?} (1 is native, 2 generic): {}",
                    self.node(),
                    link["xdp"]
                );
            }
        }
        Ok(())
    }

    /// Whether the data plane of this node is pinned.
    pub fn is_pinned(&self) -> bool {
        self.pin_directory.join(self.node()).exists()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Lets the controller run on when this value is gone.
    pub fn leave_running(&mut self) {
        if let Some(process) = self.process.take() {
            process.leave_running();
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.node()))
    }
}

/// The binary to test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().context("ask for the path of this program")?;
    // target/<profile>/[deps/]<this program>
    let target = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let target = target.context("this program does not lie in a target directory; set XDP_RELAY_BIN")?;
    let built = ["debug", "release"].map(|profile| target.join(profile).join("xdp-relay"));
    let age = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let newest = built.into_iter().filter(|path| path.exists()).max_by_key(|path| age(path));
    newest.with_context(|| {
        format!(
            "there is no xdp-relay below {}; run `cargo build -p relay-userspace`, or set {BINARY}",
            target.display()
        )
    })
}
