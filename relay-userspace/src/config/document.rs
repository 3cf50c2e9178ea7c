//! Walks a parsed TOML document against the tables of keys in [`super::raw`], and reports everything it meets.
//!
//! Nothing here stops at the first problem: a wrong value becomes an absent one, and reading goes on.

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Class, Problem, Span, excerpt};
use super::suggest;

/// The two tiers, as the file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    Ingress,
    Egress,
}

/// Which relays have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roles {
    Both,
    Ingress,
    Egress,
}

impl Roles {
    /// Whether a relay has the key; while its role is unknown nothing is refused.
    fn apply_to(self, role: Option<RoleName>) -> bool {
        match (self, role) {
            (Self::Ingress, Some(RoleName::Egress)) | (Self::Egress, Some(RoleName::Ingress)) => false,
            (Self::Both | Self::Ingress | Self::Egress, _) => true,
        }
    }

    /// How documentation and messages say it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Whether a key must be there, and what holds when it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Always.
    Required,
    /// May be absent; the text says what that means.
    Optional(&'static str),
    /// May be absent; the value, as TOML, that then holds.
    Default(String),
    /// May be absent; in a table of a service the value of the table of the same name at the top of the file then holds, and
    /// there this value, as TOML.
    Inherited(String),
    /// A table that may be absent: each of its keys has a default.
    Defaults,
    /// Depends on other keys; the text says how.
    Depends(&'static str),
}

/// One key, as documentation and the reader see it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) roles: Roles,
    pub(super) presence: Presence,
    pub(super) allowed: String,
    /// The keys inside, if the value is a table or an array of tables.
    pub(super) inside: Option<Inside>,
    pub(super) about: &'static str,
}

/// What is inside a table.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    /// `[[name]]` rather than `[name]`.
    pub(super) repeated: bool,
    pub(super) about: &'static str,
    pub(super) keys: Vec<Key>,
}

/// A value, where it stands, and whether it stands there at all.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    /// Of the value; of the table's header when the value is a default.
    pub(super) span: Span,
    pub(super) origin: Origin,
}

impl<T> At<T> {
    /// Whether the key is absent and the value is the default.
    pub(super) fn is_default(&self) -> bool {
        self.origin == Origin::Default
    }

    /// Whether the default stands in for a refused value.
    pub(super) fn is_refused(&self) -> bool {
        self.origin == Origin::Refused
    }
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A key without a default.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    /// Not in the file.
    Absent,
    /// In the file, but refused; the problem is reported.
    Refused,
    /// In the file.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value, if there is a good one.
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Refused => None,
        }
    }

    /// Whether the file does not have the key.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Where a value with a default comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file.
    File,
    /// The key is absent: the default.
    Default,
    /// The key is there, but its value was refused: the default stands in for it.
    Refused,
}

/// What a value may look like.
pub(super) trait Shape {
    /// What is read from it.
    type Output;
    /// What is allowed, for messages and documentation.
    fn allowed() -> String;
    /// The keys inside, if any.
    fn inside() -> Option<Inside> {
        None
    }
    /// Reads the value; `None` after reporting why not.
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self::Output>;
}

/// The keys of one table.
pub(super) trait Keys: Sized {
    /// What the table is for.
    const ABOUT: &'static str;
    /// Its keys, in the order of the documentation.
    fn keys() -> Vec<Key>;
    /// Reads them.
    fn read(table: &mut TableReader<'_, '_>) -> Self;
}

/// Goes through one document and gathers what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) role: Option<RoleName>,
    pub(super) problems: Vec<Problem>,
    /// The whole tree of keys, to say where a misplaced one belongs.
    root: Vec<Key>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, role: Option<RoleName>, root: Vec<Key>) -> Self {
        Self { text, role, problems: Vec::new(), root }
    }

    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reads a table: first its keys against the known ones, then each known key.
    pub(super) fn table<T: Keys>(&mut self, path: &str, header: &Span, table: &DeTable<'_>) -> T {
        self.refuse_unknown(path, &T::keys(), table);
        T::read(&mut TableReader { reader: self, path, header: header.clone(), table })
    }

    fn refuse_unknown(&mut self, path: &str, known: &[Key], table: &DeTable<'_>) {
        for (name, value) in table {
            let span = name.span();
            let full = join(path, name.get_ref());
            match known.iter().find(|key| key.name == name.get_ref()) {
                Some(key) if key.roles.apply_to(self.role) => {}
                Some(key) => self.report(
                    Problem::new(
                        Class::Item,
                        &span,
                        full,
                        format!("only an {} relay has this key", key.roles.label()),
                    )
                    .value(excerpt(self.text, &value.span()))
                    .hint(Some("remove it, or correct `role`")),
                ),
                None => {
                    let here =
                        || known.iter().filter(|key| key.roles.apply_to(self.role)).map(|key| key.name);
                    let hint = suggest::advice(name.get_ref(), here())
                        .or_else(|| belongs(&self.root, "", name.get_ref()));
                    let problem = Problem::new(Class::Item, &span, full, "unknown key")
                        .value(excerpt(self.text, &value.span()))
                        .allowed(here().collect::<Vec<_>>().join(", "))
                        .hint(hint);
                    self.report(problem);
                }
            }
        }
    }
}

/// One table being read.
pub(super) struct TableReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    path: &'r str,
    header: Span,
    table: &'r DeTable<'r>,
}

impl TableReader<'_, '_> {
    /// A key that must be there.
    pub(super) fn required<S: Shape>(&mut self, name: &str, roles: Roles) -> Field<S::Output> {
        let certain = roles == Roles::Both || self.reader.role.is_some();
        if certain && roles.apply_to(self.reader.role) && !self.table.contains_key(name) {
            self.reader.report(missing::<S>(&join(self.path, name), &self.header));
        }
        self.optional::<S>(name, roles)
    }

    /// A key that may be absent.
    pub(super) fn optional<S: Shape>(&mut self, name: &str, roles: Roles) -> Field<S::Output> {
        let Some(value) = self.table.get(name).filter(|_| roles.apply_to(self.reader.role)) else {
            return Field::Absent;
        };
        match S::read(self.reader, &join(self.path, name), value) {
            Some(read) => Field::Given(At { value: read, span: value.span(), origin: Origin::File }),
            None => Field::Refused,
        }
    }

    /// A key with a default.
    pub(super) fn or_default<S: Shape>(
        &mut self,
        name: &str,
        roles: Roles,
        default: S::Output,
    ) -> At<S::Output> {
        let origin = match self.optional::<S>(name, roles) {
            Field::Given(at) => return at,
            Field::Absent => Origin::Default,
            Field::Refused => Origin::Refused,
        };
        At { value: default, span: self.header.clone(), origin }
    }

    /// A table whose keys all have defaults.
    pub(super) fn or_defaults<T: Keys>(&mut self, name: &str, roles: Roles) -> At<T> {
        let header = self.header.clone();
        let empty =
            T::read(&mut TableReader { reader: self.reader, path: name, header, table: &DeTable::new() });
        self.or_default::<Table<T>>(name, roles, empty)
    }
}

/// The problem of an absent key.
pub(super) fn missing<S: Shape>(path: &str, header: &Span) -> Problem {
    let name = path.rsplit('.').next().unwrap_or(path);
    let message = match S::inside() {
        Some(Inside { repeated: true, .. }) => format!("`[[{}]]` is missing", without_indices(path)),
        Some(_) => format!("`[{}]` is missing", without_indices(path)),
        None => format!("`{name}` is missing"),
    };
    Problem::new(Class::Context, header, path, message).allowed(S::allowed())
}

/// A table `[name]`.
pub(super) struct Table<T>(std::marker::PhantomData<T>);

impl<T: Keys> Shape for Table<T> {
    type Output = T;

    fn allowed() -> String {
        "table".to_owned()
    }

    fn inside() -> Option<Inside> {
        Some(Inside { repeated: false, about: T::ABOUT, keys: T::keys() })
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        match value.get_ref() {
            DeValue::Table(table) => Some(reader.table(path, &value.span(), table)),
            other => {
                let advice = format!("write `[{}]`", without_indices(path));
                wrong_type(reader, path, &value.span(), other, &Self::allowed(), advice);
                None
            }
        }
    }
}

/// An array of tables `[[name]]`, with one element at least.
pub(super) struct Tables<T, const MAX: usize>(std::marker::PhantomData<T>);

impl<T: Keys, const MAX: usize> Shape for Tables<T, MAX> {
    type Output = Vec<At<T>>;

    fn allowed() -> String {
        format!("1 to {MAX} tables")
    }

    fn inside() -> Option<Inside> {
        Some(Inside { repeated: true, about: T::ABOUT, keys: T::keys() })
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Vec<At<T>>> {
        let advice = || format!("write `[[{}]]`", without_indices(path));
        let DeValue::Array(array) = value.get_ref() else {
            wrong_type(reader, path, &value.span(), value.get_ref(), &Self::allowed(), advice());
            return None;
        };
        refuse_length(reader, path, &value.span(), array.len(), (1, MAX), &Self::allowed());
        let mut elements = Vec::with_capacity(array.len());
        for (index, element) in array.iter().take(MAX).enumerate() {
            let path = format!("{path}[{index}]");
            match element.get_ref() {
                DeValue::Table(table) => elements.push(At {
                    value: reader.table(&path, &element.span(), table),
                    span: element.span(),
                    origin: Origin::File,
                }),
                other => wrong_type(reader, &path, &element.span(), other, "table", advice()),
            }
        }
        Some(elements)
    }
}

/// Reports a list that is too short or too long.
pub(super) fn refuse_length(
    reader: &mut Reader<'_>,
    path: &str,
    span: &Span,
    length: usize,
    (least, most): (usize, usize),
    allowed: &str,
) {
    if length < least || length > most {
        let message = format!("{length} elements are too {}", if length < least { "few" } else { "many" });
        reader.report(
            Problem::new(Class::Item, span, path, message).value(excerpt(reader.text, span)).allowed(allowed),
        );
    }
}

fn wrong_type(
    reader: &mut Reader<'_>,
    path: &str,
    span: &Span,
    found: &DeValue<'_>,
    allowed: &str,
    hint: String,
) {
    let message = format!("expected a table, found {}", a_type(found));
    reader.report(
        Problem::new(Class::Item, span, path, message)
            .value(excerpt(reader.text, span))
            .allowed(allowed)
            .hint(Some(hint)),
    );
}

/// The type of a value, with its article.
pub(super) fn a_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// `path.name`, or `name` at the root.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `services[3].backends[0]` as a header says it: `services.backends`.
fn without_indices(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}

/// Says in which table a key is known.
fn belongs(keys: &[Key], path: &str, name: &str) -> Option<String> {
    keys.iter().find_map(|key| {
        let inside = key.inside.as_ref()?;
        let path = join(path, key.name);
        if inside.keys.iter().any(|inner| inner.name == name) {
            let (open, close) = if inside.repeated { ("[[", "]]") } else { ("[", "]") };
            return Some(format!("`{name}` is a key of `{open}{path}{close}`"));
        }
        belongs(&inside.keys, &path, name)
    })
}
