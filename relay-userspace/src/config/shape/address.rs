//! IPv4 addresses and prefixes.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use toml::de::DeValue;

use super::{Refusal, Scalar, quoted, text};

/// An IPv4 address that a packet can be sent to and come from.
pub(in crate::config) struct Address;

impl Scalar for Address {
    type Output = Ipv4Addr;

    fn allowed() -> String {
        "IPv4 unicast address".to_owned()
    }

    fn parse(value: &DeValue<'_>) -> Result<Ipv4Addr, Refusal> {
        let text = text(value)?;
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            return Err(no_address(text));
        };
        match martian(address) {
            Some(why) => Err(Refusal::new(format!("{why} cannot be used here"))),
            None => Ok(address),
        }
    }

    fn toml(value: &Ipv4Addr) -> String {
        quoted(&value.to_string())
    }
}

/// What an attempt at an IPv4 address most likely is.
fn no_address(text: &str) -> Refusal {
    let refusal = Refusal::new("not an IPv4 address");
    if text.parse::<Ipv6Addr>().is_ok() {
        return refusal.hint("this version relays IPv4 only");
    }
    match text.split_once('/').or_else(|| text.split_once(':')) {
        Some((start, _)) if start.parse::<Ipv4Addr>().is_ok() => {
            refusal.hint(format!("write the address alone: \"{start}\""))
        }
        _ => refusal,
    }
}

/// Why an address never identifies a host that traffic is routed to (RFC 1812 section 5.3.7, RFC 6890).
fn martian(address: Ipv4Addr) -> Option<&'static str> {
    let [first, ..] = address.octets();
    match first {
        0 => Some("an address of \"this network\" (0.0.0.0/8)"),
        127 => Some("a loopback address (127.0.0.0/8)"),
        169 if address.is_link_local() => Some("a link-local address (169.254.0.0/16)"),
        224..=239 => Some("a multicast address (224.0.0.0/4)"),
        240..=255 => Some("a reserved address (240.0.0.0/4)"),
        _ => None,
    }
}

/// An IPv4 prefix; an address is a prefix of 32 bits.
pub(in crate::config) struct Prefix;

impl Scalar for Prefix {
    type Output = Ipv4Net;

    fn allowed() -> String {
        "IPv4 prefix such as \"192.0.2.0/24\", or address".to_owned()
    }

    fn parse(value: &DeValue<'_>) -> Result<Ipv4Net, Refusal> {
        let text = text(value)?;
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Ipv4Net::from(address));
        }
        let Ok(prefix) = text.parse::<Ipv4Net>() else {
            return Err(no_prefix(text));
        };
        if prefix != prefix.trunc() {
            return Err(Refusal::new("bits are set behind the length of the prefix")
                .hint(format!("did you mean \"{}\"?", prefix.trunc())));
        }
        Ok(prefix)
    }

    fn toml(value: &Ipv4Net) -> String {
        quoted(&value.to_string())
    }
}

/// What an attempt at an IPv4 prefix most likely is.
fn no_prefix(text: &str) -> Refusal {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    if address.parse::<Ipv6Addr>().is_ok() {
        return Refusal::new("an IPv6 prefix cannot be listed").hint("this version relays IPv4 only");
    }
    let refusal = Refusal::new("not an IPv4 prefix");
    match (address.parse::<Ipv4Addr>(), length.parse::<Ipv4Addr>()) {
        (Ok(address), Ok(mask)) => match Ipv4Net::with_netmask(address, mask) {
            Ok(prefix) => refusal.hint(format!("did you mean \"{}\"?", prefix.trunc())),
            Err(_) => refusal,
        },
        (Ok(_), Err(_)) => refusal.hint("the length of an IPv4 prefix is 0 to 32"),
        _ => refusal,
    }
}
