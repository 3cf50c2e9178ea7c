//! `xdp-relay capture`: dropped packets into a file that Wireshark opens, with the reason as each packet's comment.

use std::fs::File;
use std::future::pending;
use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::events::{parsed, path};
use crate::api::client::Selection;
use crate::events::pcapng::Writer;
use crate::events::{Filter, Record, What};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  xdp-relay capture --reason blocked -w blocked.pcapng            until Ctrl-C
  xdp-relay capture --client 198.51.100.2 -c 10 -s 60 -w drops.pcapng
  xdp-relay capture --reason limit_client_packets -w - | tshark -r - -T fields -e ip.src -e frame.comment

Holds the first 64 bytes of each packet, as it came in, and of a flood only samples: so many a second for each reason and CPU. Ends
with 4 if no controller runs, 8 if its socket may not be used.";

/// Write dropped packets to a pcapng file, with the reason as comment
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Capture {
    #[command(flatten)]
    selection: Selection,

    /// Only drops for this reason; may be given several times
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,

    /// Only packets of clients in this prefix
    #[arg(long, value_name = "PREFIX")]
    client: Option<String>,

    /// End after COUNT packets
    #[arg(short = 'c', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after SECONDS seconds
    #[arg(short = 's', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,

    /// File to write; - for standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    write: PathBuf,
}

impl Capture {
    /// Runs the command.
    pub fn run(&self) -> Result<Exit, Failure> {
        let filter = Filter::new(&self.reason, self.client.as_deref())?;
        let client = self.selection.client()?;
        let mut file = Target::open(&self.write)?;
        eprintln!("capturing what {} drops; Ctrl-C ends it", client.node());
        let mut seen = Seen::default();
        client.lines_until(&path(&filter, true, 0), end(self.seconds), |line| {
            seen.take(&parsed(line)?, &mut file)?;
            Ok(self.count.is_none_or(|count| seen.packets < count))
        })?;
        eprintln!("{seen}");
        Ok(Exit::Ok)
    }
}

/// Ctrl-C, or the end of the time.
async fn end(seconds: Option<u64>) {
    let time = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        // That it cannot be caught is no harm: then it ends the process, and the file is good all the same.
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Where packets are written to.
struct Target {
    name: String,
    writer: Writer<Box<dyn Write>>,
}

impl Target {
    fn open(path: &Path) -> Result<Self, Failure> {
        let (name, out): (_, Box<dyn Write>) = if path == Path::new("-") {
            if stdout().is_terminal() {
                return Err(Failure::new(
                    Exit::Usage,
                    "a capture is binary, and standard output is a terminal",
                )
                .hint("name a file, or pipe it: `... -w - | tshark -r -`"));
            }
            ("standard output".to_owned(), Box::new(stdout()))
        } else {
            let name = path.display().to_string();
            let file = File::create(path).map_err(|error| Failure::io(format!("create {name}"), &error))?;
            (name, Box::new(file))
        };
        let writer = Writer::new(out).map_err(|error| Failure::io(format!("write {name}"), &error))?;
        Ok(Self { name, writer })
    }

    fn add(&mut self, record: &Record) -> Result<bool, Failure> {
        self.writer.add(record).map_err(|error| Failure::io(format!("write {}", self.name), &error))
    }
}

/// What came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    packets: u64,
    suppressed: u64,
    missed: u64,
}

impl Seen {
    fn take(&mut self, record: &Record, file: &mut Target) -> Result<(), Failure> {
        self.packets += u64::from(file.add(record)?);
        match &record.what {
            What::Drop(dropped) => self.suppressed += u64::from(dropped.suppressed_events),
            What::Missed { missed_records } => self.missed += missed_records,
            What::Other(_) => {}
        }
        Ok(())
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} packets captured", self.packets)?;
        if self.suppressed > 0 {
            write!(f, ", {} more drops for these reasons were not sampled", self.suppressed)?;
        }
        if self.missed > 0 {
            write!(f, ", {} samples came faster than they were written", self.missed)?;
        }
        Ok(())
    }
}
