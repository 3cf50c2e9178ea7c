//! How commands print: data to standard output, whose failures count, and colour only where somebody looks.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;

use crate::actions::Done;
use crate::config::Style;
use crate::exit::{Exit, Failure};

/// Prints a line of data.
pub fn line(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::io("write to standard output", &error))
}

/// Prints text that has its line ends.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("write to standard output", &error))
}

/// Prints a JSON object.
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot write the result as JSON: {error}")))?;
    line(&text)
}

/// When text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless the environment has `NO_COLOR`
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Notes the user's choice. Called once, before any command runs.
pub(crate) fn choose_colour(colour: Colour) {
    COLOUR.get_or_init(|| colour);
}

/// How text on standard error is decorated.
#[must_use]
pub fn stderr_style() -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = match COLOUR.get().copied().unwrap_or(Colour::Auto) {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => std::io::stderr().is_terminal() && !unwanted,
    };
    if coloured { Style::Coloured } else { Style::Plain }
}

/// Prints a value as a JSON object, with its keys in the order of its fields.
pub fn object(value: &impl serde::Serialize) -> Result<(), Failure> {
    // Not by way of a `Value`, which would sort the keys.
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot write the result as JSON: {error}")))?;
    line(&text)
}

/// Reports what the controller did: one line, or the JSON object. Notes go to standard error.
pub fn done(done: &Done, as_json: bool, said: &str) -> Result<Exit, Failure> {
    if as_json {
        object(done)?;
    } else {
        line(said)?;
        if let Some(note) = &done.note {
            eprintln!("note: {note}");
        }
    }
    Ok(Exit::Ok)
}

/// A time that the API can be told: whole seconds, at least one.
pub(super) fn whole_seconds(time: Duration) -> Result<u64, Failure> {
    if time.subsec_nanos() == 0 && time.as_secs() > 0 {
        return Ok(time.as_secs());
    }
    let message = format!("--for {} is not a number of whole seconds", humantime::format_duration(time));
    Err(Failure::new(Exit::Usage, message).hint("give it like 30s or 10m"))
}

/// Runs a command that was perhaps asked for JSON: then its failure is a JSON object on standard output as well.
pub fn json_failure(as_json: bool, command: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    command().inspect_err(|failure| {
        if as_json {
            // The failure itself is reported on standard error in any case.
            drop(json(&failure.json()));
        }
    })
}
