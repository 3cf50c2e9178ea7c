//! Runs other programs; when one fails, says which and how.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::bpf::compile::line;

/// How much of a failed program's output is worth reading.
const TAIL_LINES: usize = 30;

/// How often a log without a terminal hears that something is still going on.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Runs a program that writes to our terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a program and returns what it wrote to standard output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not write UTF-8", line(command)))
}

/// Runs a program whose output nobody needs unless it fails: shows what it is about, for how long, and its last line.
pub(crate) fn run_with_progress(what: &str, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    let (sender, lines) = channel();
    let readers = [
        child.stdout.take().map(|stream| forward_lines(stream, sender.clone())),
        child.stderr.take().map(|stream| forward_lines(stream, sender.clone())),
    ];
    drop(sender);
    let tail = show_progress(what, start, &lines);
    for reader in readers.into_iter().flatten() {
        // A reader ends with its stream; it has nothing to report.
        drop(reader.join());
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", line(command)))?;
    if !status.success() {
        for text in tail {
            eprintln!("    {text}");
        }
        bail!("{what}: `{}` failed: {status}; its last lines are above", line(command));
    }
    eprintln!("{what}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

fn forward_lines(stream: impl Read + Send + 'static, sender: Sender<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for bytes in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&bytes).trim_end().to_owned()).is_err() {
                return;
            }
        }
    })
}

fn show_progress(what: &str, start: Instant, lines: &Receiver<String>) -> VecDeque<String> {
    let terminal = std::io::stderr().is_terminal();
    let interval = if terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
    let mut tail = VecDeque::new();
    let mut shown = Instant::now();
    if !terminal {
        eprintln!("{what} ...");
    }
    loop {
        match lines.recv_timeout(interval) {
            Ok(text) => {
                tail.push_back(text);
                if tail.len() > TAIL_LINES {
                    tail.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if shown.elapsed() >= interval {
            shown = Instant::now();
            let last = tail.back().map_or("", |text| text.trim());
            let last: String = last.chars().take(60).collect();
            let seconds = start.elapsed().as_secs();
            if terminal {
                eprint!("\r\x1b[K{what} ... {seconds} s  {last}");
                // Only the picture suffers if the terminal is gone.
                drop(std::io::stderr().flush());
            } else {
                eprintln!("{what} ... {seconds} s  {last}");
            }
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    tail
}
