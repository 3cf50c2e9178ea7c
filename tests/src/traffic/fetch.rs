//! Real requests of a real client: curl, with the service's name resolved to the VIP.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::run;
use crate::topology::Namespace;
use crate::web_service::NAME;

/// One answer as curl reports it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Fetched {
    pub http_code: u16,
    pub size_download: u64,
    /// In seconds.
    pub time_total: f64,
    /// Until TCP was connected, in seconds.
    pub time_connect: f64,
    /// curl's own exit code for this transfer.
    pub exitcode: i32,
}

/// A client with a name to ask for and an authority to trust.
#[derive(Clone, Debug)]
pub struct Browser<'a> {
    pub client: &'a Namespace,
    pub target: SocketAddrV4,
    pub authority: &'a Path,
    pub limit: Duration,
    /// The client's address to ask from; the kernel's choice without it.
    pub from: Option<Ipv4Addr>,
}

impl Browser<'_> {
    /// Fetches one page into a file and gives what curl says of it. An answer other than 200 is an error.
    pub fn fetch(&self, page: &str, into: &Path) -> Result<Fetched> {
        let mut answers = self.fetch_all(&[page.to_owned()], Some(into))?;
        answers.pop().with_context(|| format!("curl said nothing about {page}"))
    }

    /// Fetches many pages over parallel connections of their own.
    pub fn fetch_parallel(&self, pages: &[String]) -> Result<Vec<Fetched>> {
        self.fetch_all(pages, None)
    }

    fn fetch_all(&self, pages: &[String], into: Option<&Path>) -> Result<Vec<Fetched>> {
        let mut command = self.client.command("curl");
        let (address, port) = (self.target.ip(), self.target.port());
        command.args(["--silent", "--show-error", "--noproxy", "*", "--http1.1"]);
        command.arg("--resolve").arg(format!("{NAME}:{port}:{address}"));
        command.arg("--cacert").arg(self.authority);
        if let Some(from) = self.from {
            command.arg("--interface").arg(from.to_string());
        }
        command.arg("--max-time").arg(self.limit.as_secs().to_string());
        command.args(["--write-out", "%{json}\\n"]);
        if pages.len() > 1 {
            // Without `immediate` curl would wait for the first connection and try to share it.
            command.args(["--parallel", "--parallel-immediate", "--parallel-max"]);
            command.arg(pages.len().min(300).to_string());
        }
        for page in pages {
            command.arg("--output");
            match into {
                Some(path) => command.arg(path),
                None => command.arg("/dev/null"),
            };
            command.arg(format!("https://{NAME}:{port}/{page}"));
        }
        let finished = run(&mut command, self.limit + Duration::from_secs(5))?;
        let answers: Vec<Fetched> = finished
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("read what curl says: {line}")))
            .collect::<Result<_>>()?;
        let failed = answers.iter().filter(|answer| answer.http_code != 200 || answer.exitcode != 0).count();
        if failed > 0 || answers.len() != pages.len() || finished.code() != 0 {
            bail!(
                "{failed} of {} requests to {} failed: {}",
                pages.len(),
                self.target,
                finished.stderr.lines().take(5).collect::<Vec<_>>().join("; ")
            );
        }
        Ok(answers)
    }
}

/// An error unless both files hold the same bytes.
pub fn must_be_equal(one: &Path, other: &Path) -> Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    if read(one)? != read(other)? {
        bail!("{} and {} differ", one.display(), other.display());
    }
    Ok(())
}
