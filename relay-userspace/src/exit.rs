//! The exit codes of every command, and the error a command ends with.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

/// How a command ended. The numbers are a promise to scripts: a code is never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Tried and failed; the message says what and why.
    Failed = 1,
    /// The command line itself is wrong (clap ends with this code by itself).
    Usage = 2,
    /// The configuration file has problems; all of them were printed.
    ConfigInvalid = 3,
    /// Nothing is running (or loaded) under this name.
    NotRunning = 4,
    /// The named object does not exist.
    NotFound = 5,
    /// There are differences (only where a command says that it reports them so).
    Changes = 6,
    /// Gave up waiting.
    TimedOut = 7,
    /// The caller lacks a permission or capability.
    Permission = 8,
}

impl Exit {
    /// Every code, for help texts.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::ConfigInvalid,
        Self::NotRunning,
        Self::NotFound,
        Self::Changes,
        Self::TimedOut,
        Self::Permission,
    ];

    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The word for this code in JSON errors (`"error": {"code": ...}`).
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::ConfigInvalid => "config_invalid",
            Self::NotRunning => "not_running",
            Self::NotFound => "not_found",
            Self::Changes => "changes",
            Self::TimedOut => "timed_out",
            Self::Permission => "permission",
        }
    }

    /// The code of a word.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.label() == label)
    }

    /// One line for help texts.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "failed; the message says what and why",
            Self::Usage => "wrong command line",
            Self::ConfigInvalid => "the configuration has problems",
            Self::NotRunning => "nothing is running under this name",
            Self::NotFound => "the named object does not exist",
            Self::Changes => "there are differences",
            Self::TimedOut => "gave up waiting",
            Self::Permission => "a permission or capability is missing",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command could not do what it was asked to, as the user sees it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// What was attempted, with which value, and what came of it.
    pub message: String,
    /// What to do next, where that is known.
    pub hint: Option<String>,
    /// Text to print before the message, such as all problems of a configuration file.
    pub details: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, details: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failed file operation; a refused one ends with [`Exit::Permission`].
    pub fn io(attempted: impl fmt::Display, error: &std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("cannot {attempted}: {error}"))
    }

    /// The JSON object printed on stdout by commands that were asked for JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Inner<'a> {
            code: &'static str,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let error = Inner { code: self.exit.label(), message: &self.message, hint: self.hint.as_deref() };
        serde_json::json!({ "schema_version": 1, "ok": false, "error": error })
    }

    /// Reads such an object.
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        let text = |key: &str| value["error"][key].as_str().map(str::to_owned);
        let exit = Exit::from_label(value["error"]["code"].as_str()?)?;
        Some(Self { exit, message: text("message")?, hint: text("hint"), details: None })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(details) = &self.details {
            writeln!(f, "{details}\n")?;
        }
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_published_ones() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, (0..=8).collect::<Vec<u8>>());
    }

    #[test]
    fn a_refused_file_is_a_permission_problem() {
        let refused = Failure::io("read x", &std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(refused.exit, Exit::Permission);
        assert_eq!(Failure::io("read x", &std::io::ErrorKind::NotFound.into()).exit, Exit::Failed);
    }

    #[test]
    fn json_has_code_message_and_hint() {
        let json = Failure::new(Exit::NotFound, "no such peer").hint("see status").json();
        assert_eq!(json["error"]["code"], "not_found");
        assert_eq!(json["error"]["hint"], "see status");
        assert_eq!(json["schema_version"], 1);
        let back = Failure::from_json(&json).unwrap();
        assert_eq!((back.exit, back.hint.as_deref()), (Exit::NotFound, Some("see status")));
        assert!(
            Failure::from_json(&serde_json::json!({ "error": { "code": "odd", "message": "" } })).is_none()
        );
    }
}
