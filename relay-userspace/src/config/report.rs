//! How the problems of a file are shown: text as rustc prints it, JSON for programs.

use std::error::Error;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;
use serde_json::Value;

use super::Secrets;
use super::problem::{Class, Problem, Source, Span};
use super::valid::{Config, Role};
use crate::exit::{Exit, Failure};

/// How text is decorated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For files and pipes.
    Plain,
    /// For terminals.
    Coloured,
}

/// What was found in one file.
#[derive(Debug)]
pub struct Report {
    source: Source,
    problems: Vec<Problem>,
    notes: Vec<String>,
    config: Option<Config>,
    /// Where the services start.
    services: Span,
}

impl Report {
    pub(super) fn new(
        source: Source,
        problems: Vec<Problem>,
        config: Option<Config>,
        services: Span,
        secrets: Secrets,
    ) -> Self {
        let tolerated =
            |problem: &Problem| secrets == Secrets::IfReadable && problem.class == Class::UnreadableSecret;
        let (unreadable, problems): (Vec<_>, Vec<_>) = problems.into_iter().partition(tolerated);
        let notes = unreadable
            .into_iter()
            .map(|problem| {
                let key = problem.key.unwrap_or_default();
                format!("`{key}` was not checked: {}; {}", problem.message, problem.hint.unwrap_or_default())
            })
            .collect();
        Self { source, problems, notes, config, services }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// What could not be checked, and why.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The configuration, if nothing is wrong and everything could be read.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Adds what could not be checked.
    pub(super) fn note(&mut self, notes: Vec<String>) {
        self.notes.extend(notes);
    }

    pub(super) fn take_config(&mut self) -> Option<Config> {
        self.config.take()
    }

    /// Adds that the services as a whole are refused, by who was to use them.
    pub fn refuse_services(&mut self, why: &dyn Error) {
        let problem = Problem::new(Class::Context, &self.services, "services", why.to_string());
        self.problems.push(problem);
        self.config = None;
    }

    /// Line, from 1, of each problem.
    pub fn lines(&self) -> impl Iterator<Item = usize> + '_ {
        self.problems.iter().map(|problem| self.source.line_number(problem.span.start))
    }

    /// Each problem in one line, and what to do about it where that is known.
    pub fn complaints(&self) -> impl Iterator<Item = (String, Option<&str>)> + '_ {
        self.problems.iter().map(|problem| {
            let line = self.source.line_number(problem.span.start);
            let key = problem.key.as_ref().map_or_else(String::new, |key| format!("`{key}`: "));
            let text = printable(&format!("{}:{line}: {key}{}", self.source.file, problem.message));
            (text, problem.hint.as_deref().or(problem.allowed.as_deref()))
        })
    }

    /// The failure of a command that needs this configuration.
    #[must_use]
    pub fn failure(&self, style: Style) -> Failure {
        let mut failure = Failure::new(Exit::ConfigInvalid, self.summary());
        failure.details = Some(self.text(style));
        failure
    }

    /// One line: how the file fares.
    #[must_use]
    pub fn summary(&self) -> String {
        let file = &self.source.file;
        match (self.problems.len(), &self.config) {
            (0, Some(config)) => {
                let (role, services, backends) = sizes(&config.role);
                let (peers, backends) =
                    (counted(config.peers.len(), "peer"), backends.map(|count| counted(count, "backend")));
                let parts: Vec<String> = [Some(counted(services, "service")), backends, Some(peers)]
                    .into_iter()
                    .flatten()
                    .collect();
                format!("{file} is valid: {role} relay `{}`, {}", config.node, parts.join(", "))
            }
            (0, None) => format!("{file} is valid as far as it could be checked"),
            (count, _) => format!("{file} has {}", counted(count, "problem")),
        }
    }

    /// Every problem with the line it is on and a caret, as rustc prints errors.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        }
        .decor_style(DecorStyle::Ascii);
        let shown: Vec<String> =
            self.problems.iter().map(|problem| self.render(&renderer, problem)).collect();
        shown.join("\n\n")
    }

    /// The JSON object `check --json` prints.
    #[must_use]
    pub fn json(&self) -> Value {
        let problems: Vec<ProblemJson<'_>> =
            self.problems.iter().map(|problem| self.problem_json(problem)).collect();
        serde_json::json!({
            "schema_version": 1,
            "ok": self.is_ok(),
            "problems": problems,
            "notes": self.notes,
        })
    }

    fn problem_json<'r>(&'r self, problem: &'r Problem) -> ProblemJson<'r> {
        let (line, column) = self.source.position(problem.span.start);
        ProblemJson {
            file: &self.source.file,
            line,
            column,
            key: problem.key.as_deref(),
            value: problem.value.as_deref(),
            message: &problem.message,
            allowed: problem.allowed.as_deref(),
            hint: problem.hint.as_deref(),
        }
    }

    fn render(&self, renderer: &Renderer, problem: &Problem) -> String {
        let title = match &problem.key {
            Some(key) => format!("`{key}`: {}", problem.message),
            None => problem.message.clone(),
        };
        let title = printable(&title);
        let label = problem.allowed.as_ref().map(|allowed| printable(&format!("allowed: {allowed}")));
        let hint = problem.hint.as_ref().map(|hint| printable(hint));
        let related = problem.related.as_ref().map(|(span, label)| (self.place(span), label));
        let place = self.place(&problem.span);

        let mut annotation = AnnotationKind::Primary.span(place.within.clone());
        let short = label.as_deref().filter(|label| label.len() <= SHORT);
        if let Some(label) = short {
            annotation = annotation.label(label);
        }
        let mut group = Group::with_title(Level::ERROR.primary_title(title.as_str()));
        let snippet = Snippet::source(place.line).line_start(place.number).path(self.source.file.as_str());
        group = group.element(snippet.annotation(annotation));
        if let Some((place, label)) = &related {
            let snippet =
                Snippet::source(place.line).line_start(place.number).path(self.source.file.as_str());
            group =
                group
                    .element(snippet.annotation(
                        AnnotationKind::Context.span(place.within.clone()).label(label.as_str()),
                    ));
        }
        if let (Some(label), None) = (label.as_deref(), short) {
            group = group.element(Level::NOTE.message(label));
        }
        if let Some(hint) = &hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }

    /// The line a span starts on, and the part of the line it covers.
    fn place(&self, span: &Range<usize>) -> Place<'_> {
        let number = self.source.line_number(span.start);
        let (start, line) = self.source.line(number);
        let from = floor(line, span.start.saturating_sub(start));
        let to = floor(line, span.end.saturating_sub(start)).max(from);
        Place { number, line, within: from..to }
    }
}

/// Longer texts stand below the line rather than beside the caret.
const SHORT: usize = 60;

struct Place<'s> {
    number: usize,
    line: &'s str,
    within: Range<usize>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    key: Option<&'a str>,
    value: Option<&'a str>,
    message: &'a str,
    allowed: Option<&'a str>,
    hint: Option<&'a str>,
}

/// The nearest place at or before `at` where a character of `line` starts.
fn floor(line: &str, at: usize) -> usize {
    (0..=at.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0)
}

/// Text of a file must not reach a terminal as commands.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Role, services, and backends where the relay knows them.
fn sizes(role: &Role) -> (&'static str, usize, Option<usize>) {
    use super::valid::{EgressWay, IngressWay};
    match role {
        Role::Ingress(ingress) => {
            let backends = ingress.services.iter().filter_map(|service| match &service.way {
                IngressWay::Translate { backends, .. } => Some(backends.len()),
                IngressWay::Keep { .. } => None,
            });
            ("ingress", ingress.services.len(), Some(backends.sum()).filter(|count| *count > 0))
        }
        Role::Egress(egress) => {
            let backends = egress.services.iter().map(|service| match &service.way {
                EgressWay::Translated { backends } => backends.len(),
                EgressWay::Keep { backends, .. } => backends.len(),
            });
            ("egress", egress.services.len(), Some(backends.sum()))
        }
    }
}
