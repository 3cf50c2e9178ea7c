//! Lists of prefixes in the configuration. What is in files is read by who loads them.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ipnet::Ipv4Net;

use super::rules;
use super::uniqueness::{Once, distinct};
use crate::config::document::{At, Field, Reader};
use crate::config::policy::{ListedPrefix, Lists};
use crate::config::raw::{self, File};

/// The lists of a file.
pub(super) fn lists(file: &File, reader: &mut Reader<'_>) -> Option<Lists> {
    let mut once = Once::new(rules::PREFIXES);
    let block = listed(reader, "block", &file.block, &mut once);
    let allow = listed(reader, "allow", &file.allow, &mut once);
    let mut files = |key: &str, field: &Field<_>| {
        let paths = field.given().map(|at: &At<Vec<_>>| distinct(reader, &format!("lists.{key}"), &at.value));
        paths.unwrap_or_default().into_iter().map(|path| path.value).collect()
    };
    let tables = &file.lists.value;
    let block_files = files("block_files", &tables.block_files);
    let allow_files = files("allow_files", &tables.allow_files);
    Some(Lists { block: block?, allow: allow?, block_files, allow_files })
}

fn listed(
    reader: &mut Reader<'_>,
    name: &str,
    list: &Field<Vec<At<raw::ListedPrefix>>>,
    once: &mut Once<Ipv4Net>,
) -> Option<Vec<ListedPrefix>> {
    let entries = list.given().map(|at| at.value.as_slice()).unwrap_or_default();
    let mut read = Vec::with_capacity(entries.len());
    for (index, At { value: entry, .. }) in entries.iter().enumerate() {
        if let Some(prefix) = entry.prefix.given() {
            let path = format!("{name}[{index}].prefix");
            once.claim(reader, &path, &prefix.span, prefix.value, "this prefix is listed already");
        }
        read.push(entry.prefix.given().map(|prefix| ListedPrefix {
            prefix: prefix.value,
            reason: entry.reason.given().map(|reason| reason.value.clone()),
            expires: entry.expires.given().map(|expires| expires.value),
        }));
    }
    read.into_iter().collect()
}

/// A note for each file of prefixes that cannot be read, for those who only check.
pub(in crate::config) fn unreadable(file: &File) -> Vec<String> {
    let tables = &file.lists.value;
    let lists = [("block_files", &tables.block_files), ("allow_files", &tables.allow_files)];
    let paths = lists.into_iter().flat_map(|(name, list)| {
        let paths = list.given().map(|at| at.value.as_slice()).unwrap_or_default();
        paths.iter().enumerate().map(move |(index, path)| (format!("lists.{name}[{index}]"), &path.value))
    });
    paths
        .filter_map(|(key, path)| {
            let why = readable(path).err()?;
            Some(format!("`{key}` was not checked: cannot read {}: {why}", path.display()))
        })
        .collect()
}

fn readable(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if file.metadata()?.is_file() { Ok(()) } else { Err(std::io::Error::other("this is not a regular file")) }
}
