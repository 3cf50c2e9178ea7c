//! What an ordinary service is used for, over minutes: a long download and many connections kept alive, by real clients.
//! What they have got so far can be asked at any time, so that one set of connections is measured with and without a flood.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::fetch::Browser;
use crate::process::Background;
use crate::waiting::wait_until;
use crate::web_service::NAME;

const START_PATIENCE: Duration = Duration::from_secs(20);
/// A request that takes longer has failed.
const REQUEST_LIMIT: &str = "15";

/// What the visitors do.
#[derive(Clone, Copy, Debug)]
pub struct Visits {
    /// Connections that each ask for a page every second.
    pub connections: usize,
    pub page: &'static str,
    /// A page that is large enough to be loaded all the time.
    pub download: &'static str,
}

impl Default for Visits {
    fn default() -> Self {
        Self { connections: 50, page: "1000", download: "100000000" }
    }
}

/// Clients at work. Dropping it ends them.
#[derive(Debug)]
pub struct Visitors {
    keepers: Vec<Background>,
    download: Background,
    copy: PathBuf,
}

/// What they have got since they started.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    pub at: Instant,
    /// Of the download.
    pub bytes: u64,
    /// Pages over the connections kept alive.
    pub pages: u64,
    /// Requests without an answer, or with another than the page.
    pub failed: u64,
    /// Connections made; more than there are to be means that some broke.
    pub connections: u64,
}

/// What they got in a second, in one stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Goodput {
    pub bytes: f64,
    pub pages: f64,
}

impl Got {
    pub fn since(&self, before: &Self) -> Goodput {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-9);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        Goodput { bytes: rate(self.bytes, before.bytes), pages: rate(self.pages, before.pages) }
    }
}

impl Visitors {
    /// Starts them, and waits until each has got something.
    pub fn start(browser: &Browser<'_>, directory: &Path, visits: Visits) -> Result<Self> {
        let copy = directory.join("download");
        let mut command = curl(browser);
        command.arg("--no-buffer").arg("--output").arg(&copy).arg(url(browser, visits.download));
        let download = Background::start(&mut command, &directory.join("download.log"))?;
        let keepers = (0..visits.connections)
            .map(|number| {
                let mut command = curl(browser);
                command.args(["--rate", "1/s", "--max-time", REQUEST_LIMIT, "--output", "/dev/null"]);
                // To the error output, which is not buffered.
                command.args(["--write-out", "%{stderr}%{http_code} %{exitcode} %{num_connects}\\n"]);
                command.arg(format!("{}?[1-100000]", url(browser, visits.page)));
                // They ask one after the other, not all in the same moment.
                std::thread::sleep(Duration::from_secs(1) / visits.connections as u32);
                Background::start(&mut command, &directory.join(format!("keeper-{number}.log")))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut visitors = Self { keepers, download, copy };
        wait_until("all visitors to get something", START_PATIENCE, || {
            visitors.must_run()?;
            let all = visitors.keepers.iter().all(|keeper| keeper.log().lines().count() > 1);
            Ok(all && visitors.loaded() > 0)
        })
        .with_context(|| format!("{:?}\n{}", visitors.got(), visitors.download.log()))?;
        Ok(visitors)
    }

    pub fn got(&self) -> Result<Got> {
        let mut got = Got { at: Instant::now(), bytes: self.loaded(), pages: 0, failed: 0, connections: 0 };
        for keeper in &self.keepers {
            let log = keeper.log();
            // The last line may be half written.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            for line in whole.lines() {
                // Anything else is a complaint of curl's; the line that follows says that it failed.
                let mut numbers = line.split(' ').map(str::parse::<u64>);
                let (Some(Ok(code)), Some(Ok(exit)), Some(Ok(connections))) =
                    (numbers.next(), numbers.next(), numbers.next())
                else {
                    continue;
                };
                let well = (code, exit) == (200, 0);
                got.pages += u64::from(well);
                got.failed += u64::from(!well);
                got.connections += connections;
            }
        }
        Ok(got)
    }

    /// An error if a connection broke or a request failed.
    pub fn must_be_unbroken(&mut self) -> Result<()> {
        self.must_run()?;
        let got = self.got()?;
        let connections = self.keepers.len() as u64;
        ensure!(
            got.failed == 0 && got.connections == connections,
            "{} requests failed, and {connections} connections were made {} times",
            got.failed,
            got.connections
        );
        Ok(())
    }

    fn must_run(&mut self) -> Result<()> {
        self.keepers.iter_mut().chain([&mut self.download]).try_for_each(Background::must_run)
    }

    fn loaded(&self) -> u64 {
        std::fs::metadata(&self.copy).map_or(0, |data| data.len())
    }
}

fn curl(browser: &Browser<'_>) -> std::process::Command {
    let mut command = browser.client.command("curl");
    let (address, port) = (browser.target.ip(), browser.target.port());
    command.args(["--silent", "--show-error", "--noproxy", "*", "--http1.1"]);
    command.arg("--resolve").arg(format!("{NAME}:{port}:{address}"));
    command.arg("--cacert").arg(browser.authority);
    command
}

fn url(browser: &Browser<'_>, page: &str) -> String {
    format!("https://{NAME}:{}/{page}", browser.target.port())
}
