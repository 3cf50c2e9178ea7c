//! The addresses of the published topology, and which of them a client must never see.

use std::net::Ipv4Addr;

/// The client's own address. Public documentation range: private sources may rightly be refused.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// More addresses of the client's: so many clients as it takes on.
pub const MORE_CLIENTS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);
/// Another host on the client's link.
pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// Where the addresses begin that the attacker takes turns with: 198.18.0.0/15 (RFC 2544).
pub const SPOOFED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// The ingress relay's interface address on the client side when the client is its direct neighbour.
pub const INGRESS_PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// With a router between them: the router towards the client, the ingress relay and the router on the link between.
pub const CLIENT_ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const INGRESS_BEHIND_ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const ROUTER_TO_INGRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The only address of the service that a client knows.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 10);
pub const INGRESS_TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const EGRESS_TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The egress relay towards the service, as the service's default gateway.
pub const EGRESS_SERVICE: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 1);
/// With a router between them: the egress relay and the router on the link between, the router towards the service.
pub const EGRESS_BEFORE_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 101, 1);
pub const ROUTER_TO_EGRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 101, 2);
pub const SERVICE_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 1);
/// The service host.
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 51);

/// What no frame on a client-side link may carry. More than the rule asks for: the ingress relay's tunnel address and
/// the routers behind the egress relay tell an attacker as much.
pub const HIDDEN: [Ipv4Addr; 6] =
    [BACKEND, EGRESS_TUNNEL, INGRESS_TUNNEL, EGRESS_SERVICE, EGRESS_BEFORE_ROUTER, ROUTER_TO_EGRESS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_client_may_see_is_hidden() {
        for seen in [CLIENT, INGRESS_PUBLIC, INGRESS_BEHIND_ROUTER, ROUTER_TO_INGRESS, VIP] {
            assert!(!HIDDEN.contains(&seen), "{seen}");
        }
    }
}
