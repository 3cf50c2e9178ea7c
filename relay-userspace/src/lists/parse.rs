//! List files: one IPv4 prefix or address a line, as public lists have them.
//!
//! Comments start with `#` or `;` and may follow a prefix; what such a comment says is the reason. That is what FireHOL's netsets and
//! Spamhaus' DROP in its text form look like. Lines that start with `{` are Spamhaus' DROP as JSON lines. IPv6 is skipped and counted.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use serde::Deserialize;

/// Wrong lines that are named; the others are counted.
pub const PROBLEMS_NAMED: usize = 20;

/// Characters of a wrong line that are shown.
const SHOWN: usize = 80;
/// Characters of a reason that are kept.
const REASON: usize = 120;

/// What a list file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Its prefixes, without host bits, in order.
    pub prefixes: Vec<Ipv4Net>,
    /// Why some of them are there: the number of the prefix, and the text.
    pub reasons: Vec<(usize, String)>,
    /// Prefixes that had host bits set.
    pub masked: usize,
    /// Lines with an IPv6 prefix: the packet path knows IPv4 only.
    pub skipped_ipv6: usize,
}

/// Why a file is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    /// The first wrong lines.
    pub lines: Vec<WrongLine>,
    /// How many more there are.
    pub more: usize,
}

/// A wrong line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongLine {
    /// Its number, from 1.
    pub number: usize,
    /// What it says: its beginning, printable.
    pub text: String,
    /// What is wrong.
    pub message: &'static str,
}

/// Reads the text of a list file.
///
/// # Errors
/// All wrong lines: a file is taken as a whole or not at all.
pub fn parse(text: &[u8]) -> Result<Parsed, Wrong> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut parsed = Parsed::default();
    let mut wrong = Wrong::default();
    let ended = text.ends_with(b"\n");
    let mut lines = text.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let cut_off = !ended && lines.peek().is_none();
        match read_line(line) {
            // The end of a prefix may be missing: of 192.0.2.0/24, 192.0.2.0/2 would be left.
            Ok(Line::Prefix { host_bits: true, .. }) if cut_off => {
                wrong.note(index, line, "the file ends in the middle of this line, or it has host bits set");
            }
            Ok(Line::Prefix { prefix, host_bits, reason }) => {
                if let Some(reason) = reason.and_then(readable) {
                    parsed.reasons.push((parsed.prefixes.len(), reason));
                }
                parsed.masked += usize::from(host_bits);
                parsed.prefixes.push(prefix);
            }
            Ok(Line::Ipv6) => parsed.skipped_ipv6 += 1,
            Ok(Line::Nothing) => {}
            Err(message) => wrong.note(index, line, message),
        }
    }
    if wrong.lines.is_empty() { Ok(parsed) } else { Err(wrong) }
}

impl Wrong {
    fn note(&mut self, index: usize, line: &[u8], message: &'static str) {
        if self.lines.len() == PROBLEMS_NAMED {
            self.more += 1;
            return;
        }
        let text = String::from_utf8_lossy(line.trim_ascii());
        let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        if text.chars().nth(SHOWN).is_some() {
            shown.push_str("...");
        }
        self.lines.push(WrongLine { number: index + 1, text: shown, message });
    }
}

/// What one line says.
enum Line<'line> {
    Nothing,
    Ipv6,
    Prefix { prefix: Ipv4Net, host_bits: bool, reason: Option<Cow<'line, [u8]>> },
}

fn read_line(line: &[u8]) -> Result<Line<'_>, &'static str> {
    let line = line.trim_ascii();
    if line.starts_with(b"{") {
        return read_json(line);
    }
    let (said, comment) = match line.iter().position(|byte| matches!(byte, b'#' | b';')) {
        Some(at) => (line.get(..at).unwrap_or_default().trim_ascii_end(), line.get(at + 1..)),
        None => (line, None),
    };
    if said.is_empty() {
        return Ok(Line::Nothing);
    }
    read_prefix(said, comment.map(Cow::Borrowed))
}

/// A line of `drop_v4.json`: a prefix, or what the file says of itself.
fn read_json(line: &[u8]) -> Result<Line<'_>, &'static str> {
    #[derive(Deserialize)]
    struct Record {
        cidr: Option<String>,
        sblid: Option<String>,
        r#type: Option<String>,
    }
    let record: Record =
        serde_json::from_slice(line).map_err(|_error| "not a JSON object as Spamhaus has them")?;
    match (record.cidr, record.r#type.as_deref()) {
        (Some(prefix), _) => {
            let reason = record.sblid.map(|number| Cow::Owned(number.into_bytes()));
            read_prefix(prefix.as_bytes(), reason)
        }
        (None, Some("metadata")) => Ok(Line::Nothing),
        (None, _) => Err("a JSON object without \"cidr\""),
    }
}

fn read_prefix<'line>(said: &[u8], reason: Option<Cow<'line, [u8]>>) -> Result<Line<'line>, &'static str> {
    const WRONG: &str = "not an IPv4 prefix or address";
    let said = std::str::from_utf8(said).map_err(|_error| WRONG)?;
    let (address, length) = match said.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (said, None),
    };
    if address.contains(':') {
        let fits =
            address.parse::<Ipv6Addr>().is_ok() && length.is_none_or(|length| number(length, 128).is_some());
        return if fits { Ok(Line::Ipv6) } else { Err("not an IPv6 prefix or address") };
    }
    let address: Ipv4Addr = address.parse().map_err(|_error| WRONG)?;
    let length = match length {
        Some(length) => number(length, 32).ok_or("the prefix length is not a number from 0 to 32")?,
        None => 32,
    };
    let given = Ipv4Net::new(address, length).map_err(|_error| WRONG)?;
    let prefix = given.trunc();
    Ok(Line::Prefix { prefix, host_bits: prefix != given, reason })
}

/// A number of plain digits, up to a largest.
fn number(digits: &str, largest: u8) -> Option<u8> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number <= largest)
}

/// A comment as text of one line, if it says anything.
fn readable(comment: Cow<'_, [u8]>) -> Option<String> {
    let text = String::from_utf8_lossy(&comment);
    let text: String = text.trim().chars().filter(|character| !character.is_control()).take(REASON).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(text: &str) -> Vec<String> {
        parse(text.as_bytes()).unwrap().prefixes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_netset_of_firehol_is_read() {
        let text = "#\n# firehol_level1\n#\n# Maintainer      : FireHOL\n#\n0.0.0.0/8\n1.10.16.0/20\n2.57.122.1\n224.0.0.0/3\n";
        assert_eq!(prefixes(text), ["0.0.0.0/8", "1.10.16.0/20", "2.57.122.1/32", "224.0.0.0/3"]);
    }

    #[test]
    fn spamhaus_drop_is_read_with_its_numbers() {
        let text = "; Spamhaus DROP List 2024/05/14 - (c) 2024 The Spamhaus Project SLU\r\n; Expires: never\r\n1.10.16.0/20 ; SBL256894\r\n1.19.0.0/16 ; SBL434604\r\n";
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.reasons, [(0, "SBL256894".to_owned()), (1, "SBL434604".to_owned())]);
        assert_eq!(prefixes(text), ["1.10.16.0/20", "1.19.0.0/16"]);
    }

    #[test]
    fn spamhaus_drop_is_read_as_json_lines() {
        let text = concat!(
            "{\"cidr\":\"1.10.16.0/20\",\"sblid\":\"SBL256894\",\"rir\":\"apnic\"}\n",
            "{\"cidr\":\"2a06:e480::/29\",\"sblid\":\"SBL301771\",\"rir\":\"ripencc\"}\n",
            "{\"type\":\"metadata\",\"timestamp\":1715673600,\"size\":78,\"records\":2,\"copyright\":\"(c)\",\"terms\":\"-\"}\n",
        );
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(prefixes(text), ["1.10.16.0/20"]);
        assert_eq!(parsed.reasons, [(0, "SBL256894".to_owned())]);
        assert_eq!(parsed.skipped_ipv6, 1);
    }

    #[test]
    fn comments_blanks_line_ends_and_a_byte_order_mark_do_not_matter() {
        let text = "\u{feff}  192.0.2.1  # one\r\n\r\n\t;nothing\n192.0.2.2#two\n192.0.2.3/32 ;;  \n2001:db8::1\n2001:db8::/32 # six\n198.51.100.4";
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(prefixes(text), ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "198.51.100.4/32"]);
        assert_eq!(parsed.reasons, [(0, "one".to_owned()), (1, "two".to_owned()), (2, ";".to_owned())]);
        assert_eq!(parsed.skipped_ipv6, 2);
        assert_eq!(parse(b"").unwrap(), Parsed::default());
    }

    #[test]
    fn host_bits_are_masked_and_counted() {
        let parsed = parse(b"192.0.2.77/24\n192.0.2.0/24\n").unwrap();
        assert_eq!(parsed.prefixes, vec!["192.0.2.0/24".parse().unwrap(); 2]);
        assert_eq!(parsed.masked, 1);
    }

    #[test]
    fn a_file_that_was_cut_off_is_not_taken_for_a_shorter_prefix() {
        let wrong = parse(b"192.0.2.0/24\n198.51.100.0/2").unwrap_err();
        assert_eq!((wrong.lines.len(), wrong.lines[0].number), (1, 2));
        assert!(wrong.lines[0].message.contains("ends in the middle"));
    }

    #[test]
    fn every_wrong_line_is_named_and_the_file_refused() {
        for line in [
            "192.0.2",
            "192.0.2.256",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/24 24",
            "010.0.0.1",
            "192.0.2.1-192.0.2.9",
            "example.org",
            "2001:db8::/129",
            "2001:db8:::",
            "{\"cidr\":1}",
            "{\"a\":1}",
            "{",
            "192.0.2.0/255.255.255.0",
            "/8",
            "192.0.2.1,",
        ] {
            let wrong = parse(format!("198.51.100.1\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(wrong.lines.len(), 1, "{line}");
            assert_eq!((wrong.lines[0].number, wrong.more), (2, 0), "{line}");
        }
        let many = "x\n".repeat(PROBLEMS_NAMED + 7);
        let wrong = parse(many.as_bytes()).unwrap_err();
        assert_eq!((wrong.lines.len(), wrong.more), (PROBLEMS_NAMED, 7));
    }

    #[test]
    fn what_is_shown_of_a_wrong_line_is_short_and_printable() {
        let wrong = parse(&[&[0x1b, 0xff][..], &[b'a'; 10_000]].concat()).unwrap_err();
        let text = &wrong.lines[0].text;
        assert!(text.starts_with("\\u{1b}\u{fffd}aaa") && text.ends_with("a..."), "{text}");
        assert!(text.len() < 200);
    }
}
