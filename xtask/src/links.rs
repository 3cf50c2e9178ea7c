//! Checks that what the documents point to inside the repository is there: files, and headings in them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

pub(crate) fn check() -> Result<()> {
    let mut broken = Vec::new();
    let mut pages = 0;
    for page in pages_of(workspace::root())? {
        pages += 1;
        let text = read(&page)?;
        for (number, line) in prose(&text) {
            for target in targets(line) {
                if let Some(problem) = problem(&page, &text, target)? {
                    let name = page.strip_prefix(workspace::root()).unwrap_or(&page).display();
                    broken.push(format!("{name}:{number}: `{target}`: {problem}"));
                }
            }
        }
    }
    if !broken.is_empty() {
        bail!("broken links:\n{}", broken.join("\n"));
    }
    eprintln!("links of {pages} pages lead somewhere");
    Ok(())
}

/// The Markdown files at the root and below docs/.
fn pages_of(root: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut pages = Vec::new();
    for directory in [root.to_owned(), root.join("docs")] {
        if !directory.exists() {
            continue;
        }
        let entries =
            fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Numbered lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((index + 1, line))
    })
}

/// What `[text](target)` points to.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn problem(page: &Path, text: &str, target: &str) -> Result<Option<String>> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = page.parent().unwrap_or(page).join(file);
    if !path.exists() {
        return Ok(Some("no such file".to_owned()));
    }
    if anchor.is_empty() {
        return Ok(None);
    }
    let text = if file.is_empty() { text.to_owned() } else { read(&path)? };
    let found = prose(&text).any(|(_, line)| line.starts_with('#') && anchor_of(line) == anchor);
    Ok((!found).then(|| "no such heading".to_owned()))
}

/// The anchor that forges give a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_link_of_a_line() {
        let line = "see [one](a.md), [two](b.md#part) and `code`";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["a.md", "b.md#part"]);
    }

    #[test]
    fn leaves_code_blocks_out() {
        let text = "a\n```\n[x](nowhere)\n```\nb";
        assert_eq!(prose(text).collect::<Vec<_>>(), [(1, "a"), (5, "b")]);
    }

    #[test]
    fn makes_anchors_as_forges_do() {
        assert_eq!(anchor_of("## The way of a packet (IPv4)"), "the-way-of-a-packet-ipv4");
    }
}
