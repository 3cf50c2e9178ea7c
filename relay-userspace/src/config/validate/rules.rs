//! What must hold between several keys. The texts stand in problems and, all of them, in `docs/config.md`.

macro_rules! rules {
    ($($name:ident = $text:literal;)*) => {
        $(pub(in crate::config) const $name: &str = $text;)*

        /// Every rule, for the documentation.
        pub(in crate::config) const ALL: &[&str] = &[$($name),*];
    };
}

rules! {
    NAMES = "peers have different names; so have services, and so have the backends of one service";
    LISTS = "a list has no value twice";
    KNOWN_PEERS = "`peers` names entries of `[[peers]]`";
    ONE_USE = "an address has one use: `tunnel.local`, one peer, VIPs, or backends";
    ONE_VIP = "with `translate = \"ingress\"` a service has exactly one VIP";
    VIPS = "no two services have the same VIP, protocol and port";
    ENDPOINTS = "with `translate = \"ingress\"` no two backends have the same address, protocol and port, where `\"any\"` is the same as every port: replies could not be told apart";
    HOSTS = "with `translate = \"none\"` the backends of one service have different addresses";
    KEPT_PORT = "with `port = \"any\"` or `translate = \"none\"` the port of a backend is the service's, if it is given at all";
    SERVICE_VIPS = "all services together, counted once for each VIP, are at most 256";
    BACKENDS = "all services together have at most 1024 backends";
    BACKEND_PEERS = "a backend is reached through at most 16 peers; with more peers than that, each backend names its own";
    ICMP_RATES = "`icmp.prefix_rate` is at most `icmp.rate`";
    MARK_DOWN = "`over = \"mark_down\"` needs a `total_` limit";
    FAIR = "`fair = true` needs exactly one of `capacity_packets` and `capacity_bytes`, which have no place without it";
    BAN = "`ban_after` needs a `client_` or `prefix_` limit or `fair = true`; `ban_for`, `ban_max` and `ban_unproven_for` need `ban_after`";
    BAN_TIMES = "`ban_max` is at least `ban_for`";
    PROOF = "`syn = \"above\"` needs `above`, which has no place with another `syn`";
    POLICY = "`[limits]`, `[filters]` and `[proof]` keep these rules by themselves, and so does every service with its own keys over them; a service may leave unused what it inherits";
    PREFIXES = "a prefix is listed once, in `[[block]]` or in `[[allow]]`";
    HASH_KEY = "`hash_key_file` is a regular file that only its owner can read or write, and holds 32 hexadecimal digits, not all zero";
}

#[cfg(test)]
mod tests {
    use crate::config::defaults;

    #[test]
    fn numbers_in_the_texts_are_the_limits() {
        assert!(super::SERVICE_VIPS.contains(&defaults::SERVICES_MAX.to_string()));
        assert!(super::BACKENDS.contains(&defaults::BACKENDS_MAX.to_string()));
        assert!(super::BACKEND_PEERS.contains(&defaults::BACKEND_PEERS_MAX.to_string()));
    }
}
