//! What people see: short sections, aligned columns, colour only on a terminal. With `--json` only the object is printed.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::findings::Summary;

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[1;32m";
const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    colour: bool,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, colour: !json && !unwanted && std::io::stdout().is_terminal() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.coloured(BOLD, text)));
    }

    pub(crate) fn line(&self, text: &str) {
        if !self.json {
            write(&format!("{text}\n"));
        }
    }

    /// Lines that end as they are.
    pub(crate) fn text(&self, text: &str) {
        if !self.json {
            write(text);
        }
    }

    /// Indented below a heading.
    pub(crate) fn block(&self, text: &str) {
        for line in text.lines() {
            self.line(format!("  {line}").trim_end());
        }
    }

    /// What was looked at, whether it is right, and the facts.
    pub(crate) fn check(&self, what: &str, right: bool, facts: &str) {
        let mark = if right { self.coloured(GREEN, "ok   ") } else { self.coloured(RED, "WRONG") };
        self.line(&format!("  {what:<8} {mark}  {facts}"));
    }

    pub(crate) fn verdict(&self, summary: &Summary) {
        self.heading("Result");
        for (what, right, facts) in summary.lines() {
            self.check(what, right, &facts);
        }
        if !summary.problems.is_empty() {
            self.line("\n  What is wrong:");
        }
        for problem in &summary.problems {
            self.line(&format!("  - {problem}"));
        }
        let seconds = summary.findings.seconds;
        let end = if summary.ok {
            self.coloured(GREEN, "All as promised")
        } else {
            self.coloured(RED, "Not as promised")
        };
        self.line(&format!("\n{end}, in {seconds:.1} s."));
    }

    pub(crate) fn object(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => write(&format!("{text}\n")),
            Err(error) => eprintln!("error: cannot write the summary as JSON: {error}"),
        }
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout();
    // A reader that went away must not keep us from removing what we made.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
