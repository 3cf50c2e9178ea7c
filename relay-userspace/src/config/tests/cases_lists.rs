//! What is wrong with lists of prefixes, and with what is kept of clients.

use super::base::{Case, EGRESS, GUARDED, check, wrong};

#[test]
fn prefixes() {
    let prefix = "prefix = \"198.51.100.0/24\"";
    for (written, says) in [
        ("\"198.51.100.7/24\"", &["bits are set behind", "did you mean \"198.51.100.0/24\"?"][..]),
        ("\"2001:db8::/32\"", &["an IPv6 prefix cannot be listed", "IPv4 only"]),
        ("\"2001:db8::1\"", &["an IPv6 prefix cannot be listed", "IPv4 only"]),
        ("\"198.51.100.0/33\"", &["not an IPv4 prefix", "0 to 32"]),
        ("\"198.51.100.0/255.255.255.0\"", &["not an IPv4 prefix", "did you mean \"198.51.100.0/24\"?"]),
        ("\"198.51.100\"", &["not an IPv4 prefix", "such as \"192.0.2.0/24\", or address"]),
        ("\"\"", &["not an IPv4 prefix"]),
        ("24", &["expected a string, found an integer"]),
    ] {
        let (edit, at) = (format!("prefix = {written} "), format!("prefix = |{written} "));
        check(&[Case {
            base: GUARDED,
            edits: &[(prefix, &edit)],
            problems: &[wrong(&at, "block[0].prefix", says)],
        }]);
    }
}

#[test]
fn reasons_and_times() {
    let long = "x".repeat(201);
    let reason = format!("prefix = \"192.0.2.7\"\nreason = \"{long}\"\nexpires = \"2035-01-31\"");
    let at = format!("reason = |\"{long}\"");
    check(&[
        Case {
            base: GUARDED,
            edits: &[
                ("\"scans since May\"", "\"a\\nb\""),
                ("\"2035-01-31T12:00:00Z\"", "\"2035-01-31T12:00:00+02:00\""),
                ("prefix = \"192.0.2.7\"", &reason),
            ],
            problems: &[
                wrong(
                    "reason = |\"a\\nb\"",
                    "block[0].reason",
                    &["control character", "1 to 200 characters"],
                ),
                wrong(
                    "|\"2035-01-31T12:00:00+02:00\"",
                    "block[0].expires",
                    &["not a time in UTC", "with a Z"],
                ),
                wrong(&at, "allow[0].reason", &["201 characters are too many"]),
                wrong("|\"2035-01-31\"", "allow[0].expires", &["not a time in UTC", "RFC 3339"]),
            ],
        },
        Case {
            base: GUARDED,
            edits: &[("\"scans since May\"", "\" \""), ("\"2035-01-31T12:00:00Z\"", "2035-01-31")],
            problems: &[
                wrong("reason = |\" \"", "block[0].reason", &["the text is empty", "remove the key"]),
                wrong("expires = |2035-01-31", "block[0].expires", &["not a time in UTC"]),
            ],
        },
    ]);
}

#[test]
fn things_listed_twice_and_misspelt() {
    check(&[
        Case {
            base: GUARDED,
            edits: &[("prefix = \"192.0.2.7\"", "prefix = \"198.51.100.0/24\" "), ("b.netset", "a.netset")],
            problems: &[
                wrong("|\"198.51.100.0/24\" ", "allow[0].prefix", &["listed already", "listed once"]),
                wrong("\", |\"/etc/xdp-relay/a.netset\"", "lists.block_files[1]", &["in the list twice"]),
            ],
        },
        Case {
            base: GUARDED,
            edits: &[
                ("[[allow]]\nprefix = ", "[[allow]]\nprefx = "),
                ("\"/etc/xdp-relay/a.netset\"", "\"a.netset\""),
            ],
            problems: &[
                wrong("|[[allow]]", "allow[0].prefix", &["`prefix` is missing"]),
                wrong("|prefx", "allow[0].prefx", &["did you mean `prefix`?"]),
                wrong("|\"a.netset\"", "lists.block_files[0]", &["not an absolute path"]),
            ],
        },
    ]);
}

#[test]
fn clients_and_events() {
    check(&[
        Case {
            base: GUARDED,
            edits: &[
                ("entries = 2048", "entries = 1023"),
                ("prefix_length = 20", "prefix_length = 33"),
                ("challenge_rate = 5000", "challenge_rate = 0"),
                ("[events]\nrate = 0", "[events]\nrate = -1"),
            ],
            problems: &[
                wrong("|1023", "clients.entries", &["out of range", "1024..=16777216"]),
                wrong("|33", "clients.prefix_length", &["out of range", "8..=32"]),
                wrong("challenge_rate = |0", "clients.challenge_rate", &["out of range", "1..=5000000"]),
                wrong("rate = |-1", "events.rate", &["out of range", "0..=100000"]),
            ],
        },
        Case {
            base: EGRESS,
            edits: &[(
                "local = \"10.0.0.11\"",
                "local = \"10.0.0.11\"\n[events]\nrate = 5\n[limits]\nclient_packets = 1\n[clients]\nentries = 1024\n\
                 [[block]]\nprefix = \"192.0.2.0/24\"",
            )],
            problems: &[
                wrong("[|limits]", "limits", &["only an ingress relay has this key"]),
                wrong("[|clients]", "clients", &["only an ingress relay has this key"]),
                wrong("[[|block]]", "block", &["only an ingress relay has this key"]),
            ],
        },
    ]);
}
