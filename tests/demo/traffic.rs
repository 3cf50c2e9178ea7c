//! What the client does: asks for the name, fetches pages over TLS, sends UDP, pings.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use relay_tests::process::run;
use relay_tests::topology::addresses::{CLIENT, VIP};
use relay_tests::traffic::fetch::must_be_equal;
use relay_tests::traffic::udp::{Pace, Stream, ask};
use relay_tests::web_service::NAME;

use crate::browse::{Transfer, fetch, fetch_parallel};
use crate::findings::{Count, Findings};
use crate::interrupt;
use crate::resolver::{command_of, look_up};
use crate::screen::Screen;
use crate::stage::{ECHO, Stage, WHO_AM_I, address_of};

/// Pages are named for their size.
const PAGES: [&str; 6] = ["index.html", "1", "1000", "10000", "1000000", "10000000"];
const AT_ONCE: usize = 50;
const PAGE_AT_ONCE: &str = "10000";
const DATAGRAMS: u64 = 1000;
const PINGS: u64 = 5;

/// Everything, one kind after the other. What fails is counted and noted, and the next kind has its turn.
pub(crate) fn run_all(stage: &Stage, screen: &Screen, findings: &mut Findings) -> Result<()> {
    screen.heading("What the client does");
    type Step = fn(&Stage, &Screen, &mut Findings) -> Result<()>;
    let steps: [(&str, Step); 4] = [("DNS", resolve), ("HTTPS", browse), ("UDP", datagrams), ("ping", ping)];
    for (name, step) in steps {
        interrupt::check()?;
        if let Err(error) = step(stage, screen, findings) {
            screen.check(name, false, &format!("{error:#}"));
            findings.note(&error.context(name));
        }
    }
    Ok(())
}

fn resolve(stage: &Stage, screen: &Screen, findings: &mut Findings) -> Result<()> {
    let address = look_up(stage.client()?)?;
    findings.name_resolved_to_vip = address == VIP;
    let facts = format!("{NAME} is {address}, says dnsmasq in the client network");
    screen.check("DNS", findings.name_resolved_to_vip, &facts);
    Ok(())
}

fn browse(stage: &Stage, screen: &Screen, findings: &mut Findings) -> Result<()> {
    let planned = (PAGES.len() + AT_ONCE) as u64;
    findings.https = Count { ok: 0, failed: planned };
    let (client, authority) = (stage.client()?, stage.web.authority());
    let copy = stage.topology().directory().join("copy");
    let mut bytes = 0;
    for page in PAGES {
        let transfer = fetch(client, &authority, page, &copy)?;
        let whole = transfer.succeeded(VIP).then(|| must_be_equal(&stage.web.page(page), &copy)).transpose();
        if let Err(error) = &whole {
            findings.note(error);
        }
        let right = matches!(whole, Ok(Some(())));
        findings.https.succeeded(u64::from(right));
        bytes += transfer.size_download;
        let facts = format!("https://{NAME}/{page:<10} {}", described(&transfer));
        screen.check("HTTPS", right, &facts);
        if !right && transfer.remote_ip.is_empty() {
            bail!("{} requests not made: the service cannot be reached", findings.https.failed - 1);
        }
    }
    let transfers = fetch_parallel(client, &authority, PAGE_AT_ONCE, AT_ONCE)?;
    let size = PAGE_AT_ONCE.parse::<u64>().context("the name of a page is its size")?;
    let right = transfers.iter().filter(|each| each.succeeded(VIP) && each.size_download == size).count();
    findings.https.succeeded(right as u64);
    bytes += transfers.iter().map(|each| each.size_download).sum::<u64>();
    let seconds = transfers.iter().map(|each| each.time_total).fold(0.0, f64::max);
    let facts = format!(
        "{right} of {AT_ONCE} connections at once, {PAGE_AT_ONCE} bytes each, in {:.0} ms",
        seconds * 1e3
    );
    screen.check("HTTPS", right == AT_ONCE, &facts);
    findings.https_bytes = bytes;
    Ok(())
}

fn described(transfer: &Transfer) -> String {
    if transfer.exitcode != 0 {
        let message = transfer.errormsg.as_deref().unwrap_or("no reason given");
        return format!("curl: {message}");
    }
    let (code, bytes) = (transfer.http_code, transfer.size_download);
    format!("{code} {bytes:>9} bytes in {:>4.0} ms from {}", transfer.time_total * 1e3, transfer.remote_ip)
}

fn datagrams(stage: &Stage, screen: &Screen, findings: &mut Findings) -> Result<()> {
    findings.udp = Count { ok: 0, failed: DATAGRAMS + 1 };
    let client = stage.client()?;
    let answer = ask(client, SocketAddrV4::new(VIP, WHO_AM_I), b"who am I?", Duration::from_secs(2))?;
    findings.udp.succeeded(u64::from(answer.is_some()));
    let seen_as = answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let right = seen_as.as_deref().and_then(address_of) == Some(CLIENT);
    let facts = match &seen_as {
        Some(text) => format!("asked \"who am I?\", the service answered \"{text}\""),
        None => "asked \"who am I?\", no answer came".to_owned(),
    };
    screen.check("UDP", right, &facts);
    findings.service_seen_as = seen_as;

    let echo = stage.start_echo()?;
    let pace = Pace { packets_per_second: 2000, flows: 4, ..Pace::default() };
    let stream = Stream::start(client, SocketAddrV4::new(VIP, ECHO), pace)?;
    stream.wait_for_more(DATAGRAMS)?;
    let report = stream.finish()?;
    let seen = echo.finish()?;
    findings.echo_peers = seen.peers.iter().map(|peer| *peer.ip()).collect();
    // A few more than asked for may be under way when the sender is told to stop.
    findings.udp.failed += report.sent.saturating_sub(DATAGRAMS);
    findings.udp.succeeded(report.answers.received);
    let facts = format!(
        "{} of {} numbered datagrams answered, {} missing, {} twice, {} out of order",
        report.answers.received,
        report.sent,
        report.answers.missing,
        report.answers.duplicates,
        report.answers.reordered
    );
    screen.check("UDP", report.must_be_lossless().is_ok(), &facts);
    ensure!(report.answers.duplicates == 0, "{} datagrams were answered twice", report.answers.duplicates);
    Ok(())
}

fn ping(stage: &Stage, screen: &Screen, findings: &mut Findings) -> Result<()> {
    findings.ping = Count { ok: 0, failed: PINGS };
    let mut command = command_of(stage.client()?, "ping");
    command.args(["-n", "-i", "0.1", "-W", "1", "-c"]).arg(PINGS.to_string()).arg(NAME);
    let finished = run(&mut command, Duration::from_secs(15))?;
    let answered = answered(&finished.stdout)
        .with_context(|| format!("read what ping says: {}{}", finished.stdout, finished.stderr))?;
    findings.ping.succeeded(answered);
    let facts =
        format!("{answered} of {PINGS} answered by {VIP}: the ingress relay's own kernel, for the VIP");
    screen.check("ping", answered == PINGS, &facts);
    Ok(())
}

/// From `5 packets transmitted, 5 received, 0% packet loss, time 404ms`.
fn answered(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(" packets transmitted, "))?;
    line.split(", ").find_map(|part| part.strip_suffix(" received"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_summary_of_ping() {
        let text = "--- tt.example ping statistics ---\n5 packets transmitted, 4 received, 20% packet loss, time 404ms\n";
        assert_eq!(answered(text), Some(4));
        let text = "5 packets transmitted, 0 received, +5 errors, 100% packet loss, time 404ms\n";
        assert_eq!(answered(text), Some(0));
        assert_eq!(answered("ping: tt.example: Name or service not known"), None);
    }
}
