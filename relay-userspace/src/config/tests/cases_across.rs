//! What is wrong between keys: absent and misplaced ones, things said twice, names of nothing, the secret.

use super::base::{Case, EGRESS, INGRESS, KeyFile, check, report, wrong};

#[test]
fn absent_keys() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                ("node = \"in-1\"\n", ""),
                ("hash_key_file = \"KEY\"\n", ""),
                ("mode = \"driver\"\n", ""),
                ("[tunnel]\nlocal = \"10.0.0.1\"\n", ""),
                ("address = \"10.0.0.12\"\n", ""),
                ("vips = [\"203.0.113.10\"]\n", ""),
                ("protocol = \"udp\"\nport = 53\n", ""),
            ],
            problems: &[
                wrong("|role", "node", &["`node` is missing"]),
                wrong("|role", "tunnel", &["`[tunnel]` is missing"]),
                wrong("|role", "hash_key_file", &["`hash_key_file` is missing", "keyed hash"]),
                wrong("|[interfaces]", "interfaces.mode", &["`mode` is missing"]),
                wrong("|[[peers]]\nname = \"out-2\"", "peers[1].address", &["`address` is missing"]),
                wrong("|[[services]]\nname = \"web\"", "services[0].vips", &["`vips` is missing"]),
                wrong("|[[services]]\nname = \"dns\"", "services[1].protocol", &["`protocol` is missing"]),
                wrong("|[[services]]\nname = \"dns\"", "services[1].port", &["`port` is missing"]),
            ],
        },
        Case {
            base: INGRESS,
            edits: &[("role = \"ingress\"\n", "")],
            problems: &[wrong("|node", "role", &["`role` is missing", "\"ingress\" or \"egress\""])],
        },
    ]);
}

#[test]
fn keys_that_depend_on_translation() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                (
                    "vips = [\"203.0.113.10\"]",
                    "vips = [\"203.0.113.10\", \"203.0.113.11\"]\npeers = [\"out-1\"]",
                ),
                (
                    "translate = \"none\"",
                    "translate = \"none\"\n[[services.backends]]\nname = \"d\"\naddress = \"192.168.100.60\"",
                ),
            ],
            problems: &[
                wrong("vips = |[\"203.0.113.10\",", "services[0].vips", &["2 VIPs", "exactly one VIP"]),
                wrong("peers = |[\"out-1\"]", "services[0].peers", &["no place here", "each backend names"]),
                wrong(
                    "|[[services.backends]]\nname = \"d\"",
                    "services[1].backends",
                    &["must not know the backends"],
                ),
            ],
        },
        Case {
            base: INGRESS,
            edits: &[("port = 443\n", "port = \"any\"\n"), ("port = 53\n", "port = \"any\"\n")],
            problems: &[wrong("port = |8443", "services[0].backends[0].port", &["keep their port"])],
        },
        Case {
            base: INGRESS,
            edits: &[("port = 8443", "port = \"any\"")],
            problems: &[wrong(
                "port = |\"any\"",
                "services[0].backends[0].port",
                &["the service has one port", "1..=65535"],
            )],
        },
        Case {
            base: INGRESS,
            edits: &[(
                "[[services.backends]]\nname = \"web-1\"\naddress = \"192.168.100.51\"\nport = 8443\n\
                 [[services.backends]]\nname = \"web-2\"\naddress = \"192.168.100.52\"\npeers = [\"out-2\"]\n",
                "",
            )],
            problems: &[wrong(
                "|[[services]]\nname = \"web\"",
                "services[0].backends",
                &["`[[services.backends]]` is missing"],
            )],
        },
        Case {
            base: EGRESS,
            edits: &[
                ("protocol = \"tcp\"", "protocol = \"tcp\"\nport = 443\nvips = [\"203.0.113.10\"]"),
                ("port = 8443", "weight = 2"),
                ("address = \"192.168.100.61\"", "address = \"192.168.100.61\"\nport = 5353"),
                ("vips = [\"203.0.113.53\"]\n", ""),
            ],
            problems: &[
                wrong("port = |443", "services[0].port", &["no place here", "backends' addresses only"]),
                wrong("vips = |[\"203.0.113.10\"]", "services[0].vips", &["no place here"]),
                wrong(
                    "|[[services.backends]]\nname = \"web-1\"",
                    "services[0].backends[0].port",
                    &["`port` is missing"],
                ),
                wrong(
                    "weight = |2",
                    "services[0].backends[0].weight",
                    &["no place here", "ingress relays pick"],
                ),
                wrong("|[[services]]\nname = \"dns\"", "services[1].vips", &["`vips` is missing"]),
                wrong("port = |5353", "services[1].backends[0].port", &["keep their port"]),
            ],
        },
    ]);
}

#[test]
fn things_said_twice() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                (
                    "name = \"out-2\"\naddress = \"10.0.0.12\"",
                    "name = \"out-1\"\naddress = \"10.0.0.11\" # again",
                ),
                ("name = \"web-2\"", "name = \"web-1\" # again"),
                ("peers = [\"out-2\"]", "peers = [\"out-1\", \"out-1\"]"),
                ("name = \"dns\"", "name = \"web\" # again"),
                ("vips = [\"203.0.113.53\"]", "vips = [\"203.0.113.53\", \"203.0.113.53\"]"),
            ],
            problems: &[
                wrong(
                    "|\"out-1\"\naddress = \"10.0.0.11\" #",
                    "peers[1].name",
                    &["another peer has this name"],
                ),
                wrong("|\"10.0.0.11\" #", "peers[1].address", &["already a peer", "one use"]),
                wrong("|\"web-1\" #", "services[0].backends[1].name", &["another backend of the service"]),
                wrong("\"out-1\", |\"out-1\"", "services[0].backends[1].peers[1]", &["in the list twice"]),
                wrong("|\"web\" #", "services[1].name", &["another service has this name"]),
                wrong("\", |\"203.0.113.53\"", "services[1].vips[1]", &["in the list twice"]),
            ],
        },
        Case {
            base: INGRESS,
            edits: &[
                ("\"203.0.113.53\"", "\"203.0.113.10\" "),
                ("protocol = \"udp\"", "protocol = \"tcp\" "),
                ("port = 53\n", "port = 443 \n"),
            ],
            problems: &[wrong("|\"203.0.113.10\" ", "services[1].vips[0]", &["same protocol and port"])],
        },
        Case {
            base: EGRESS,
            edits: &[(
                "address = \"192.168.100.61\"",
                "address = \"192.168.100.61\"\n[[services.backends]]\nname = \"dns-2\"\naddress = \"192.168.100.61\" ",
            )],
            problems: &[wrong(
                "|\"192.168.100.61\" ",
                "services[1].backends[1].address",
                &["has this address"],
            )],
        },
    ]);
}

/// Two services of an ingress relay which translates both.
fn two_services(first: (&str, &str), second: (&str, &str)) -> usize {
    let keys = KeyFile::new();
    let service = |name: &str, vip: &str, (protocol, port): (&str, &str)| {
        format!(
            "[[services]]\nname = {name:?}\nvips = [{vip:?}]\nprotocol = {protocol:?}\nport = {port}\n\
             [[services.backends]]\nname = \"a\"\naddress = \"192.168.100.51\"\n"
        )
    };
    let head = INGRESS.split("[[services]]").next().unwrap();
    let text = format!("{head}{}{}", service("a", "203.0.113.1", first), service("b", "203.0.113.2", second));
    let report = report(&keys.put_into(&text));
    let json = report.json();
    let problems = json["problems"].as_array().unwrap();
    for problem in problems {
        assert_eq!(problem["message"], "another backend has this address and port");
    }
    problems.len()
}

#[test]
fn replies_must_belong_to_one_service() {
    assert_eq!(two_services(("tcp", "443"), ("tcp", "443")), 1);
    assert_eq!(two_services(("tcp", "443"), ("tcp", "\"any\"")), 1);
    assert_eq!(two_services(("tcp", "\"any\""), ("tcp", "443")), 1);
    assert_eq!(two_services(("tcp", "\"any\""), ("tcp", "\"any\"")), 1);
    assert_eq!(two_services(("tcp", "443"), ("udp", "443")), 0);
    assert_eq!(two_services(("tcp", "443"), ("tcp", "80")), 0);
    assert_eq!(two_services(("tcp", "\"any\""), ("udp", "\"any\"")), 0);
}

#[test]
fn one_use_of_an_address() {
    check(&[Case {
        base: INGRESS,
        edits: &[
            ("\"10.0.0.11\"", "\"10.0.0.1\" "),
            ("\"203.0.113.10\"", "\"10.0.0.1\"  "),
            ("\"192.168.100.51\"", "\"10.0.0.12\" "),
            ("\"203.0.113.53\"", "\"192.168.100.52\" "),
        ],
        problems: &[
            wrong("|\"10.0.0.1\" \n", "peers[0].address", &["already `tunnel.local`"]),
            wrong("|\"10.0.0.1\"  ", "services[0].vips[0]", &["already `tunnel.local`"]),
            wrong("|\"10.0.0.12\" ", "services[0].backends[0].address", &["already a peer"]),
            wrong("|\"192.168.100.52\" ", "services[1].vips[0]", &["already a backend"]),
        ],
    }]);
}

#[test]
fn peers_that_do_not_exist() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[
                ("peers = [\"out-2\"]", "peers = [\"out2\", \"elsewhere\"]"),
                ("translate = \"none\"", "translate = \"none\"\npeers = [\"out-1\", \"out-3\"]"),
            ],
            problems: &[
                wrong(
                    "|\"out2\"",
                    "services[0].backends[1].peers[0]",
                    &["no such peer", "did you mean `out-2`?"],
                ),
                wrong(
                    "|\"elsewhere\"",
                    "services[0].backends[1].peers[1]",
                    &["no such peer", "out-1, out-2"],
                ),
                wrong("|\"out-3\"", "services[1].peers[1]", &["no such peer", "did you mean"]),
            ],
        },
        // A name that was refused is not called unknown as well.
        Case {
            base: INGRESS,
            edits: &[("name = \"out-2\"", "name = \"out 2\"")],
            problems: &[wrong("|\"out 2\"", "peers[1].name", &["' ' cannot be part"])],
        },
    ]);
}

#[test]
fn icmp_rates() {
    check(&[
        Case {
            base: INGRESS,
            edits: &[("translate = \"none\"", "translate = \"none\"\n[icmp]\nrate = 10")],
            problems: &[wrong("rate = |10", "icmp.rate", &["`prefix_rate` 50 is more than `rate` 10"])],
        },
        Case {
            base: INGRESS,
            edits: &[("translate = \"none\"", "translate = \"none\"\n[icmp]\nprefix_rate = 2000")],
            problems: &[wrong("prefix_rate = |2000", "icmp.prefix_rate", &["is more than `rate` 1000"])],
        },
    ]);
}

#[test]
fn too_many() {
    let keys = KeyFile::new();
    let peers: String =
        (1..=65).map(|at| format!("[[peers]]\nname = \"p{at}\"\naddress = \"10.1.0.{at}\"\n")).collect();
    let (before, after) = INGRESS.split_once("[[services]]").unwrap();
    let text = keys.put_into(&format!("{before}{peers}[[services]]{after}"));
    let json = report(&text).json();
    let said: Vec<&str> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|problem| problem["message"].as_str())
        .collect();
    // The second backend names its peer.
    assert_eq!(said, ["67 elements are too many", "no `peers`, and all 64 peers are too many"]);

    let backends = |service: usize| -> String {
        (0..300)
            .map(|at| {
                let address = format!("10.{service}.{}.{}", at / 100, at % 100 + 1);
                format!("[[services.backends]]\nname = \"b{at}\"\naddress = \"{address}\"\nport = 1\n")
            })
            .collect()
    };
    let services: String = (1..=5)
        .map(|at| format!("[[services]]\nname = \"s{at}\"\nprotocol = \"tcp\"\n{}", backends(at)))
        .collect();
    let head = EGRESS.split("[[services]]").next().unwrap().replace("hash_key_file = \"KEY\"\n", "");
    let json = report(&format!("{head}{services}")).json();
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["key"], "services[3].backends");
    assert_eq!(problems[0]["message"], "1200 backends up to here are too many");
}

#[test]
fn too_many_vips() {
    let keys = KeyFile::new();
    let service = |at: usize| {
        let vips: Vec<String> = (1..=64).map(|last| format!("\"203.0.{at}.{last}\"")).collect();
        let vips = vips.join(", ");
        format!(
            "[[services]]\nname = \"s{at}\"\nvips = [{vips}]\nprotocol = \"udp\"\nport = 53\ntranslate = \"none\"\n"
        )
    };
    let head = INGRESS.split("[[services]]").next().unwrap();
    let four: String = (1..=4).map(service).collect();
    assert!(report(&keys.put_into(&format!("{head}{four}"))).is_ok());
    let json = report(&keys.put_into(&format!("{head}{four}{}", service(5)))).json();
    assert_eq!(json["problems"].as_array().unwrap().len(), 1);
    assert_eq!(json["problems"][0]["key"], "services[4].vips");
    assert_eq!(json["problems"][0]["message"], "320 vips up to here are too many");
}

#[test]
fn the_secret() {
    let keys = KeyFile::new();
    let good = "00112233445566778899aabbccddeeff";
    let directory = keys.write("x", "", 0o600).replace("/x", "");
    for (path, message) in [
        (keys.write("missing", "", 0o600) + "-really", "the file does not exist"),
        (directory, "this is not a regular file"),
        (keys.write("open", good, 0o640), "the mode of the file, 0640, lets others at the key"),
        (keys.write("short", "0011", 0o600), "expected 32 characters in the file, found 4"),
        (keys.write("odd", &good.replace('0', "x"), 0o400), "characters that are not hexadecimal digits"),
        (keys.write("zero", &"0".repeat(32), 0o400), "the key is all zero"),
    ] {
        let report = report(&INGRESS.replace("KEY", &path));
        let json = report.json();
        assert_eq!(json["problems"].as_array().unwrap().len(), 1, "{path}");
        let problem = &json["problems"][0];
        assert!(problem["message"].as_str().unwrap().contains(message), "{problem}");
        assert_eq!((&problem["key"], &problem["line"]), (&"hash_key_file".into(), &3.into()));
        let shown = report.text(crate::config::Style::Plain) + &json.to_string();
        assert!(!shown.contains("0011") && !shown.contains("xx"), "part of a key is shown: {shown}");
    }
}

#[test]
fn a_secret_nobody_needs() {
    let keys = KeyFile::new();
    let text = EGRESS.split("[[services]]\nname = \"dns\"").next().unwrap();
    let json = report(&keys.put_into(text)).json();
    assert_eq!(json["problems"].as_array().unwrap().len(), 1);
    assert_eq!(json["problems"][0]["message"], "this relay needs no hash key");

    let without = INGRESS.replace("hash_key_file = \"KEY\"\n", "");
    assert_eq!(report(&without).json()["problems"][0]["message"], "`hash_key_file` is missing");
    let without = EGRESS.replace("hash_key_file = \"KEY\"\n", "");
    assert_eq!(report(&without).json()["problems"][0]["message"], "`hash_key_file` is missing");
}
