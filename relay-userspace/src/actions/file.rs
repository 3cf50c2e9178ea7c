//! How actions outlive the controller: `<state_directory>/<node>.actions.json`, written as a whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::ban::Ban;
use super::limits::Override;
use super::rule::Rule;
use super::{Actions, BANS_MAX, RULES_MAX};

/// Version of the file's layout.
const SCHEMA_VERSION: u32 = 1;
/// A file that is longer was not written by us.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema_version: u32,
    last_id: u64,
    rules: Vec<Rule>,
    bans: Vec<Ban>,
    limits: Vec<Override>,
}

/// Where a node's actions are.
#[must_use]
pub fn path(state_directory: &Path, node: &str) -> PathBuf {
    state_directory.join(format!("{node}.actions.json"))
}

/// Reads what was done before. A file that cannot be read is moved aside, and the relay starts with what the configuration says:
/// never does it fail to start because of this file.
#[must_use]
pub fn load(path: &Path) -> Actions {
    let problem = match read(path) {
        Ok(actions) => return actions,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Actions::default(),
        Err(error) => error,
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".broken");
    let aside = PathBuf::from(aside);
    let moved = match fs::rename(path, &aside) {
        Ok(()) => format!("it is now {}", aside.display()),
        Err(error) => format!("it cannot be moved aside: {error}"),
    };
    tracing::error!(
        "cannot take over what was blocked, allowed, banned and limited at run time, from {}: {problem}; {moved}",
        path.display()
    );
    Actions::default()
}

fn read(path: &Path) -> io::Result<Actions> {
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> io::Result<Actions> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let found = serde_json::from_slice::<Versioned>(bytes)?.schema_version;
    if found != SCHEMA_VERSION {
        return Err(io::Error::other(format!(
            "its layout has version {found}, this program reads {SCHEMA_VERSION}"
        )));
    }
    let document: Document = serde_json::from_slice(bytes)?;
    if document.rules.len() > RULES_MAX || document.bans.len() > BANS_MAX {
        return Err(io::Error::other("it lists more than this program ever writes"));
    }
    if let Some(rule) = document.rules.iter().find(|rule| rule.prefix != rule.prefix.trunc()) {
        return Err(io::Error::other(format!("{} has bits set behind its length", rule.prefix)));
    }
    if let Some(changed) = document.limits.iter().find(|changed| changed.key.check(changed.value).is_err()) {
        return Err(io::Error::other(format!("{} cannot be {}", changed.key, changed.value)));
    }
    Ok(Actions {
        last_id: document.last_id,
        rules: document.rules.into_iter().map(|rule| (rule.prefix, rule)).collect(),
        bans: document.bans.into_iter().map(|ban| (ban.address, ban)).collect(),
        overrides: document
            .limits
            .into_iter()
            .map(|changed| ((changed.service.clone(), changed.key), changed))
            .collect(),
    })
}

/// Writes everything, so that a reader, or a start after a power cut, finds the old file or the new one.
pub(super) fn save(path: &Path, actions: &Actions) -> io::Result<()> {
    let document = Document {
        schema_version: SCHEMA_VERSION,
        last_id: actions.last_id,
        rules: actions.rules.values().cloned().collect(),
        bans: actions.bans.values().cloned().collect(),
        limits: actions.overrides.values().cloned().collect(),
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    // It has mode 0600.
    let mut file = NamedTempFile::new_in(directory)?;
    let mut writer = BufWriter::new(file.as_file_mut());
    serde_json::to_writer_pretty(&mut writer, &document)?;
    writer.write_all(b"\n")?;
    writer.flush()?;
    drop(writer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|refused| refused.error)?;
    File::open(directory)?.sync_all()
}
