//! What the configuration lists, its files included, read as a whole.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::parse::{self, Parsed, Wrong};
use super::{Batch, Kind, Note, Origin};
use crate::config::policy::{ListedPrefix, Lists};
use crate::exit::{Exit, Failure};

/// Bytes of a list file at most.
const LONGEST: u64 = 1 << 30;

/// Reads the configured lists.
///
/// # Errors
/// [`Exit::ConfigInvalid`], with the problems of all files: either all of them are taken or none.
pub fn read(lists: &Lists) -> Result<Batch, Failure> {
    let mut batch = Batch::default();
    for (kind, prefixes) in [(Kind::Blocked, &lists.block), (Kind::Allowed, &lists.allow)] {
        let origin = batch.origin(Origin::Configuration);
        for ListedPrefix { prefix, reason, expires } in prefixes {
            batch.add(*prefix, kind, origin, Note { reason: reason.clone(), expires: *expires });
        }
    }
    let mut refused = Refused::default();
    for (kind, files) in [(Kind::Blocked, &lists.block_files), (Kind::Allowed, &lists.allow_files)] {
        for path in files {
            match read_file(path).map(|text| parse::parse(&text)) {
                Ok(Ok(parsed)) => take(&mut batch, path, kind, parsed),
                Ok(Err(wrong)) => refused.wrong_lines(path, &wrong),
                Err(error) => refused.unreadable(path, &error),
            }
        }
    }
    refused.or(batch)
}

fn take(batch: &mut Batch, path: &Path, kind: Kind, parsed: Parsed) {
    let name = path.display();
    if parsed.prefixes.is_empty() {
        tracing::warn!("the list file {name} lists nothing");
    }
    if parsed.masked != 0 {
        tracing::info!("{name}: took {} prefixes without their host bits", parsed.masked);
    }
    if parsed.skipped_ipv6 != 0 {
        tracing::info!("{name}: skipped {} IPv6 prefixes, for only IPv4 is relayed", parsed.skipped_ipv6);
    }
    let origin = batch.origin(Origin::File(path.into()));
    let mut reasons = parsed.reasons.into_iter().peekable();
    for (number, prefix) in parsed.prefixes.into_iter().enumerate() {
        let reason = reasons.next_if(|(of, _)| *of == number).map(|(_, reason)| reason);
        batch.add(prefix, kind, origin, Note { reason, expires: None });
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe must not make the relay wait.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST { Err(io::Error::other("it has more than 1 GiB")) } else { Ok(text) }
}

/// Why the lists are refused.
#[derive(Debug, Default)]
struct Refused {
    files: Vec<PathBuf>,
    lines: Vec<String>,
    denied: bool,
}

impl Refused {
    fn wrong_lines(&mut self, path: &Path, wrong: &Wrong) {
        let name = path.display();
        let line =
            |wrong: &parse::WrongLine| format!("{name}:{}: {}: {}", wrong.number, wrong.message, wrong.text);
        self.lines.extend(wrong.lines.iter().map(line));
        if wrong.more != 0 {
            self.lines.push(format!("{name}: and {} more wrong lines", wrong.more));
        }
        self.files.push(path.into());
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.lines.push(format!("{}: cannot be read: {error}", path.display()));
        self.files.push(path.into());
        self.denied |= error.kind() == io::ErrorKind::PermissionDenied;
    }

    fn or(self, batch: Batch) -> Result<Batch, Failure> {
        let files: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        let message = match files.as_slice() {
            [] => return Ok(batch),
            [file] => format!("cannot take the list file {file}: nothing of it is used"),
            files => format!("cannot take {} list files: {}", files.len(), files.join(", ")),
        };
        let hint = if self.denied {
            "let the user that runs the relay read it"
        } else {
            "mend the lines, or fetch the file again; one IPv4 prefix or address a line, comments after # or ;"
        };
        let failure = Failure::new(Exit::ConfigInvalid, message).hint(hint);
        Err(Failure { details: Some(self.lines.join("\n")), ..failure })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lists(directory: &Path, files: &[(&str, &str)]) -> Lists {
        let write = |(name, text): &(&str, &str)| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        Lists { block_files: files.iter().map(write).collect(), ..Lists::default() }
    }

    #[test]
    fn what_is_listed_keeps_where_it_is_from_and_why() {
        let directory = tempfile::tempdir().unwrap();
        let inline = ListedPrefix {
            prefix: "192.0.2.0/24".parse().unwrap(),
            reason: Some("office".to_owned()),
            expires: None,
        };
        let files =
            lists(directory.path(), &[("a", "10.0.0.0/8\n10.1.0.0/16 ; SBL1\n"), ("b", "2001:db8::/32\n")]);
        let batch = read(&Lists { allow: vec![inline], ..files }).unwrap();
        let rules: Vec<_> = batch.rules().collect();
        let shown = |number: usize| {
            let rule = &rules[number];
            (rule.prefix.to_string(), rule.kind, rule.reason.clone())
        };
        assert_eq!(shown(0), ("192.0.2.0/24".to_owned(), Kind::Allowed, Some("office".to_owned())));
        assert_eq!(shown(1), ("10.0.0.0/8".to_owned(), Kind::Blocked, None));
        assert_eq!(shown(2), ("10.1.0.0/16".to_owned(), Kind::Blocked, Some("SBL1".to_owned())));
        assert_eq!(rules[0].origin, Origin::Configuration);
        assert_eq!(rules[2].origin, Origin::File(directory.path().join("a").into()));
        assert_eq!(rules.len(), 3);
    }

    #[test]
    fn the_problems_of_all_files_are_told_and_none_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let mut lists = lists(directory.path(), &[("a", "192.0.2.1\nnonsense\n"), ("b", "192.0.2.1/40\n")]);
        lists.allow_files = vec![directory.path().join("c"), directory.path().into()];
        let failure = read(&lists).unwrap_err();
        assert_eq!(failure.exit, Exit::ConfigInvalid);
        let details = failure.details.unwrap();
        for (line, said) in details.lines().zip(["a:2: ", "b:1: ", "c: cannot be read", "not a regular file"])
        {
            assert!(line.contains(said), "{line}");
        }
        assert_eq!(details.lines().count(), 4);
        assert!(failure.message.starts_with("cannot take 4 list files"), "{}", failure.message);
    }
}
