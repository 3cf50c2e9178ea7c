//! What is wrong with one key or value by itself: syntax, unknown keys, types, ranges, words.

use super::base::{Case, EGRESS, INGRESS, check, wrong};

#[test]
fn syntax() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[("node = \"in-1\"", "node = in-1")],
            problems: &[wrong("node = |in-1", "", &["write strings in quotes"])],
        },
        // Every broken line is reported, and so are wrong values elsewhere; absent keys may be mere echoes.
        Case {
            base: INGRESS,
            edits: &[
                ("node = \"in-1\"", "node in-1"),
                ("[tunnel]", "[tunnel"),
                ("port = 8443", "port = 84430"),
                ("protocol = \"tcp\"", "protocol \"tcp\""),
            ],
            problems: &[
                wrong("node |in-1", "", &["expected"]),
                wrong("[tunnel|\n", "", &["expected"]),
                wrong("protocol |\"tcp\"", "", &["expected"]),
                wrong("port = |84430", "services[0].backends[0].port", &["out of range"]),
            ],
        },
        Case {
            base: INGRESS,
            edits: &[("node = \"in-1\"", "node = \"in-1\"\nnode = \"in-2\"")],
            problems: &[wrong("|node = \"in-2\"", "", &["duplicate key"])],
        },
        Case {
            base: EGRESS,
            edits: &[("local = \"10.0.0.11\"", "local = \"10.0.0.11\"\n[interfaces]")],
            problems: &[wrong("\"\n[|interfaces]\n[[", "", &["duplicate key"])],
        },
    ]);
}

#[test]
fn unknown_keys_are_all_reported() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                ("node = \"in-1\"", "node = \"in-1\"\nnods = \"x\"\nttl = 3"),
                ("local = \"10.0.0.1\"", "local = \"10.0.0.1\"\nchecksum = true"),
                ("port = 8443", "port = 8443\nwieght = 1"),
                ("translate = \"none\"", "translate = \"none\"\n[shaping]\nspeed = 1"),
            ],
            problems: &[
                wrong("|nods", "nods", &["unknown key", "did you mean `node`?"]),
                wrong("|ttl", "ttl", &["unknown key", "`ttl` is a key of `[tunnel]`"]),
                wrong("|checksum", "tunnel.checksum", &["unknown key", "local, mtu, ttl, dscp"]),
                wrong("|wieght", "services[0].backends[0].wieght", &["did you mean `weight`?"]),
                wrong("[|shaping]", "shaping", &["unknown key", "icmp, neighbours"]),
            ],
        },
        Case {
            base: EGRESS,
            edits: &[("[[peers]]", "[[peer]]")],
            problems: &[
                wrong("|role", "peers", &["`[[peers]]` is missing", "1 to 64 tables"]),
                wrong("[[|peer]]", "peer", &["unknown key", "did you mean `peers`?"]),
            ],
        },
    ]);
}

#[test]
fn keys_of_the_other_role() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                ("public = \"eth0\"", "public = \"eth0\"\nservice = \"eth2\""),
                ("[tunnel]", "[flows]\nentries = 4096\n[tunnel]"),
            ],
            problems: &[
                wrong("|service = ", "interfaces.service", &["only an egress relay has this key"]),
                wrong("[|flows]", "flows", &["only an egress relay has this key", "correct `role`"]),
            ],
        },
        Case {
            base: EGRESS,
            edits: &[
                ("service = \"eth1\"", "public = \"eth1\""),
                ("port = 8443", "port = 8443\npeers = [\"in-1\"]"),
            ],
            problems: &[
                wrong("|[interfaces]", "interfaces.service", &["`service` is missing"]),
                wrong("|public = ", "interfaces.public", &["only an ingress relay has this key"]),
                wrong("|peers = ", "services[0].backends[0].peers", &["only an ingress relay has this key"]),
            ],
        },
        // With an unknown role nothing is refused for it.
        Case {
            base: EGRESS,
            edits: &[("role = \"egress\"", "role = \"egres\"")],
            problems: &[wrong("role = |\"egres\"", "role", &["unknown value", "\"ingress\" or \"egress\""])],
        },
    ]);
}

#[test]
fn types() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                ("node = \"in-1\"", "node = 1"),
                ("local = \"10.0.0.1\"", "local = \"10.0.0.1\"\nttl = \"64\"\ndscp = 1.5"),
                ("vips = [\"203.0.113.10\"]", "vips = \"203.0.113.10\""),
                ("port = 443\n", "port = \"443\"\n"),
                ("port = 8443", "port = true"),
                ("peers = [\"out-2\"]", "peers = [\"out-2\", 2]"),
                (
                    "translate = \"none\"",
                    "translate = [\"none\"]\n[neighbours]\nprobe_interval = 2\n[icmp]\nrate = 1979-05-27",
                ),
            ],
            problems: &[
                wrong("node = |1", "node", &["expected a string, found an integer"]),
                wrong(
                    "ttl = |\"64\"",
                    "tunnel.ttl",
                    &["expected an integer, found a string", "remove the quotes"],
                ),
                wrong(
                    "dscp = |1.5",
                    "tunnel.dscp",
                    &["expected an integer, found a float", "integer 0..=63"],
                ),
                wrong(
                    "vips = |\"203.0.113.10\"",
                    "services[0].vips",
                    &["expected an array", "write `[\"203.0.113.10\"]`"],
                ),
                wrong("port = |\"443\"", "services[0].port", &["found a string", "remove the quotes"]),
                wrong("port = |true", "services[0].backends[0].port", &["found a boolean"]),
                wrong("[\"out-2\", |2]", "services[0].backends[1].peers[1]", &["found an integer"]),
                wrong("translate = |[\"none\"]", "services[1].translate", &["found an array"]),
                wrong(
                    "probe_interval = |2",
                    "neighbours.probe_interval",
                    &["write the unit: \"2s\" or \"2ms\""],
                ),
                wrong("rate = |1979", "icmp.rate", &["found a date or time"]),
            ],
        },
        Case {
            base: EGRESS,
            edits: &[("[tunnel]\nlocal = \"10.0.0.11\"", "[[tunnel]]\nlocal = \"10.0.0.11\"")],
            problems: &[wrong(
                "|[[tunnel]]",
                "tunnel",
                &["expected a table, found an array", "write `[tunnel]`"],
            )],
        },
        Case {
            base: EGRESS,
            edits: &[("[[peers]]", "[peers]")],
            problems: &[wrong("|[peers]", "peers", &["expected a table", "write `[[peers]]`"])],
        },
        Case {
            base: EGRESS,
            edits: &[
                ("[[peers]]\nname = \"in-1\"\naddress = \"10.0.0.1\"\n", ""),
                ("node =", "peers = [1]\nnode ="),
            ],
            problems: &[wrong("peers = [|1]", "peers[0]", &["expected a table, found an integer"])],
        },
        Case {
            base: EGRESS,
            edits: &[
                ("[[peers]]\nname = \"in-1\"\naddress = \"10.0.0.1\"\n", ""),
                ("node =", "peers = []\nnode ="),
            ],
            problems: &[wrong("peers = |[]", "peers", &["0 elements are too few", "1 to 64 tables"])],
        },
    ]);
}

#[test]
fn ranges() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                ("local = \"10.0.0.1\"", "local = \"10.0.0.1\"\nttl = 0\ndscp = 64\nmtu = 575"),
                ("port = 443\n", "port = 0\n"),
                ("port = 8443", "port = 65536\nweight = 1001"),
                ("peers = [\"out-2\"]", "peers = []"),
                (
                    "translate = \"none\"",
                    "translate = \"none\"\n[icmp]\nrate = 99999999999999999999\nprefix_rate = -1\n\
                     [neighbours]\nprobe_interval = \"199ms\"",
                ),
            ],
            problems: &[
                wrong("ttl = |0", "tunnel.ttl", &["out of range", "integer 1..=255"]),
                wrong("dscp = |64", "tunnel.dscp", &["out of range", "integer 0..=63"]),
                wrong("mtu = |575", "tunnel.mtu", &["out of range", "integer 576..=65535"]),
                wrong("port = |0", "services[0].port", &["out of range", "1..=65535 or \"any\""]),
                wrong("port = |65536", "services[0].backends[0].port", &["out of range"]),
                wrong("weight = |1001", "services[0].backends[0].weight", &["out of range", "1..=1000"]),
                wrong(
                    "peers = |[]",
                    "services[0].backends[1].peers",
                    &["0 elements are too few", "array of 1 to 16"],
                ),
                wrong("rate = |99999999999999999999", "icmp.rate", &["out of range", "1..=1000000"]),
                wrong("prefix_rate = |-1", "icmp.prefix_rate", &["out of range"]),
                wrong("|\"199ms\"", "neighbours.probe_interval", &["out of range", "\"200ms\" to \"1m\""]),
            ],
        },
        Case {
            base: EGRESS,
            edits: &[("[tunnel]", "[flows]\nentries = 1023\nidle_timeout = \"soon\"\n[tunnel]")],
            problems: &[
                wrong("entries = |1023", "flows.entries", &["out of range", "1024..=67108864"]),
                wrong(
                    "|\"soon\"",
                    "flows.idle_timeout",
                    &["not a duration", "such as \"30s\"", "\"10s\" to \"4h\""],
                ),
            ],
        },
    ]);
}

#[test]
fn words_names_and_paths() {
    check(&[Case {
        base: INGRESS,
        edits: &[
            ("node = \"in-1\"", "node = \"In_1\"\npin_directory = \"run\"\nstate_directory = \"/a\\u0000\""),
            ("public = \"eth0\"", "public = \"eth0/1\""),
            ("tunnel = \"eth1\"", "tunnel = \"sixteenletters16\""),
            ("mode = \"driver\"", "mode = \"drivers\""),
            ("protocol = \"tcp\"", "protocol = \"TCP\""),
            ("name = \"web-1\"", "name = \"\""),
            ("port = 8443", "port = \"all\""),
            ("name = \"dns\"", "name = \"d s\""),
            ("translate = \"none\"", "translate = \"egress\""),
        ],
        problems: &[
            wrong("|\"In_1\"", "node", &["'I' cannot be part of this name", "a-z, 0-9 and -"]),
            wrong("|\"run\"", "pin_directory", &["not an absolute path", "start it with `/`"]),
            wrong("|\"/a\\u0000\"", "state_directory", &["control character"]),
            wrong("|\"eth0/1\"", "interfaces.public", &["'/' cannot be part"]),
            wrong("|\"sixteenletters16\"", "interfaces.tunnel", &["16 characters are too many", "1 to 15"]),
            wrong(
                "|\"drivers\"",
                "interfaces.mode",
                &["did you mean `driver`?", "\"driver\" or \"generic\""],
            ),
            wrong("|\"TCP\"", "services[0].protocol", &["did you mean `tcp`?"]),
            wrong("name = |\"\"", "services[0].backends[0].name", &["the name is empty"]),
            wrong("port = |\"all\"", "services[0].backends[0].port", &["unknown value", "or \"any\""]),
            wrong("|\"d s\"", "services[1].name", &["' ' cannot be part"]),
            wrong("|\"egress\"", "services[1].translate", &["not available yet", "\"ingress\" or \"none\""]),
        ],
    }]);
}

#[test]
fn addresses() {
    check(&[Case {
        base: INGRESS,
        edits: &[
            ("local = \"10.0.0.1\"", "local = \"10.0.0.1/24\""),
            ("\"10.0.0.11\"", "\"fe80::1\""),
            ("\"10.0.0.12\"", "\"0.1.2.3\""),
            ("\"203.0.113.10\"", "\"224.0.0.1\""),
            ("\"192.168.100.51\"", "\"127.0.0.1\""),
            ("\"192.168.100.52\"", "\"169.254.1.1\""),
            ("\"203.0.113.53\"", "\"203.0.113.53\", \"255.255.255.255\", \"web.example\""),
        ],
        problems: &[
            wrong(
                "|\"10.0.0.1/24\"",
                "tunnel.local",
                &["not an IPv4 address", "write the address alone: \"10.0.0.1\""],
            ),
            wrong("|\"fe80::1\"", "peers[0].address", &["not an IPv4 address", "IPv4 only"]),
            wrong("|\"0.1.2.3\"", "peers[1].address", &["0.0.0.0/8"]),
            wrong("|\"224.0.0.1\"", "services[0].vips[0]", &["multicast"]),
            wrong("|\"127.0.0.1\"", "services[0].backends[0].address", &["loopback"]),
            wrong("|\"169.254.1.1\"", "services[0].backends[1].address", &["link-local"]),
            wrong("|\"255.255.255.255\"", "services[1].vips[1]", &["reserved"]),
            wrong("|\"web.example\"", "services[1].vips[2]", &["not an IPv4 address"]),
        ],
    }]);
}
