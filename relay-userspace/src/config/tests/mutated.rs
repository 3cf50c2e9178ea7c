//! Whatever the file says: no panic, and either a configuration or a problem with its line.

use super::base::{EGRESS, GUARDED, INGRESS, KeyFile};
use crate::config::{Secrets, Style, examine_bytes};

/// Mutated files a base.
const FILES: usize = 1500;

/// xorshift64*: the same files in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

const VALUES: [&str; 27] = [
    "0",
    "-1",
    "443",
    "65536",
    "99999999999999999999999",
    "1e400",
    "nan",
    "true",
    "\"\"",
    "\"any\"",
    "\"none\"",
    "\"egress\"",
    "\"tcp\"",
    "\"10.0.0.1\"",
    "\"192.168.100.51\"",
    "\"::1\"",
    "[]",
    "[[]]",
    "{}",
    "[\"out-1\", \"out-1\"]",
    "1979-05-27",
    "\"0s\"",
    "\"10.1.2.3/8\"",
    "\"always\"",
    "\"\\u0000\u{202e}\"",
    "'''\n'''",
    "{ name = 1, x.y = [{}] }",
];
const LINES: [&str; 13] = [
    "[",
    "[[services]]",
    "[tunnel]",
    "[[services.backends]]",
    "[services.backends]",
    "[services.limits]",
    "[[block]]",
    "fair = true",
    "x = ",
    "= 1",
    "\"",
    "a.b.c = 1",
    "\u{feff}",
];

fn mutate(text: &str, random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(4) {
        let at = random.below(lines.len());
        match random.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = random.below(lines.len());
                lines.swap(at, other);
            }
            3 => lines.insert(at, LINES[random.below(LINES.len())].to_owned()),
            4 => {
                if let Some((key, _)) = lines[at].split_once('=') {
                    lines[at] = format!("{key}= {}", VALUES[random.below(VALUES.len())]);
                }
            }
            _ => {
                let cut: String = lines[at].chars().take(random.below(20)).collect();
                lines[at] = cut;
            }
        }
    }
    let mut bytes = lines.join("\n").into_bytes();
    if random.below(3) == 0 {
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
    }
    if random.below(20) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

#[test]
fn no_file_makes_it_panic_or_fall_silent() {
    let keys = KeyFile::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut valid, mut refused) = (0, 0);
    for base in [INGRESS, EGRESS, GUARDED] {
        let base = keys.put_into(base);
        for _ in 0..FILES {
            let bytes = mutate(&base, &mut random);
            let last = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let report = examine_bytes("f".to_owned(), bytes, Secrets::Required);
            let _ = (report.text(Style::Plain), report.json(), report.summary());
            assert_eq!(report.is_ok(), report.config().is_some(), "neither valid nor refused:\n{shown}");
            assert!(report.lines().all(|line| (1..=last).contains(&line)), "no such line:\n{shown}");
            if report.is_ok() { valid += 1 } else { refused += 1 }
        }
    }
    assert!(valid > FILES / 50 && refused > FILES, "one-sided: {valid} valid, {refused} refused");
}

#[test]
fn every_short_prefix_is_judged() {
    for base in [INGRESS, EGRESS, GUARDED] {
        for end in 0..base.len() {
            let report = examine_bytes("f".to_owned(), base[..end].into(), Secrets::Required);
            assert!(!report.is_ok(), "{}", &base[..end]);
            let _ = report.text(Style::Coloured);
        }
    }
}
