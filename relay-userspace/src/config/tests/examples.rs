//! The annotated examples and the reference page say what the program does.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::base::{KeyFile, report};
use crate::config::document::{Inside, Key, Keys, Presence, Roles};
use crate::config::problem::excerpt;
use crate::config::raw::File;
use crate::config::{Style, reference};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_reference_page_is_current() {
    let committed = read("docs/config.md");
    assert!(
        committed == reference(),
        "docs/config.md is out of date: xdp-relay generate config-reference > docs/config.md"
    );
}

#[test]
fn the_examples_are_valid() {
    for example in ["dist/config/ingress.toml", "dist/config/egress.toml"] {
        let text = read(example).replace("/etc/xdp-relay/hash.key", "KEY");
        let report = report(&KeyFile::new().put_into(&text));
        assert!(report.config().is_some(), "{example}\n{}", report.text(Style::Plain));
    }
}

#[test]
fn the_examples_have_every_key_and_every_default() {
    for (example, other) in
        [("dist/config/ingress.toml", Roles::Egress), ("dist/config/egress.toml", Roles::Ingress)]
    {
        let text = read(example);
        let document = DeTable::parse(&text).unwrap();
        covers(&text, example, other, "", &File::keys(), &[document.get_ref()]);
    }
}

/// Checks that each key a relay can have is in one of the tables, and with its default if it has one.
fn covers(text: &str, example: &str, other: Roles, path: &str, keys: &[Key], tables: &[&DeTable<'_>]) {
    for key in keys.iter().filter(|key| key.roles != other) {
        let values: Vec<_> = tables.iter().filter_map(|table| table.get(key.name)).collect();
        let name = format!("{example}: {path}.{}", key.name);
        assert!(!values.is_empty(), "{name} is not in the example");
        if let Presence::Default(default) | Presence::Inherited(default) = &key.presence {
            let first = values.iter().min_by_key(|value| value.span().start).unwrap();
            assert_eq!(excerpt(text, &first.span()), *default, "{name}: the value at its first place");
            let line = text[first.span().end..].lines().next().unwrap();
            assert!(line.trim_start().starts_with("# default"), "{name} is not marked: {line:?}");
        }
        if let Some(Inside { keys, .. }) = &key.inside {
            let mut inner: Vec<&DeTable<'_>> =
                values.iter().flat_map(|value| inner_tables(value.get_ref())).collect();
            // What services say of their own stands beside what holds for all of them.
            let inherited = keys.iter().any(|key| matches!(key.presence, Presence::Inherited(_)));
            match (inherited, path) {
                (true, "services") => continue,
                (true, _) => inner.extend(of_services(tables, key.name)),
                (false, _) => {}
            }
            covers(text, example, other, key.name, keys, &inner);
        }
    }
}

/// The tables of a name inside the services.
fn of_services<'t, 'i>(tables: &[&'t DeTable<'i>], name: &str) -> Vec<&'t DeTable<'i>> {
    let services = tables.iter().filter_map(|table| table.get("services"));
    services
        .flat_map(|services| inner_tables(services.get_ref()))
        .filter_map(|service| service.get(name))
        .flat_map(|table| inner_tables(table.get_ref()))
        .collect()
}

fn inner_tables<'v, 'i>(value: &'v DeValue<'i>) -> Vec<&'v DeTable<'i>> {
    match value {
        DeValue::Table(table) => vec![table],
        DeValue::Array(array) => array.iter().flat_map(|element| inner_tables(element.get_ref())).collect(),
        other => panic!("not a table: {other:?}"),
    }
}
