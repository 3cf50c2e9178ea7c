//! What a check found, and how it is shown.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but worse than it could, or only for some packets.
    Warn,
    /// Does not work.
    Fail,
}

impl Level {
    /// The word at the start of a line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// What one check found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Name of the check.
    pub check: &'static str,
    /// What was examined: an interface, a peer; empty for the machine.
    pub subject: String,
    /// What there is, and what breaks by it.
    pub message: String,
    /// The command that mends it, or in words what to do.
    pub fix: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, subject: subject.into(), message: message.into(), fix: None }
    }

    /// Works, but.
    pub fn warn(
        check: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warn, fix: Some(fix.into()), ..Self::ok(check, subject, message) }
    }

    /// Does not work.
    pub fn fail(
        check: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fail, fix: Some(fix.into()), ..Self::ok(check, subject, message) }
    }
}

/// The lines of a person's view: what is wrong comes with what to do, indented below.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let width =
        |of: fn(&Finding) -> &str| findings.iter().map(|finding| of(finding).len()).max().unwrap_or(0);
    let (check, subject) = (width(|finding| finding.check), width(|finding| &finding.subject));
    let mut text = String::new();
    for finding in findings {
        let label = finding.level.label();
        text.push_str(&format!(
            "{label:<4}  {:<check$}  {:<subject$}  {}\n",
            finding.check, finding.subject, finding.message
        ));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("{:>6}to mend it: {fix}\n", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    text.push_str(&format!(
        "\n{} ok, {} to look at, {} failed\n",
        count(Level::Ok),
        count(Level::Warn),
        count(Level::Fail)
    ));
    text
}
