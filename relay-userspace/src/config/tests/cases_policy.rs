//! What is wrong with limits, filters and proofs: by themselves, and where keys of a service do not go with what it inherits.

use super::base::{Case, GUARDED, INGRESS, check, wrong};

#[test]
fn values() {
    check(&[Case {
        base: GUARDED,
        edits: &[
            (
                "client_packets = 1000",
                "client_packets = 16_000_001\nclient_bytes = 999\nprefix_bytes = \"1M\"",
            ),
            ("total_bytes = 1_000_000", "total_bytes = -1"),
            ("over = \"mark_down\"", "over = \"markdown\""),
            ("burst = \"1s\"", "burst = \"10ms\""),
            ("ban_after = \"10s\"", "ban_after = \"500ms\"\nban_unproven_for = \"2m\""),
            ("fair = true", "fair = \"true\""),
            ("capacity_bytes = 5000", "capacity_bytes = 0"),
            ("tcp_flags = \"shadow\"", "tcp_flags = \"enforced\""),
            ("syn = \"always\"", "syn = \"on\""),
            ("above = 500", "above = 0"),
            ("answers_verify = true", "answers_verify = 1"),
        ],
        problems: &[
            wrong("|16_000_001", "limits.client_packets", &["out of range", "or 0 for no limit"]),
            wrong("|999", "limits.client_bytes", &["out of range", "1000..=125000000000, or 0"]),
            wrong("|\"1M\"", "limits.prefix_bytes", &["expected an integer, found a string"]),
            wrong("total_bytes = |-1", "limits.total_bytes", &["out of range"]),
            wrong("|\"markdown\"", "limits.over", &["did you mean `mark_down`?"]),
            wrong("|\"10ms\"", "limits.burst", &["out of range", "\"20ms\" to \"10s\""]),
            wrong("|\"500ms\"", "limits.ban_after", &["out of range", "or \"0s\" for never"]),
            wrong("|\"2m\"\nban_for", "limits.ban_unproven_for", &["out of range", "\"1m\", or \"0s\""]),
            wrong("|\"enforced\"", "filters.tcp_flags", &["did you mean `enforce`?"]),
            wrong("above = |0", "proof.above", &["out of range"]),
            wrong("fair = |\"true\"", "services[0].limits.fair", &["remove the quotes"]),
            wrong("capacity_bytes = |0", "services[0].limits.capacity_bytes", &["out of range"]),
            wrong("|\"on\"", "services[0].proof.syn", &["\"off\" or \"above\" or \"always\""]),
            wrong("answers_verify = |1", "services[1].answers_verify", &["expected a boolean"]),
        ],
    }]);
}

#[test]
fn unknown_and_misplaced_keys() {
    check(&[Case {
        base: GUARDED,
        edits: &[
            ("client_packets = 1000", "client_packets = 1000\nclient_packet = 5\nsyn = \"off\""),
            ("prefix_connections = 7", "prefix_conections = 7"),
            ("answers_verify = true", "answers_verify = true\nclient_bytes = 1000"),
        ],
        problems: &[
            wrong("|client_packet = ", "limits.client_packet", &["did you mean `client_packets`?"]),
            wrong("|syn = \"off\"", "limits.syn", &["`syn` is a key of `[services.proof]`"]),
            wrong("|prefix_conections", "services[0].limits.prefix_conections", &["did you mean"]),
            wrong("|client_bytes", "services[1].client_bytes", &["`client_bytes` is a key of"]),
        ],
    }]);
}

#[test]
fn what_a_protocol_does_not_have() {
    check(&[Case {
        base: GUARDED,
        edits: &[
            (
                "[services.limits]\nban_after",
                "[services.proof]\nsyn = \"off\" # udp\n[services.limits]\nban_after",
            ),
            ("name = \"mail\"", "name = \"mail\"\nanswers_verify = false"),
        ],
        problems: &[
            wrong(
                "|[services.proof]\nsyn = \"off\" #",
                "services[1].proof",
                &["no place here", "only TCP has SYNs"],
            ),
            wrong(
                "answers_verify = |false",
                "services[2].answers_verify",
                &["no place here", "a connection proves"],
            ),
        ],
    }]);
}

#[test]
fn marking_down_needs_room_somewhere() {
    // In `[limits]`: said once, though three services inherit it.
    check(&[
        Case {
            base: GUARDED,
            edits: &[("total_bytes = 1_000_000\n", "")],
            problems: &[wrong(
                "over = |\"mark_down\"",
                "limits.over",
                &["without any `total_` limit", "needs a"],
            )],
        },
        // In a service that lifts the total.
        Case {
            base: GUARDED,
            edits: &[("prefix_connections = 7", "total_bytes = 0")],
            problems: &[wrong(
                "total_bytes = |0",
                "services[0].limits.total_bytes",
                &["without any `total_` limit"],
            )],
        },
        // A wrong total may be the one that is needed.
        Case {
            base: GUARDED,
            edits: &[("total_bytes = 1_000_000", "total_bytes = 1")],
            problems: &[wrong("total_bytes = |1", "limits.total_bytes", &["out of range"])],
        },
    ]);
}

#[test]
fn fair_shares_and_capacities_come_together() {
    let with = |edit: &str| format!("prefix_connections = 7\n{edit}");
    check(&[
        Case {
            base: GUARDED,
            edits: &[("capacity_bytes = 5000\n", "")],
            problems: &[wrong(
                "fair = |true",
                "services[0].limits.fair",
                &["without a capacity", "exactly one"],
            )],
        },
        Case {
            base: GUARDED,
            edits: &[("prefix_connections = 7", &with("capacity_packets = 6"))],
            problems: &[wrong("|5000\n[services", "services[0].limits.capacity_bytes", &["two capacities"])],
        },
        Case {
            base: GUARDED,
            edits: &[("fair = true\n", "")],
            problems: &[wrong(
                "|5000\n[services",
                "services[0].limits.capacity_bytes",
                &["without `fair = true`"],
            )],
        },
        Case {
            base: GUARDED,
            edits: &[("burst = \"1s\"", "burst = \"1s\"\ncapacity_packets = 3")],
            problems: &[wrong(
                "capacity_packets = |3",
                "limits.capacity_packets",
                &["without `fair = true`"],
            )],
        },
    ]);
}

#[test]
fn bans_need_a_limit_and_a_time() {
    check(&[
        Case {
            base: GUARDED,
            edits: &[
                ("ban_after = \"10s\"\n", ""),
                ("ban_for = \"2m\"", "ban_for = \"2m\"\nban_max = \"3m\""),
            ],
            problems: &[
                wrong("ban_for = |\"2m\"", "limits.ban_for", &["without `ban_after`"]),
                wrong("ban_max = |\"3m\"", "limits.ban_max", &["without `ban_after`"]),
            ],
        },
        Case {
            base: GUARDED,
            edits: &[("prefix_connections = 7", "ban_max = \"1m\"")],
            problems: &[wrong(
                "|\"1m\"",
                "services[0].limits.ban_max",
                &["`ban_max` is less than `ban_for`", "at least"],
            )],
        },
        // The service lifts the only limit that a client could be over.
        Case {
            base: GUARDED,
            edits: &[("prefix_connections = 7\nfair = true\ncapacity_bytes = 5000\n", "")],
            problems: &[wrong(
                "client_packets = |0",
                "services[0].limits.client_packets",
                &["without any limit"],
            )],
        },
        Case {
            base: INGRESS,
            edits: &[("[tunnel]", "[limits]\nban_after = \"1m\"\n[tunnel]")],
            problems: &[wrong("|\"1m\"", "limits.ban_after", &["without any limit to be over"])],
        },
    ]);
}

#[test]
fn thresholds_of_proofs() {
    check(&[
        Case {
            base: GUARDED,
            edits: &[("above = 500\n", "")],
            problems: &[wrong("syn = |\"above\"", "proof.syn", &["without `above`"])],
        },
        Case {
            base: GUARDED,
            edits: &[("syn = \"always\"", "syn = \"always\"\nabove = 9")],
            problems: &[wrong("above = |9", "services[0].proof.above", &["without `syn = \"above\"`"])],
        },
        Case {
            base: INGRESS,
            edits: &[("[tunnel]", "[proof]\nabove = 9\n[tunnel]")],
            problems: &[wrong("above = |9", "proof.above", &["without `syn = \"above\"`"])],
        },
    ]);
}

#[test]
fn what_is_no_table() {
    check(&[Case {
        base: GUARDED,
        edits: &[
            ("[services.proof]\nsyn = \"always\"\n", ""),
            ("answers_verify = true", "limits = 3"),
            ("[services.limits]\nban_after = \"0s\"\n", ""),
        ],
        problems: &[wrong(
            "limits = |3",
            "services[1].limits",
            &["expected a table", "write `[services.limits]`"],
        )],
    }]);
}
