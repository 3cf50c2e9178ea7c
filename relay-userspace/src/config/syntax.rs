//! Reads TOML as far as it goes: every syntax error, and what can be read in spite of them.

use std::borrow::Cow;

use toml::de::{DeTable, Error};

use super::problem::{Problem, Source};

/// The syntax errors of a text, and the text without what would keep the rest of it from being read. Every byte left
/// is where it was.
pub(super) fn readable(source: &Source) -> (Cow<'_, str>, Vec<Problem>) {
    let problems = problems(source, &source.text);
    let line = |problem: &Problem| source.line_number(problem.span.start);
    let stoppers: Vec<usize> =
        problems.iter().map(line).filter(|line| repaired(source.line(*line).1).is_some()).collect();
    if stoppers.is_empty() {
        return (Cow::Borrowed(&source.text), problems);
    }
    let mut text = source.text.clone();
    for number in &stoppers {
        let (start, line) = source.line(*number);
        if let Some(repaired) = repaired(line) {
            text.replace_range(start..start + line.len(), &repaired);
        }
    }
    let others =
        self::problems(source, &text).into_iter().filter(|problem| !stoppers.contains(&line(problem)));
    let own = problems.into_iter().filter(|problem| stoppers.contains(&line(problem)));
    let all = own.chain(others).collect();
    (Cow::Owned(text), all)
}

fn problems(source: &Source, text: &str) -> Vec<Problem> {
    let (_, errors) = DeTable::parse_recoverable(text);
    errors.iter().map(|error| problem(source, error)).collect()
}

/// A syntax error, with advice for the most common one.
fn problem(source: &Source, error: &Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let before = source.text.get(..span.start).unwrap_or_default().trim_end_matches([' ', '\t']);
    let bare = source.text.get(span.start..).is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    let hint = (bare && before.ends_with('=')).then_some("write strings in quotes");
    Problem::syntax(span, error.message()).hint(hint)
}

/// What to read, at the same length, in place of a broken line at which the parser would lose its way.
fn repaired(line: &str) -> Option<String> {
    let trimmed = line.trim();
    if trimmed.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !line.contains('=') {
        // A key without a value: the parser goes no further.
        return Some(" ".repeat(line.len()));
    }
    // A header without its end: the parser takes the next header's for it. The name is lost, as the line is broken.
    let (open, close) = if trimmed.starts_with("[[") { (2, "]]") } else { (1, "]") };
    let unclosed = trimmed.starts_with('[') && !trimmed.contains([']', '=', '#', '"', '\'']);
    if !unclosed || !trimmed.is_ascii() || trimmed.len() <= open + close.len() {
        return None;
    }
    let end = line.trim_end().len();
    let (kept, cut) = line.split_at_checked(end - close.len())?;
    Some(format!("{kept}{close}{}", &cut[close.len()..]))
}

#[cfg(test)]
mod tests {
    use super::repaired;

    #[test]
    fn repairs_keep_the_length() {
        assert_eq!(repaired("node in-1").as_deref(), Some("         "));
        assert_eq!(repaired(" [tunnel ").as_deref(), Some(" [tunne] "));
        assert_eq!(repaired("[[peers").as_deref(), Some("[[pee]]"));
        for line in ["[[p", "[", "[a]", "a = ", "\"x\" \"y\"", "[tunné", ""] {
            assert_eq!(repaired(line), None, "{line}");
        }
    }
}
