//! Reading the prefix that an operator names.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::exit::{Exit, Failure};

/// Reads `192.0.2.0/24`, or an address, which means itself alone.
pub fn parse(text: &str) -> Result<Ipv4Net, Failure> {
    let refused = |message: String| Failure::new(Exit::Usage, message);
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_not_with_length) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_neither| {
            refused(format!("{text:?} is no address and no prefix"))
                .hint("write an address like 192.0.2.7, or a prefix like 192.0.2.0/24")
        })?,
    };
    let net = match net {
        IpNet::V4(net) => net,
        IpNet::V6(net) => {
            return Err(refused(format!("{net} is IPv6, and the relay relays IPv4 only"))
                .hint("a client that reaches the services here has an IPv4 address: name that"));
        }
    };
    if net != net.trunc() {
        return Err(refused(format!("{text} has bits set behind its length")).hint(format!(
            "did you mean {} or {}?",
            net.trunc(),
            net.addr()
        )));
    }
    Ok(net)
}

/// Reads the address of a client.
pub fn address(text: &str) -> Result<Ipv4Addr, Failure> {
    let net = parse(text)?;
    if net.prefix_len() == 32 {
        return Ok(net.addr());
    }
    Err(Failure::new(Exit::Usage, format!("{text} is a prefix, and bans are of single addresses"))
        .hint("`xdp-relay ban list` shows them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_prefix_of_its_own() {
        assert_eq!(parse("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(parse("192.0.2.0/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(parse("0.0.0.0/0").unwrap().prefix_len(), 0);
        assert_eq!(address("192.0.2.7/32").unwrap(), Ipv4Addr::new(192, 0, 2, 7));
        assert!(address("192.0.2.0/24").is_err());
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        let refused = |text| parse(text).unwrap_err();
        let bits = refused("192.0.2.7/24");
        assert_eq!(bits.exit, Exit::Usage);
        assert_eq!(bits.hint.unwrap(), "did you mean 192.0.2.0/24 or 192.0.2.7?");
        for six in ["2001:db8::/32", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(refused(six).message.contains("IPv6"), "{six}");
        }
        for bad in
            ["", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/24 ", "example.org", "192.0.2.0/-1"]
        {
            assert!(refused(bad).message.contains("no address and no prefix"), "{bad}");
        }
    }
}
