//! The configuration file: what it may say, and what it means.
//!
//! A file goes through four steps, none of which stops at the first problem: TOML to a document with positions,
//! the document against the tables of keys ([`raw`]), the rules between keys ([`validate`]), the report. What the
//! rest of the program sees is [`valid::Config`]. Nothing here looks at interfaces or the kernel.

pub mod defaults;
mod document;
pub mod policy;
mod problem;
mod raw;
mod reference;
mod report;
mod shape;
mod suggest;
mod syntax;
pub mod valid;
mod validate;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::exit::{Exit, Failure};
use document::{Keys, Reader, RoleName};
use problem::{Class, Problem, Source};
use shape::{OneOf, Scalar};
use valid::Config;

pub use reference::reference;
pub use report::{Report, Style};
pub(crate) use suggest::advice as did_you_mean;

/// What to do about a secret that this user may not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// It is a problem: the relay cannot run without.
    Required,
    /// It is noted: everything else can be checked.
    IfReadable,
}

/// Reads a configuration that a relay is to run with. The failure has all problems in its details.
pub fn load(path: &Path, style: Style) -> Result<Config, Failure> {
    let mut report = examine(path, Secrets::Required)?;
    report.take_config().ok_or_else(|| report.failure(style))
}

/// Reads a configuration file and says everything that is wrong with it. Fails only if the file cannot be read.
pub fn examine(path: &Path, secrets: Secrets) -> Result<Report, Failure> {
    let file = path.display().to_string();
    let attempted = || format!("read the configuration {file}");
    let opened = File::open(path).map_err(|error| Failure::io(attempted(), &error))?;
    let mut content = Vec::new();
    opened
        .take(defaults::FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| Failure::io(attempted(), &error))?;
    if content.len() as u64 > defaults::FILE_BYTES_MAX {
        let message = format!("cannot {}: it has more than {} bytes", attempted(), defaults::FILE_BYTES_MAX);
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(examine_bytes(file, content, secrets))
}

/// The same for a configuration in memory; `file` is only its name in messages.
#[must_use]
pub fn examine_bytes(file: String, content: Vec<u8>, secrets: Secrets) -> Report {
    match String::from_utf8(content) {
        Ok(text) => examine_text(Source::new(file, text), secrets),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
            let problem = Problem::syntax(at..end, "this byte is not UTF-8")
                .hint(Some("save the file in UTF-8, the only encoding of TOML"));
            Report::new(Source::new(file, text), vec![problem], None, 0..0, secrets)
        }
    }
}

fn examine_text(source: Source, secrets: Secrets) -> Report {
    let (readable, mut problems) = syntax::readable(&source);
    let (document, _) = DeTable::parse_recoverable(&readable);
    let mut reader = Reader::new(&source.text, role(document.get_ref()), raw::File::keys());
    let file: raw::File = reader.table("", &(0..0), document.get_ref());
    let config = validate::validate(&file, &mut reader).filter(|_| problems.is_empty());
    let found = std::mem::take(&mut reader.problems);
    drop_echoes(&source, &mut problems, found);
    problems.sort_by_key(|problem| problem.span.start);
    let services = file.services.given().map_or(0..0, |services| services.span.clone());
    let mut report = Report::new(source, problems, config, services, secrets);
    if secrets == Secrets::IfReadable {
        report.note(validate::unreadable(&file));
    }
    report
}

/// The role decides which keys are known, so it is read before all others; what is wrong with it is reported later.
fn role(document: &DeTable<'_>) -> Option<RoleName> {
    let value: &DeValue<'_> = document.get("role")?.get_ref();
    OneOf::<RoleName>::parse(value).ok()
}

/// Adds what was found in a document to its syntax errors, but for what is likely a mere consequence of one.
fn drop_echoes(source: &Source, problems: &mut Vec<Problem>, found: Vec<Problem>) {
    let broken: Vec<usize> = problems.iter().map(|problem| source.line_number(problem.span.start)).collect();
    problems.extend(found.into_iter().filter(|problem| {
        broken.is_empty()
            || (problem.class == Class::Item && !broken.contains(&source.line_number(problem.span.start)))
    }));
}
