//! Reads the secret of the flow hash. Nothing it reads ever reaches a message.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::rules;
use crate::config::document::{At, Reader};
use crate::config::problem::{Class, Problem, excerpt};
use crate::config::valid::HashKey;

/// Digits of a key.
const DIGITS: usize = 32;
/// Permission bits of group and others.
const FOREIGN: u32 = 0o077;
const HOW_TO_MAKE: &str = "make one with `(umask 077; openssl rand -hex 16 > FILE)`";

/// Reads the key from the configured file, or reports why not.
pub(super) fn load(reader: &mut Reader<'_>, key: &str, path: &At<impl AsRef<Path>>) -> Option<HashKey> {
    match read(path.value.as_ref()) {
        Ok(hash_key) => Some(hash_key),
        Err(trouble) => {
            let problem = Problem::new(trouble.class, &path.span, key, trouble.message)
                .value(excerpt(reader.text, &path.span))
                .allowed(rules::HASH_KEY)
                .hint(Some(trouble.hint));
            reader.report(problem);
            None
        }
    }
}

struct Trouble {
    class: Class,
    message: String,
    hint: String,
}

impl Trouble {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { class: Class::Context, message: message.into(), hint: hint.into() }
    }

    fn io(attempted: &str, error: &std::io::Error) -> Self {
        let message = format!("cannot {attempted} the file: {error}");
        match error.kind() {
            ErrorKind::NotFound => Self::new("the file does not exist", HOW_TO_MAKE),
            ErrorKind::PermissionDenied => Self {
                class: Class::UnreadableSecret,
                message,
                hint: "run as the user that runs the relay to check the key as well".to_owned(),
            },
            _ => Self::new(message, "correct the path"),
        }
    }
}

fn read(path: &Path) -> Result<HashKey, Trouble> {
    // The mode of a file that cannot be opened is still worth a look: `check` needs no root.
    let metadata = std::fs::metadata(path).map_err(|error| Trouble::io("look at", &error))?;
    if !metadata.is_file() {
        return Err(Trouble::new("this is not a regular file", "correct the path"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & FOREIGN != 0 {
        let hint = format!("chmod 0600 {}", path.display());
        return Err(Trouble::new(format!("the mode of the file, {mode:04o}, lets others at the key"), hint));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(|error| Trouble::io("open", &error))?;
    let mut content = Vec::with_capacity(DIGITS + 2);
    let longest = DIGITS as u64 + 2;
    Read::by_ref(&mut file)
        .take(longest + 1)
        .read_to_end(&mut content)
        .map_err(|error| Trouble::io("read", &error))?;
    parse(&content)
}

fn parse(content: &[u8]) -> Result<HashKey, Trouble> {
    let digits = content.trim_ascii_end();
    if digits.len() != DIGITS || content.len() > DIGITS + 2 {
        let found = if content.len() > DIGITS + 2 { "more".to_owned() } else { digits.len().to_string() };
        return Err(Trouble::new(
            format!("expected {DIGITS} characters in the file, found {found}"),
            HOW_TO_MAKE,
        ));
    }
    let mut key = [0; DIGITS / 2];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            let value = value.ok_or_else(|| {
                Trouble::new("the file has characters that are not hexadecimal digits", HOW_TO_MAKE)
            })?;
            *byte = *byte << 4 | value;
        }
    }
    if key == [0; DIGITS / 2] {
        return Err(Trouble::new("the key is all zero", HOW_TO_MAKE));
    }
    Ok(HashKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: &str) -> String {
        parse(content.as_bytes()).err().map(|trouble| trouble.message).unwrap_or_default()
    }

    #[test]
    fn a_key_is_32_digits_and_a_newline_at_most() {
        let key = parse(b"000102030405060708090a0b0c0D0E0F\n").ok().unwrap();
        assert_eq!(key.bytes(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn other_contents_are_refused_without_showing_them() {
        assert_eq!(message("0123"), "expected 32 characters in the file, found 4");
        assert_eq!(message(""), "expected 32 characters in the file, found 0");
        assert_eq!(message(&"a".repeat(35)), "expected 32 characters in the file, found more");
        assert_eq!(message(&"g".repeat(32)), "the file has characters that are not hexadecimal digits");
        assert_eq!(message(&"0".repeat(32)), "the key is all zero");
    }
}
