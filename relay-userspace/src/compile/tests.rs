//! The image of whole configurations: what the packet path finds in it.

use std::net::Ipv4Addr;

use relay_abi::endpoint::Kind;
use relay_abi::image::filter::{self, Mode};
use relay_abi::image::translate;
use relay_abi::limit::{Costs, packet_cost};
use relay_abi::{Be16, Ipv4};

use super::endpoints::look_up;
use super::sample::{EDGE, FIRST_PEER, LOCAL, SECOND_VIP, VIP, WEB_1, WEB_2};
use super::*;
use crate::config::policy::FilterMode;
use crate::config::valid::{EgressWay, IngressWay, WeightedHost};

const TCP: u8 = 6;
const UDP: u8 = 17;

fn compiled(config: &Config) -> Box<Image> {
    compile(config, &sample::links(), &NextHops::default(), 1, 1).unwrap()
}

fn picks(image: &Image, service: u16) -> &[u16] {
    let service = &image.services[usize::from(service)];
    &image.ring[service.ring_start as usize..][..service.ring_length as usize]
}

#[test]
fn an_ingress_relay_finds_its_services_and_backends() {
    let image = compiled(&sample::ingress());
    assert_eq!(look_up(&image, VIP, 443, TCP), Some((Kind::SERVICE, 0)));
    assert_eq!(look_up(&image, VIP, 0, UDP), Some((Kind::SERVICE, 1)));
    assert_eq!(look_up(&image, SECOND_VIP, 0, UDP), Some((Kind::SERVICE, 2)));
    assert_eq!(look_up(&image, WEB_1, 8443, TCP), Some((Kind::BACKEND, 0)));
    assert_eq!(look_up(&image, WEB_2, 8443, TCP), Some((Kind::BACKEND, 0)));
    for (address, kind) in [
        (VIP, Kind::VIP), // an own address as well
        (SECOND_VIP, Kind::VIP),
        (WEB_1, Kind::SERVER),
        (LOCAL, Kind::OWN),
        (EDGE, Kind::OWN),
        (FIRST_PEER, Kind::PEER),
    ] {
        assert_eq!(look_up(&image, address, 0, 0).unwrap().0, kind, "{address}");
    }
    assert_eq!(look_up(&image, Ipv4Addr::new(10, 0, 0, 3), 0, 0), Some((Kind::PEER, 1)));
    assert_eq!(look_up(&image, VIP, 80, TCP), None);
    assert_eq!(look_up(&image, VIP, 443, UDP), None);
}

#[test]
fn the_service_of_each_row_is_known() {
    let config = sample::ingress();
    let image = compiled(&config);
    let Role::Ingress(ingress) = &config.role else { panic!("no ingress relay") };
    let rows: Vec<(u8, u16)> = service_rows(ingress)
        .map(|service| (rows::wire(service.protocol), rows::number(service.port)))
        .collect();
    let used = image.services.iter().filter(|service| service.vip != Ipv4::ZERO);
    assert_eq!(
        rows,
        used.map(|service| (service.protocol, service.port.value())).collect::<Vec<(u8, u16)>>()
    );
    assert_eq!(rows.len(), 3);
}

#[test]
fn an_ingress_relay_has_the_policies_of_its_services() {
    let mut config = sample::ingress();
    if let Role::Ingress(ingress) = &mut config.role {
        let [web, game] = ingress.services.as_mut_slice() else { panic!("not two services") };
        web.policy.limits.client.packets = Some(1000);
        web.policy.filters.fragments = FilterMode::Off;
        game.policy.filters.fragments = FilterMode::Shadow;
        game.policy.filters.protocols = FilterMode::Off;
    }
    let image = compiled(&config);
    let [web, game, second] = [0, 1, 2].map(|index| image.services[index]);
    assert_eq!((web.client.packet, game.client), (packet_cost(1000, 250), Costs::NONE));
    assert_eq!((game.filters, game.burst), (second.filters, second.burst));
    // The first VIP is that of both services, the second one that of the game alone.
    let modes = |vip| {
        let (kind, bits) = look_up(&image, vip, 0, 0).unwrap();
        assert_eq!(kind, Kind::VIP);
        assert_eq!(bits & !(3 << (2 * filter::FRAGMENTS) | 3 << (2 * filter::PROTOCOLS)), 0, "{bits:x}");
        (filter::mode(bits, filter::FRAGMENTS), filter::mode(bits, filter::PROTOCOLS))
    };
    assert_eq!(modes(VIP), (Mode::SHADOW, Mode::SHADOW));
    assert_eq!(modes(SECOND_VIP), (Mode::SHADOW, Mode::OFF));
    assert!(same(&image, &compiled(&config)));
}

#[test]
fn an_ingress_relay_picks_backends_or_peers() {
    let image = compiled(&sample::ingress());
    let [web, game, second] = [0, 1, 2].map(|index| image.services[index]);
    assert_eq!((web.vip, web.port, web.translate), (Ipv4(VIP.octets()), Be16::new(443), translate::INGRESS));
    assert_eq!(
        (game.port, game.translate, second.vip),
        (Be16::ZERO, translate::NONE, Ipv4(SECOND_VIP.octets()))
    );
    assert_eq!((game.ring_start, game.ring_length), (second.ring_start, second.ring_length));
    assert_ne!(game.ring_start, web.ring_start);
    let first = picks(&image, 0).iter().filter(|backend| **backend == 0).count();
    assert!((first as f64 / picks(&image, 0).len() as f64 - 0.75).abs() < 0.01);
    assert!(picks(&image, 1).iter().all(|peer| *peer < 2));
    assert_eq!((image.backends[0].peer_count, image.backends[0].peers[0]), (1, 0));
    assert_eq!(image.backends[1].peer_count, 16);
    assert_eq!(image.backends[1].next_hop.ifindex, 0);
}

#[test]
fn an_egress_relay_finds_its_backends() {
    let way = |ifindex| ResolvedHop { ifindex, destination_mac: [4; 6], source_mac: [5; 6] };
    let hops = [(WEB_1, way(2)), (FIRST_PEER, way(3))].into_iter().collect();
    let image = compile(&sample::egress(), &sample::links(), &hops, 1, 1).unwrap();
    assert_eq!(look_up(&image, WEB_1, 8443, TCP), Some((Kind::BACKEND, 0)));
    assert_eq!(look_up(&image, WEB_2, 8443, TCP), Some((Kind::BACKEND, 1)));
    assert_eq!(look_up(&image, VIP, 0, UDP), Some((Kind::SHARED, 0)));
    assert_eq!(look_up(&image, SECOND_VIP, 0, UDP), Some((Kind::SHARED, 1)));
    assert_eq!(look_up(&image, VIP, 5060, TCP), Some((Kind::SHARED, 2)));
    for (address, kind) in [
        (VIP, Kind::SERVER),
        (WEB_1, Kind::SERVER),
        (WEB_2, Kind::SERVER),
        (LOCAL, Kind::OWN),
        (FIRST_PEER, Kind::PEER),
    ] {
        assert_eq!(look_up(&image, address, 0, 0).unwrap().0, kind, "{address}");
    }
    assert_eq!(image.backends[0].next_hop.ifindex, 2);
    assert_eq!(image.backends[1].next_hop.ifindex, 0);
    assert_eq!((image.peers[0].next_hop.ifindex, image.peers[1].next_hop.ifindex), (3, 0));
    assert_eq!(image.globals.flow_mask, 1023);
    // Three services, one set of hosts: one pick table.
    let spans: Vec<u32> = image.services[..3].iter().map(|service| service.ring_start).collect();
    assert_eq!(spans, [spans[0]; 3]);
    assert!(picks(&image, 0).iter().all(|row| image.backends[usize::from(*row)].port == Be16::ZERO));
}

#[test]
fn the_order_of_backends_changes_no_pick() {
    let config = sample::ingress();
    let mut turned = config.clone();
    if let Role::Ingress(ingress) = &mut turned.role
        && let IngressWay::Translate { backends, .. } = &mut ingress.services[0].way
    {
        backends.reverse();
    }
    let (a, b) = (compiled(&config), compiled(&turned));
    let address = |image: &Image, slot: &u16| image.backends[usize::from(*slot)].address;
    for (one, other) in picks(&a, 0).iter().zip(picks(&b, 0)) {
        assert_eq!(address(&a, one), address(&b, other));
    }
}

#[test]
fn generations_of_the_same_content_are_the_same() {
    let config = sample::ingress();
    let make = |seed, generation| {
        compile(&config, &sample::links(), &NextHops::default(), seed, generation).unwrap()
    };
    assert!(same(&make(1, 1), &make(1, 2)));
    assert!(!same(&make(1, 1), &make(2, 1)));
    let mut changed = make(1, 1);
    changed.peers[0].next_hop.ifindex = 9;
    assert!(!same(&make(1, 1), &changed));
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let mut config = sample::egress();
    if let Role::Egress(egress) = &mut config.role
        && let EgressWay::Keep { vips, .. } = &mut egress.services[1].way
    {
        *vips = (0..300).map(|number| Ipv4Addr::from_bits(0xc000_0200 + number)).collect();
    }
    let error = compile(&config, &sample::links(), &NextHops::default(), 1, 1).unwrap_err();
    assert_eq!(error, Error::Full { what: What::Services, needed: 301, room: 256 });
    assert_eq!(
        error.to_string(),
        "the configuration needs 301 services (one for each VIP), the packet path has 256; configure fewer services or VIPs"
    );

    let mut config = sample::egress();
    if let Role::Egress(egress) = &mut config.role
        && let EgressWay::Keep { backends, .. } = &mut egress.services[1].way
    {
        *backends = (0..2000)
            .map(|number| WeightedHost {
                name: String::new(),
                address: Ipv4Addr::from_bits(0x0a01_0000 + number),
                weight: 1,
            })
            .collect();
    }
    let error = compile(&config, &sample::links(), &NextHops::default(), 1, 1).unwrap_err();
    assert!(matches!(error, Error::Full { what: What::Backends, needed: 2004, .. }), "{error}");
}
