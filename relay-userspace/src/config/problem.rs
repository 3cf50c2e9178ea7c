//! One thing that is wrong with a configuration file, and where.

use std::ops::Range;

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// What a problem is about: decides which problems are only echoes of a syntax error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The file is not TOML here.
    Syntax,
    /// One key or value, judged by itself.
    Item,
    /// Something is absent, or two things do not go together.
    Context,
    /// The secret may be in order, but this user cannot look.
    UnreadableSecret,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) class: Class,
    /// What the caret points at.
    pub(super) span: Span,
    /// Full path of the key; `None` for syntax errors.
    pub(super) key: Option<String>,
    /// What the file says, as written.
    pub(super) value: Option<String>,
    /// What is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) allowed: Option<String>,
    /// What to do next.
    pub(super) hint: Option<String>,
    /// The other place, and what it is.
    pub(super) related: Option<(Span, String)>,
}

impl Problem {
    /// A problem of the value (or key) at `span`.
    pub(super) fn new(class: Class, span: &Span, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            span: span.clone(),
            key: Some(key.into()),
            value: None,
            message: message.into(),
            allowed: None,
            hint: None,
            related: None,
        }
    }

    /// A place where the file is not TOML.
    pub(super) fn syntax(span: Span, message: impl Into<String>) -> Self {
        let mut problem = Self::new(Class::Syntax, &span, "", message);
        problem.key = None;
        problem
    }

    pub(super) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    pub(super) fn related(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.related = Some((span.clone(), label.into()));
        self
    }
}

/// The file under examination.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name, as the user gave it.
    pub(super) file: String,
    pub(super) text: String,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(file: String, text: String) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, starts }
    }

    /// Line and column (in characters), both from 1, of a byte of the file.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_number(at);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }

    /// Number of the line that a byte of the file is on.
    pub(super) fn line_number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).max(1)
    }

    /// Where line `number` starts, and the line without its end.
    pub(super) fn line(&self, number: usize) -> (usize, &str) {
        let start = self.starts.get(number.saturating_sub(1)).copied().unwrap_or_default();
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        (start, self.text.get(start..end).unwrap_or_default().trim_end_matches(['\r', '\n']))
    }
}

/// What the file says at `span`, on one line and not too long.
pub(super) fn excerpt(text: &str, span: &Span) -> String {
    const SHOWN: usize = 64;
    let written = text.get(span.clone()).unwrap_or_default();
    let line = written.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < written.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("f".into(), "a\r\né = 1\n".into());
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(source.text.find('=').unwrap()), (2, 3));
        assert_eq!(source.position(source.text.len()), (3, 1));
        assert_eq!(source.line(1), (0, "a"));
        assert_eq!(source.line(2), (3, "é = 1"));
        assert_eq!(source.line(3), (source.text.len(), ""));
        assert_eq!(Source::new(String::new(), String::new()).position(0), (1, 1));
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("x = 1", &(4..5)), "1");
        assert_eq!(excerpt("[\n1]", &(0..4)), "[...");
        assert_eq!(excerpt(&"é".repeat(80), &(0..160)).chars().count(), 67);
        assert_eq!(excerpt("é", &(1..9)), "");
    }
}
