//! What single values may look like: each shape parses a value, says what it allows, and writes a value as TOML.

mod address;
mod time;

use std::marker::PhantomData;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::defaults;
use super::document::{At, Origin, Reader, Shape, a_type, refuse_length};
use super::problem::{Class, Problem, excerpt};
use super::suggest;
use super::valid::Port;

pub(super) use address::{Address, Prefix};
pub(super) use time::{Instant, Lasting, LastingOrNever};

/// Why a value is refused.
pub(super) struct Refusal {
    message: String,
    hint: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn wrong_type(expected: &str, found: &DeValue<'_>) -> Self {
        Self::new(format!("expected {expected}, found {}", a_type(found)))
    }
}

/// A value that is not a list or table.
pub(super) trait Scalar {
    type Output;
    /// What is allowed.
    fn allowed() -> String;
    /// Parses a value.
    fn parse(value: &DeValue<'_>) -> Result<Self::Output, Refusal>;
    /// Writes a value as TOML.
    fn toml(value: &Self::Output) -> String;
}

impl<S: Scalar> Shape for S {
    type Output = S::Output;

    fn allowed() -> String {
        S::allowed()
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<S::Output> {
        match S::parse(value.get_ref()) {
            Ok(output) => Some(output),
            Err(refusal) => {
                let span = value.span();
                let problem = Problem::new(Class::Item, &span, path, refusal.message)
                    .value(excerpt(reader.text, &span))
                    .allowed(S::allowed())
                    .hint(refusal.hint);
                reader.report(problem);
                None
            }
        }
    }
}

/// A list of values of one shape.
pub(super) struct List<S, const MIN: usize, const MAX: usize>(PhantomData<S>);

impl<S: Scalar, const MIN: usize, const MAX: usize> Shape for List<S, MIN, MAX> {
    type Output = Vec<At<S::Output>>;

    fn allowed() -> String {
        format!("array of {MIN} to {MAX}: {}", S::allowed())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self::Output> {
        let DeValue::Array(array) = value.get_ref() else {
            let span = value.span();
            let written = excerpt(reader.text, &span);
            let refusal = Refusal::wrong_type("an array", value.get_ref());
            reader.report(
                Problem::new(Class::Item, &span, path, refusal.message)
                    .allowed(<Self as Shape>::allowed())
                    .hint(S::parse(value.get_ref()).is_ok().then(|| format!("write `[{written}]`")))
                    .value(written),
            );
            return None;
        };
        let before = reader.problems.len();
        refuse_length(reader, path, &value.span(), array.len(), (MIN, MAX), &<Self as Shape>::allowed());
        let elements = array
            .iter()
            .take(MAX)
            .enumerate()
            .filter_map(|(index, element)| {
                let value = S::read(reader, &format!("{path}[{index}]"), element)?;
                Some(At { value, span: element.span(), origin: Origin::File })
            })
            .collect();
        (reader.problems.len() == before).then_some(elements)
    }
}

/// An integer in a range.
pub(super) struct Integer<T, const MIN: i64, const MAX: i64>(PhantomData<T>);

impl<T, const MIN: i64, const MAX: i64> Scalar for Integer<T, MIN, MAX>
where
    T: TryFrom<i64> + std::fmt::Display,
{
    type Output = T;

    fn allowed() -> String {
        format!("integer {MIN}..={MAX}")
    }

    fn parse(value: &DeValue<'_>) -> Result<T, Refusal> {
        let DeValue::Integer(integer) = value else {
            let refusal = Refusal::wrong_type("an integer", value);
            return Err(match value {
                DeValue::String(text) if text.parse::<i64>().is_ok() => refusal.hint("remove the quotes"),
                _ => refusal,
            });
        };
        i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| Refusal::new("out of range"))
    }

    fn toml(value: &T) -> String {
        value.to_string()
    }
}

/// Yes or no.
pub(super) struct Boolean;

impl Scalar for Boolean {
    type Output = bool;

    fn allowed() -> String {
        "true or false".to_owned()
    }

    fn parse(value: &DeValue<'_>) -> Result<bool, Refusal> {
        match value {
            DeValue::Boolean(value) => Ok(*value),
            DeValue::String(text) if ["true", "false"].contains(&text.as_ref()) => {
                Err(Refusal::wrong_type("a boolean", value).hint("remove the quotes"))
            }
            _ => Err(Refusal::wrong_type("a boolean", value)),
        }
    }

    fn toml(value: &bool) -> String {
        value.to_string()
    }
}

/// So many a second; 0 is no limit.
pub(super) struct Rate<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Scalar for Rate<MIN, MAX> {
    type Output = u64;

    fn allowed() -> String {
        format!("integer {MIN}..={MAX}, or 0 for no limit")
    }

    fn parse(value: &DeValue<'_>) -> Result<u64, Refusal> {
        match Integer::<u64, 0, MAX>::parse(value)? {
            rate if rate != 0 && rate < MIN.unsigned_abs() => Err(Refusal::new("out of range")),
            rate => Ok(rate),
        }
    }

    fn toml(value: &u64) -> String {
        value.to_string()
    }
}

/// Words that stand for values.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every word and its value.
    const WORDS: &'static [(&'static str, Self)];
    /// Words that are known but refused, and why.
    const REFUSED: &'static [(&'static str, &'static str)] = &[];
}

/// One of a few words.
pub(super) struct OneOf<C>(PhantomData<C>);

impl<C: Choice> Scalar for OneOf<C> {
    type Output = C;

    fn allowed() -> String {
        C::WORDS.iter().map(|(word, _)| quoted(word)).collect::<Vec<_>>().join(" or ")
    }

    fn parse(value: &DeValue<'_>) -> Result<C, Refusal> {
        let text = text(value)?;
        if let Some((_, choice)) = C::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*choice);
        }
        if let Some((_, why)) = C::REFUSED.iter().find(|(word, _)| *word == text) {
            return Err(Refusal::new(*why));
        }
        let mut refusal = Refusal::new("unknown value");
        refusal.hint = suggest::advice(text, C::WORDS.iter().map(|(word, _)| *word));
        Err(refusal)
    }

    fn toml(value: &C) -> String {
        C::WORDS.iter().find(|(_, choice)| choice == value).map_or_else(String::new, |(word, _)| quoted(word))
    }
}

/// The name of a relay on its host.
pub(super) struct NodeName;

impl Scalar for NodeName {
    type Output = String;

    fn allowed() -> String {
        format!("1 to {} characters of a-z, 0-9 and -", defaults::NODE_NAME_MAX)
    }

    fn parse(value: &DeValue<'_>) -> Result<String, Refusal> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        name(value, defaults::NODE_NAME_MAX, fits)
    }

    fn toml(value: &String) -> String {
        quoted(value)
    }
}

/// The name of a peer, service or backend.
pub(super) struct ObjectName;

impl Scalar for ObjectName {
    type Output = String;

    fn allowed() -> String {
        format!("1 to {} characters of A-Z, a-z, 0-9, - _ and .", defaults::NAME_MAX)
    }

    fn parse(value: &DeValue<'_>) -> Result<String, Refusal> {
        name(value, defaults::NAME_MAX, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    }

    fn toml(value: &String) -> String {
        quoted(value)
    }
}

/// The name of a network interface, as the kernel allows it.
pub(super) struct InterfaceName;

impl Scalar for InterfaceName {
    type Output = String;

    fn allowed() -> String {
        format!("interface name of 1 to {} characters", defaults::INTERFACE_NAME_MAX)
    }

    fn parse(value: &DeValue<'_>) -> Result<String, Refusal> {
        let fits = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
        let name = name(value, defaults::INTERFACE_NAME_MAX, fits)?;
        if name == "." || name == ".." {
            return Err(Refusal::new("not an interface name"));
        }
        Ok(name)
    }

    fn toml(value: &String) -> String {
        quoted(value)
    }
}

/// A path from the root.
pub(super) struct AbsolutePath;

impl Scalar for AbsolutePath {
    type Output = PathBuf;

    fn allowed() -> String {
        "absolute path".to_owned()
    }

    fn parse(value: &DeValue<'_>) -> Result<PathBuf, Refusal> {
        let text = text(value)?;
        if !text.starts_with('/') {
            return Err(Refusal::new("not an absolute path").hint("start it with `/`"));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::new("contains a control character"));
        }
        Ok(PathBuf::from(text))
    }

    fn toml(value: &PathBuf) -> String {
        quoted(&value.display().to_string())
    }
}

/// A line of text.
pub(super) struct Sentence<const MAX: usize>;

impl<const MAX: usize> Scalar for Sentence<MAX> {
    type Output = String;

    fn allowed() -> String {
        format!("text of 1 to {MAX} characters")
    }

    fn parse(value: &DeValue<'_>) -> Result<String, Refusal> {
        let text = text(value)?;
        if text.trim().is_empty() {
            return Err(Refusal::new("the text is empty").hint("remove the key"));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::new("contains a control character"));
        }
        match text.chars().count() {
            length if length > MAX => Err(Refusal::new(format!("{length} characters are too many"))),
            _ => Ok(text.to_owned()),
        }
    }

    fn toml(value: &String) -> String {
        quoted(value)
    }
}

/// A port, or the word for all of them.
pub(super) struct PortOrAny;

impl Scalar for PortOrAny {
    type Output = Port;

    fn allowed() -> String {
        "integer 1..=65535 or \"any\"".to_owned()
    }

    fn parse(value: &DeValue<'_>) -> Result<Port, Refusal> {
        match value {
            DeValue::String(text) if text == "any" => Ok(Port::Any),
            DeValue::String(text) if text.parse::<u16>().is_ok() => {
                Err(Refusal::new("expected an integer, found a string").hint("remove the quotes"))
            }
            DeValue::String(text) => {
                let mut refusal = Refusal::new("unknown value");
                refusal.hint = suggest::advice(text, ["any"]);
                Err(refusal)
            }
            DeValue::Integer(_) => Integer::<u16, 1, 65_535>::parse(value).map(Port::Number),
            other => Err(Refusal::wrong_type("an integer", other)),
        }
    }

    fn toml(value: &Port) -> String {
        match value {
            Port::Any => quoted("any"),
            Port::Number(number) => number.to_string(),
        }
    }
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Refusal> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(Refusal::wrong_type("a string", other)),
    }
}

fn name(value: &DeValue<'_>, longest: usize, fits: impl Fn(char) -> bool) -> Result<String, Refusal> {
    let text = text(value)?;
    if text.is_empty() {
        return Err(Refusal::new("the name is empty"));
    }
    if let Some(wrong) = text.chars().find(|c| !fits(*c)) {
        return Err(Refusal::new(format!("{wrong:?} cannot be part of this name")));
    }
    if text.len() > longest {
        return Err(Refusal::new(format!("{} characters are too many", text.len())));
    }
    Ok(text.to_owned())
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
