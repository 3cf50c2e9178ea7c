//! curl on the client, with the service's name resolved by the client's name server.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use relay_tests::process::run;
use relay_tests::topology::Namespace;
use relay_tests::web_service::NAME;
use serde::Deserialize;

use crate::resolver::command_of;

/// How long all pages of one call may take.
const LIMIT: Duration = Duration::from_secs(20);
const CONNECT_LIMIT: &str = "3";

/// One transfer, in curl's own words.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) http_code: u16,
    pub(crate) size_download: u64,
    /// In seconds.
    pub(crate) time_total: f64,
    /// Where it really connected to; empty if it could not.
    pub(crate) remote_ip: String,
    /// curl's own exit code for this transfer.
    pub(crate) exitcode: i32,
    #[serde(default)]
    pub(crate) errormsg: Option<String>,
}

impl Transfer {
    pub(crate) fn succeeded(&self, vip: Ipv4Addr) -> bool {
        self.http_code == 200 && self.exitcode == 0 && self.remote_ip == vip.to_string()
    }
}

/// Fetches one page into a file, over TLS.
pub(crate) fn fetch(client: &Namespace, authority: &Path, page: &str, into: &Path) -> Result<Transfer> {
    let page = [(page.to_owned(), into)];
    fetch_all(client, authority, &page)?.pop().with_context(|| format!("curl said nothing about {NAME}"))
}

/// Fetches a page many times, each over a connection of its own, all at once.
pub(crate) fn fetch_parallel(
    client: &Namespace,
    authority: &Path,
    page: &str,
    times: usize,
) -> Result<Vec<Transfer>> {
    fetch_all(client, authority, &vec![(page.to_owned(), Path::new("/dev/null")); times])
}

fn fetch_all(client: &Namespace, authority: &Path, pages: &[(String, &Path)]) -> Result<Vec<Transfer>> {
    let mut command = command_of(client, "curl");
    // First of all: no configuration of the user's.
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--http1.1"]);
    command.arg("--cacert").arg(authority);
    command.args(["--connect-timeout", CONNECT_LIMIT, "--max-time"]).arg(LIMIT.as_secs().to_string());
    command.args(["--write-out", "%{json}\\n"]);
    if pages.len() > 1 {
        // Without `immediate` curl would wait for the first connection and try to share it.
        command.args(["--parallel", "--parallel-immediate", "--parallel-max"]).arg(pages.len().to_string());
    }
    for (page, into) in pages {
        command.arg("--output").arg(into).arg(format!("https://{NAME}/{page}"));
    }
    let finished = run(&mut command, LIMIT + Duration::from_secs(5))?;
    let transfers = finished.stdout.lines();
    transfers
        .map(|line| serde_json::from_str(line).with_context(|| format!("read what curl says: {line}")))
        .collect()
}
