//! What the service knows of its clients: the access log of its web server.

use std::time::Duration;

use relay_tests::topology::addresses::CLIENT;
use relay_tests::waiting::wait_until;

use crate::findings::Findings;
use crate::screen::Screen;
use crate::stage::Stage;

/// nginx writes a line after the last byte of the answer.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
const LINES_SHOWN: usize = 6;

pub(crate) fn show(stage: &Stage, screen: &Screen, findings: &mut Findings) {
    screen.heading("What the service saw (access log of nginx)");
    let expected = findings.https.ok;
    // What is missing in the end is judged below.
    drop(wait_until("the access log", LOG_PATIENCE, || Ok(stage.web.access_log()?.len() as u64 >= expected)));
    let lines = match stage.web.access_log() {
        Ok(lines) => lines,
        Err(error) => return findings.note(&error),
    };
    let own = format!("{CLIENT}:");
    findings.access_log_lines = lines.len() as u64;
    findings.access_log_lines_with_client = lines.iter().filter(|line| line.starts_with(&own)).count() as u64;
    for line in lines.iter().take(LINES_SHOWN) {
        screen.block(line);
    }
    if lines.len() > LINES_SHOWN {
        screen.block(&format!("... and {} lines more", lines.len() - LINES_SHOWN));
    }
    let (with, of) = (findings.access_log_lines_with_client, findings.access_log_lines);
    screen.line("");
    let facts = format!("{with} of {of} lines name the client's own address {CLIENT}");
    screen.check("visible", with == of && of > 0, &facts);
}
