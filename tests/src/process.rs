//! Running real programs: to their end with a limit of time, or in the background until told to stop.

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a stopped process may take before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a program that ended left behind.
#[derive(Debug)]
pub struct Finished {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code, or 128 + signal as a shell counts.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The standard output of a program that must have succeeded.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            bail!(
                "`{}` ended with {}: {}{}",
                self.command,
                self.status,
                self.stderr.trim_end(),
                self.stdout.trim_end()
            );
        }
        Ok(self.stdout)
    }
}

/// Runs a command to its end; one that takes longer than `limit` is killed and is an error.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let line = command_line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{line}`"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let ended = wait_for_end(&mut child, limit)?;
    if ended.is_none() {
        child.kill().with_context(|| format!("kill `{line}`"))?;
    }
    let status = child.wait().with_context(|| format!("wait for `{line}`"))?;
    let stdout = text_of(stdout)?;
    let stderr = text_of(stderr)?;
    if ended.is_none() {
        bail!("`{line}` did not end within {limit:?}: {stderr}{stdout}");
    }
    Ok(Finished { command: line, status, stdout, stderr })
}

/// Runs a command that must succeed and gives its standard output.
pub fn output_of(command: &mut Command) -> Result<String> {
    run(command, Duration::from_secs(30))?.success()
}

/// A program in the background. Dropping it stops it: by its own process id, nothing else.
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Child,
    log: PathBuf,
    stop_on_drop: bool,
}

impl Background {
    /// Starts the program; both its outputs are appended to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let line = command_line(command);
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open the log {}", log.display()))?;
        let error_out = out.try_clone().context("duplicate the log's descriptor")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error_out)
            // A Ctrl-C at the terminal is for us: we stop what we started.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start `{line}`"))?;
        Ok(Self { line, child, log: log.to_owned(), stop_on_drop: true })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log)
            .unwrap_or_else(|error| format!("(cannot read {}: {error})", self.log.display()))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("ask after `{}`", self.line))
    }

    /// An error with the program's last words if it is no longer running.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("`{}` ended with {status}:\n{}", self.line, self.log().trim_end());
        }
        Ok(())
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("process id out of range")?;
        // SAFETY: the child was not waited for, so its id still names it and nobody else.
        if unsafe { libc::kill(id, signal) } != 0 {
            return Err(std::io::Error::last_os_error())
                .context(format!("send signal {signal} to `{}`", self.line));
        }
        Ok(())
    }

    /// SIGTERM, then SIGKILL if that does not end it in time. Gives how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(libc::SIGTERM)?;
        if let Some(status) = wait_for_end(&mut self.child, STOP_PATIENCE)? {
            return Ok(status);
        }
        self.kill()?;
        bail!("`{}` did not end within {STOP_PATIENCE:?} of SIGTERM; killed it", self.line);
    }

    /// Lets it run on when this value is gone.
    pub fn leave_running(mut self) {
        self.stop_on_drop = false;
    }

    /// SIGKILL at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill `{}`", self.line))?;
        self.child.wait().with_context(|| format!("wait for `{}`", self.line))?;
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.stop_on_drop {
            return;
        }
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<std::io::Result<Vec<u8>>>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)?;
        Ok(bytes)
    }))
}

fn text_of(reader: Option<JoinHandle<std::io::Result<Vec<u8>>>>) -> Result<String> {
    let Some(reader) = reader else { return Ok(String::new()) };
    let Ok(bytes) = reader.join() else { bail!("the thread that reads a program's output panicked") };
    Ok(String::from_utf8_lossy(&bytes.context("read a program's output")?).into_owned())
}

/// Waits on a pidfd: exact, and without a loop of sleeps.
fn wait_for_end(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let id = libc::c_long::from(child.id());
    // SAFETY: takes two numbers; the child was not waited for, so the id is its own.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let Ok(descriptor) = i32::try_from(descriptor) else { bail!("pidfd_open gave {descriptor}") };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error()).context("open a pidfd");
    }
    // SAFETY: the descriptor was just made for us and has no other owner.
    let _owner = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one entry, alive during the call.
        let ready = unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
        if ready > 0 {
            return child.wait().map(Some).context("wait for a child");
        }
        if ready == 0 && left.is_zero() {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_output_and_exit_code() {
        let finished =
            run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(10))
                .unwrap();
        assert_eq!(
            (finished.code(), finished.stdout.as_str(), finished.stderr.as_str()),
            (3, "out\n", "err\n")
        );
        assert!(finished.success().unwrap_err().to_string().contains("err"));
    }

    #[test]
    fn kills_what_takes_too_long() {
        let start = Instant::now();
        let error = run(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not end within"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_dropped_background_program_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let background =
            Background::start(Command::new("sleep").arg("60"), &directory.path().join("log")).unwrap();
        let entry = PathBuf::from(format!("/proc/{}", background.id()));
        assert!(entry.exists());
        drop(background);
        assert!(!entry.exists());
    }
}
