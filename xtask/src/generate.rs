//! `cargo xtask generate`: the documents that are made from the source, and the check that they are up to date.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use relay_abi::{Reason, reason::Action};

use crate::{process, setup, workspace};

/// Write the documents that are made from the source.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail if a document is out of date
    #[arg(long)]
    check: bool,
}

impl Options {
    pub(crate) const CHECK: Self = Self { check: true };
}

struct Document {
    path: &'static str,
    text: fn() -> Result<String>,
}

const DOCUMENTS: &[Document] = &[
    Document { path: "docs/reasons.md", text: reasons },
    Document { path: "docs/config.md", text: || relay(&["generate", "config-reference"]) },
];

/// Where a reader learns not to edit the file.
const NOTICE: &str = "<!-- Made by `cargo xtask generate`. Edit its source instead. -->\n";

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(&[setup::Group::Bpf])?;
    let mut stale = Vec::new();
    for document in DOCUMENTS {
        let path = workspace::root().join(document.path);
        let text = (document.text)().with_context(|| format!("cannot make {}", document.path))?;
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if options.check {
            stale.push(document.path);
            continue;
        }
        write(&path, &text)?;
        eprintln!("wrote {}", document.path);
    }
    if !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What the relay itself prints.
fn relay(arguments: &[&str]) -> Result<String> {
    process::read(
        workspace::cargo("run").args(["--quiet", "--package", "relay-userspace", "--"]).args(arguments),
    )
}

fn reasons() -> Result<String> {
    let mut text = format!(
        "{NOTICE}\n# Reasons\n\nEvery packet ends with one reason. `xdp-relay counters` shows packets and bytes of each.\n"
    );
    for (action, title) in [
        (Action::Send, "Sent on, or answered"),
        (Action::Pass, "Left to the kernel"),
        (Action::Drop, "Dropped"),
    ] {
        write!(text, "\n## {title}\n\n| code | reason | meaning |\n|---:|---|---|\n")?;
        for reason in Reason::ALL.iter().filter(|reason| reason.action() == action) {
            writeln!(text, "| {} | `{}` | {} |", *reason as u8, reason.label(), reason.help())?;
        }
    }
    Ok(text)
}
