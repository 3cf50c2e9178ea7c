//! `xdp-relay run`: brings a relay up and keeps it fresh until SIGTERM. The data plane stays when it ends.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::command::output;
use crate::config::{self, Style};
use crate::exit::{Exit, Failure};
use crate::{host, lock, privileges, serve};

const EXAMPLES: &str = "\
Examples:
  xdp-relay run --config /etc/xdp-relay/ingress.toml
  nsenter --net=/run/netns/lab xdp-relay run --config lab.toml   not `ip netns exec`, which hides the pins

Needs CAP_BPF and CAP_NET_ADMIN (and root once, if no BPF filesystem is mounted at /sys/fs/bpf).
Ends with 0 on SIGTERM, 3 if the configuration has problems, 8 if a capability is missing, 1 on other failures.";

/// Load a relay and keep it going until SIGTERM; what it attached stays attached
///
/// Started again, with the same or a changed configuration, it takes over the maps and replaces the running program
/// without losing a packet. `xdp-relay unload` stops the traffic.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// What to log, on standard error
    #[arg(long, value_enum, default_value_t = LogLevel::Info, value_name = "LEVEL")]
    log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl Run {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        let config = config::load(&self.config, output::stderr_style())?;
        start_logging(self.log_level);
        host::require_kernel()?;
        privileges::require()?;
        // SAFETY: umask cannot fail. Pins, locks and directories are ours alone.
        unsafe { libc::umask(0o077) };
        let _lock = lock::lock_node(&config.state_directory, &config.node)?;
        serve::serve(config).map(|()| Exit::Ok)
    }
}

fn start_logging(level: LogLevel) {
    // Libraries tell their own story at every step; only their trouble is of interest, unless everything is asked for.
    let libraries = if matches!(level, LogLevel::Trace) { LevelFilter::DEBUG } else { LevelFilter::WARN };
    let filter = Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::from(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(output::stderr_style() == Style::Coloured)
        .with_target(false);
    // journald has its own clock.
    let lines = if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().with_filter(filter).boxed()
    } else {
        lines.with_filter(filter).boxed()
    };
    tracing_subscriber::registry().with(lines).init();
}
