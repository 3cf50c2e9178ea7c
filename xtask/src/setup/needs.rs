//! What the build and the tests need beside cargo: how each thing is recognised, and the Debian package it comes in.
//! A thing is looked for itself, not its package, so that other distributions do as well.

use std::path::Path;

use crate::bpf::toolchain::find;

#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) package: &'static str,
    probe: Probe,
}

#[derive(Debug)]
enum Probe {
    Program(&'static str),
    /// One of these files or directories.
    File(&'static [&'static str]),
}

impl Need {
    const fn program(program: &'static str, package: &'static str) -> Self {
        Self { package, probe: Probe::Program(program) }
    }

    const fn file(paths: &'static [&'static str], package: &'static str) -> Self {
        Self { package, probe: Probe::File(paths) }
    }

    pub(crate) fn is_missing(&self) -> bool {
        match self.probe {
            Probe::Program(program) => find(program).is_none(),
            Probe::File(paths) => !paths.iter().any(|path| Path::new(path).exists()),
        }
    }
}

/// A released rustc with a `core` for BPF.
pub(crate) const COMPILER_PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];

/// clippy for that rustc.
pub(crate) const LINT_PACKAGE: &str = "rust-web-clippy";

pub(crate) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// What bpf-linker is built from when it links the LLVM of Debian's rustc.
pub(crate) const LINKER: &[Need] = &[
    Need::file(&["/usr/lib/llvm-22/bin/llvm-config"], "llvm-22-dev"),
    Need::file(&["/usr/lib/llvm-22/lib/libPolly.a"], "libpolly-22-dev"),
    Need::file(&["/usr/include/zlib.h"], "zlib1g-dev"),
    Need::file(&["/usr/include/zstd.h"], "libzstd-dev"),
    Need::file(&["/usr/include/libxml2"], "libxml2-dev"),
    Need::program("c++", "g++"),
];

/// What the end-to-end tests and the demo run.
pub(crate) const TEST: &[Need] = &[
    Need::program("nginx", "nginx"),
    Need::file(
        &["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"],
        "libnginx-mod-stream",
    ),
    Need::program("curl", "curl"),
    Need::program("dnsmasq", "dnsmasq-base"),
    Need::program("openssl", "openssl"),
    Need::program("tcpdump", "tcpdump"),
    Need::program("tshark", "tshark"),
    Need::program("bpftool", "bpftool"),
    Need::program("ethtool", "ethtool"),
    Need::program("nft", "nftables"),
    Need::program("ping", "iputils-ping"),
    Need::program("traceroute", "traceroute"),
    Need::file(
        &["/usr/lib/python3/dist-packages/scapy", "/usr/lib/python3/site-packages/scapy"],
        "python3-scapy",
    ),
    Need::program("iperf3", "iperf3"),
    Need::program("socat", "socat"),
    Need::program("capsh", "libcap2-bin"),
    Need::program("setpriv", "util-linux"),
    Need::program("ip", "iproute2"),
    Need::program("sysctl", "procps"),
];
