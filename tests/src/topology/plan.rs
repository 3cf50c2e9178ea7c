//! Which hosts and links a topology has: pure, so that every variant is checked without root.

use std::net::Ipv4Addr;

use super::addresses::{
    ATTACKER, BACKEND, CLIENT, CLIENT_ROUTER, EGRESS_BEFORE_ROUTER, EGRESS_SERVICE, EGRESS_TUNNEL,
    INGRESS_BEHIND_ROUTER, INGRESS_PUBLIC, INGRESS_TUNNEL, ROUTER_TO_EGRESS, ROUTER_TO_INGRESS,
    SERVICE_ROUTER, VIP,
};

/// A host of the topology; each is a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Client,
    /// Another host on the client's link, which floods.
    Attacker,
    ClientRouter,
    Ingress,
    Egress,
    ServiceRouter,
    Service,
    /// The switch of a link with more than two ends, or of one that is watched.
    Switch,
}

impl Place {
    pub const ALL: [Self; 8] = [
        Self::Client,
        Self::Attacker,
        Self::ClientRouter,
        Self::Ingress,
        Self::Egress,
        Self::ServiceRouter,
        Self::Service,
        Self::Switch,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Attacker => "attacker",
            Self::ClientRouter => "client-router",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::ServiceRouter => "service-router",
            Self::Service => "service",
            Self::Switch => "switch",
        }
    }

    pub fn is_relay(self) -> bool {
        matches!(self, Self::Ingress | Self::Egress)
    }
}

/// What may differ between topologies.
#[derive(Clone, Debug)]
pub struct Options {
    pub one_armed_ingress: bool,
    pub one_armed_egress: bool,
    pub client_router: bool,
    pub service_router: bool,
    /// A second host on the client's link, to which the ingress relay routes whatever it knows no better way to.
    pub attacker: bool,
    /// The service host holds the VIP itself (`translate = "none"`).
    pub service_holds_vip: bool,
    /// The tunnel link passes a switch, where frames that XDP sends and takes can be captured.
    pub watched_tunnel: bool,
    /// The kernels route everything everywhere, so that only the relay itself can hide anything.
    pub open_routing: bool,
    pub client_mtu: u32,
    pub tunnel_mtu: u32,
    pub service_mtu: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            one_armed_ingress: false,
            one_armed_egress: false,
            client_router: false,
            service_router: false,
            attacker: false,
            service_holds_vip: false,
            watched_tunnel: false,
            open_routing: false,
            client_mtu: 1500,
            tunnel_mtu: 1500,
            service_mtu: 1500,
        }
    }
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub place: Place,
    pub device: &'static str,
    /// With prefix length, as `ip address add` takes them.
    pub addresses: Vec<String>,
}

/// A broadcast domain: a cable between two ends, or a switch with one port each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: &'static str,
    pub mtu: u32,
    pub ends: Vec<End>,
    pub switched: bool,
}

/// A route of one host, as `ip route add` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub place: Place,
    pub text: String,
}

/// All hosts, links and routes of a topology.
#[derive(Clone, Debug)]
pub struct Plan {
    pub links: Vec<Link>,
    pub routes: Vec<Route>,
}

/// The one device of a one-armed relay.
pub const ONE_ARM: &str = "lan";
/// The client's only device: where the client-side capture sits.
pub const CLIENT_DEVICE: &str = "uplink";
/// The attacker's only device.
pub const ATTACKER_DEVICE: &str = "uplink";
/// The service host's only device.
pub const SERVICE_DEVICE: &str = "net0";

impl Plan {
    pub fn of(options: &Options) -> Self {
        // A one-armed relay shares its only link with its router: ARP for the inner addresses is seen by all on that
        // link, so the client itself must not be on it.
        let client_router = options.client_router || options.one_armed_ingress;
        let mut links = Vec::new();
        let ingress_public = if client_router {
            links.push(Link {
                name: "client",
                mtu: options.client_mtu,
                ends: vec![
                    end(Place::Client, CLIENT_DEVICE, &[(CLIENT, 24)]),
                    end(Place::ClientRouter, "clients", &[(CLIENT_ROUTER, 24)]),
                ],
                switched: false,
            });
            INGRESS_BEHIND_ROUTER
        } else {
            INGRESS_PUBLIC
        };
        let towards_ingress = if client_router {
            end(Place::ClientRouter, "relays", &[(ROUTER_TO_INGRESS, 24)])
        } else {
            end(Place::Client, CLIENT_DEVICE, &[(CLIENT, 24)])
        };
        let mut public = Link {
            name: "public",
            mtu: options.client_mtu,
            ends: vec![towards_ingress, end(Place::Ingress, "public", &[(ingress_public, 24), (VIP, 32)])],
            switched: false,
        };
        let mut tunnel = Link {
            name: "tunnel",
            mtu: options.tunnel_mtu,
            ends: vec![
                end(Place::Ingress, "tunnel", &[(INGRESS_TUNNEL, 24)]),
                end(Place::Egress, "tunnel", &[(EGRESS_TUNNEL, 24)]),
            ],
            switched: options.watched_tunnel,
        };
        let towards_service = if options.service_router {
            end(Place::ServiceRouter, "relays", &[(ROUTER_TO_EGRESS, 24)])
        } else {
            end(Place::Service, SERVICE_DEVICE, &[(BACKEND, 24)])
        };
        let egress_service = if options.service_router { EGRESS_BEFORE_ROUTER } else { EGRESS_SERVICE };
        let mut service = Link {
            name: "service",
            mtu: options.service_mtu,
            ends: vec![end(Place::Egress, "service", &[(egress_service, 24)]), towards_service],
            switched: false,
        };
        if options.attacker {
            let mut ends = links.iter_mut().chain([&mut public]).map(|link| &mut link.ends);
            let clients = ends.find(|ends| ends.iter().any(|end| end.place == Place::Client));
            clients.into_iter().for_each(|ends| {
                ends.push(end(Place::Attacker, ATTACKER_DEVICE, &[(ATTACKER, 24)]));
            });
        }
        if options.one_armed_ingress {
            tunnel.absorb(&mut public, Place::Ingress);
        }
        if options.one_armed_egress {
            tunnel.absorb(&mut service, Place::Egress);
        }
        links.extend([public, tunnel, service].into_iter().filter(|link| !link.ends.is_empty()));
        if options.service_router {
            links.push(Link {
                name: "hosts",
                mtu: options.service_mtu,
                ends: vec![
                    end(Place::ServiceRouter, "hosts", &[(SERVICE_ROUTER, 24)]),
                    end(Place::Service, SERVICE_DEVICE, &[(BACKEND, 24)]),
                ],
                switched: false,
            });
        }
        Self { links, routes: routes(options, client_router, ingress_public, egress_service) }
    }

    /// The hosts this plan needs, in a fixed order.
    pub fn places(&self) -> Vec<Place> {
        let used = |place: Place| match place {
            Place::Switch => self.links.iter().any(Link::needs_switch),
            Place::Client
            | Place::Attacker
            | Place::ClientRouter
            | Place::Ingress
            | Place::Egress
            | Place::ServiceRouter
            | Place::Service => self.links.iter().flat_map(|link| &link.ends).any(|end| end.place == place),
        };
        Place::ALL.into_iter().filter(|place| used(*place)).collect()
    }
}

impl Link {
    pub fn needs_switch(&self) -> bool {
        self.switched || self.ends.len() > 2
    }

    /// Takes over the ends of `other`, with the ends of `shared` on both links becoming one device.
    fn absorb(&mut self, other: &mut Self, shared: Place) {
        for mut end in other.ends.drain(..) {
            match self.ends.iter_mut().find(|own| own.place == shared && end.place == shared) {
                Some(own) => {
                    own.device = ONE_ARM;
                    own.addresses.append(&mut end.addresses);
                }
                None => self.ends.push(end),
            }
        }
    }
}

fn end(place: Place, device: &'static str, addresses: &[(Ipv4Addr, u8)]) -> End {
    let addresses = addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
    End { place, device, addresses }
}

fn routes(
    options: &Options,
    client_router: bool,
    ingress_public: Ipv4Addr,
    egress_service: Ipv4Addr,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut add = |place, text: String| routes.push(Route { place, text });
    if client_router {
        add(Place::Client, format!("default via {CLIENT_ROUTER}"));
        add(Place::ClientRouter, format!("default via {ingress_public}"));
        add(Place::Ingress, format!("default via {ROUTER_TO_INGRESS}"));
    } else {
        add(Place::Client, format!("default via {ingress_public}"));
        if options.attacker {
            add(Place::Ingress, format!("default via {ATTACKER}"));
        }
    }
    if options.attacker {
        let gateway = if client_router { CLIENT_ROUTER } else { ingress_public };
        add(Place::Attacker, format!("default via {gateway}"));
    }
    if options.service_router {
        add(Place::Service, format!("default via {SERVICE_ROUTER}"));
        add(Place::ServiceRouter, format!("default via {egress_service}"));
        add(Place::Egress, format!("{BACKEND}/32 via {ROUTER_TO_EGRESS}"));
    } else {
        add(Place::Service, format!("default via {egress_service}"));
    }
    if options.open_routing {
        add(Place::Ingress, format!("{BACKEND}/32 via {EGRESS_TUNNEL}"));
        add(Place::Egress, format!("default via {INGRESS_TUNNEL}"));
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device_of(plan: &Plan, place: Place) -> Vec<&'static str> {
        let ends = plan.links.iter().flat_map(|link| &link.ends);
        ends.filter(|end| end.place == place).map(|end| end.device).collect()
    }

    #[test]
    fn two_arms_by_default() {
        let plan = Plan::of(&Options::default());
        assert_eq!(plan.places(), [Place::Client, Place::Ingress, Place::Egress, Place::Service]);
        assert_eq!(device_of(&plan, Place::Ingress), ["public", "tunnel"]);
        assert_eq!(device_of(&plan, Place::Egress), ["tunnel", "service"]);
        assert!(plan.links.iter().all(|link| link.ends.len() == 2));
    }

    #[test]
    fn a_one_armed_relay_has_all_its_addresses_on_one_device() {
        let plan =
            Plan::of(&Options { one_armed_ingress: true, one_armed_egress: true, ..Options::default() });
        assert_eq!(device_of(&plan, Place::Ingress), [ONE_ARM]);
        assert_eq!(device_of(&plan, Place::Egress), [ONE_ARM]);
        assert!(plan.places().contains(&Place::Switch));
        assert!(
            plan.places().contains(&Place::ClientRouter),
            "ARP on the shared link must not reach a client"
        );
        let shared = plan.links.iter().find(|link| link.needs_switch()).unwrap();
        assert!(!shared.ends.iter().any(|end| end.place == Place::Client));
        let ingress = shared.ends.iter().find(|end| end.place == Place::Ingress).unwrap();
        assert_eq!(ingress.addresses, ["10.0.0.1/24", "203.0.113.1/24", "192.168.100.10/32"]);
    }

    #[test]
    fn the_attacker_shares_the_clients_link() {
        for client_router in [false, true] {
            let plan = Plan::of(&Options { attacker: true, client_router, ..Options::default() });
            let shared =
                plan.links.iter().find(|link| link.ends.iter().any(|end| end.place == Place::Attacker));
            let places: Vec<Place> = shared.unwrap().ends.iter().map(|end| end.place).collect();
            assert!(places.contains(&Place::Client) && shared.unwrap().needs_switch());
            assert!(plan.places().contains(&Place::Switch));
        }
    }

    #[test]
    fn the_ingress_relay_has_no_way_around_the_tunnel_unless_asked() {
        let closed = Plan::of(&Options::default());
        let open = Plan::of(&Options { open_routing: true, ..Options::default() });
        let around = |plan: &Plan| plan.routes.iter().any(|route| route.text.contains("192.168.100.51"));
        assert!(!around(&closed));
        assert!(around(&open));
    }
}
