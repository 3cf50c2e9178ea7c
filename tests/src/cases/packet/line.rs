//! One line of a packet in words: a kind, two ends, and settings.

use anyhow::{Context, Result, bail};

/// `kind [A > B] [word] [setting=value]...`
#[derive(Debug)]
pub struct Line<'text> {
    /// The first word.
    pub kind: &'text str,
    /// What stands on both sides of `>`.
    pub ends: Option<(&'text str, &'text str)>,
    words: Vec<&'text str>,
    settings: Vec<(&'text str, &'text str)>,
}

impl<'text> Line<'text> {
    /// Takes a line apart.
    pub fn new(text: &'text str) -> Result<Self> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let kind = if words.is_empty() { bail!("an empty line") } else { words.remove(0) };
        let ends = match words.iter().position(|word| *word == ">") {
            Some(at) if at > 0 && at + 1 < words.len() => {
                let ends = (words[at - 1], words[at + 1]);
                words.drain(at - 1..=at + 1);
                Some(ends)
            }
            Some(_) => bail!("`>` needs a word on both sides in `{text}`"),
            None => None,
        };
        let settings = words.iter().filter_map(|word| word.split_once('=')).collect();
        words.retain(|word| !word.contains('='));
        Ok(Self { kind, ends, words, settings })
    }

    /// Both ends, which this kind of line must have.
    pub fn both_ends(&self) -> Result<(&'text str, &'text str)> {
        self.ends.with_context(|| format!("a line `{}` needs `A > B`", self.kind))
    }

    /// Whether a word without value stands there.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// All words without value.
    #[must_use]
    pub fn words(&self) -> &[&'text str] {
        &self.words
    }

    /// The first word without value.
    pub fn word(&self) -> Result<&'text str> {
        self.words.first().copied().with_context(|| format!("a line `{}` needs a word", self.kind))
    }

    /// The value of a setting.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'text str> {
        self.settings.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// The value of a setting that is a number.
    pub fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>> {
        self.text(key).map(|text| number(text).with_context(|| format!("read {key}={text}"))).transpose()
    }

    /// Refuses what this kind of line does not know, so that a misspelt setting is not a packet without it.
    pub fn knows(&self, words: &[&str], settings: &[&str]) -> Result<()> {
        if let Some(word) = self.words.iter().find(|word| !words.contains(word)) {
            bail!("a line `{}` knows no `{word}`", self.kind);
        }
        if let Some((key, _)) = self.settings.iter().find(|(key, _)| !settings.contains(key)) {
            bail!("a line `{}` knows no `{key}=`", self.kind);
        }
        Ok(())
    }
}

/// A number, decimal or with 0x.
pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Result<T> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let value = parsed.with_context(|| format!("`{text}` is no number"))?;
    T::try_from(value).ok().with_context(|| format!("{value} does not fit its field"))
}

/// Bytes in hexadecimal.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        bail!("`{text}` is no row of bytes in hexadecimal");
    }
    (0..text.len())
        .step_by(2)
        .map(|at| {
            u8::from_str_radix(&text[at..at + 2], 16).with_context(|| format!("read `{text}` as bytes"))
        })
        .collect()
}
