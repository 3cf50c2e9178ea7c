//! What must hold of every packet, not only of those somebody thought of: properties, over random packets, on the host.
#![expect(clippy::unwrap_used, reason = "a test's steps, in functions of their own")]

use std::net::Ipv4Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use relay_core::Outcome;
use relay_tests::cases::host::MACHINE;
use relay_tests::cases::mutation::{Mutations, mend};
use relay_tests::cases::packet::{self, internet_sum};
use relay_tests::cases::relay::With;
use relay_tests::cases::{MemFrame, MemTables, Relay, load, world};

const ETHERNET: usize = 14;

fn config(cases: u32) -> ProptestConfig {
    // What was found before is in the cases.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Names of addresses that no client may see.
const HIDDEN: &[&str] =
    &["web1", "web2", "web3", "egress1", "egress2", "ingress1", "ingress2", "egress_edge", "service_router"];

fn relay(name: &str) -> Relay {
    Relay::new(name, &With::default(), MACHINE).unwrap()
}

fn tables(relay: &Relay) -> MemTables {
    MemTables::new(relay.image.clone(), MACHINE.edge, &[Default::default(); 16])
}

/// Runs one packet; gives its end and what the frame holds then.
fn run(relay: &Relay, tables: &MemTables, ifindex: u32, frame: &[u8]) -> (Outcome, MemFrame) {
    let mut memory = MemFrame::new(frame, ifindex);
    let outcome = match relay.program() {
        relay_abi::maps::PROGRAM_INGRESS => relay_core::ingress(&mut memory, tables),
        _ => relay_core::egress(&mut memory, tables),
    };
    (outcome, memory)
}

/// The frame that a packet which must be sent leaves as.
fn forwarded(relay: &Relay, tables: &MemTables, ifindex: u32, frame: &[u8]) -> Vec<u8> {
    let (outcome, memory) = run(relay, tables, ifindex, frame);
    let reason = outcome.reason().map_or("no reason", relay_abi::Reason::label);
    assert!(outcome.sent().is_some(), "not sent: {reason}: {frame:02x?}");
    memory.bytes().to_vec()
}

/// The rules that hold for each end of a packet.
fn whole(outcome: Outcome, before: &[u8], after: &MemFrame) -> Result<(), TestCaseError> {
    let reason = outcome.reason();
    prop_assert!(reason.is_some(), "code {} is no reason", outcome.code());
    prop_assert_ne!(reason, Some(relay_abi::Reason::Internal));
    prop_assert!(after.kept_its_bounds());
    if outcome.sent().is_none() {
        prop_assert_eq!(after.writes(), 0, "half rewritten: {:?}", reason);
        prop_assert_eq!(after.bytes(), before);
        return Ok(());
    }
    let bytes = after.bytes();
    prop_assert!(bytes.len() >= ETHERNET + 20);
    prop_assert_eq!(
        internet_sum(&[&bytes[ETHERNET..ETHERNET + 20]]),
        0xffff,
        "the IPv4 checksum: {:02x?}",
        bytes
    );
    prop_assert_eq!(usize::from(total_length(bytes)) + ETHERNET, bytes.len());
    Ok(())
}

fn total_length(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[16], frame[17]])
}

/// Whether the transport checksum of the IPv4 packet that starts at `at` is right, worked out over all of it.
fn transport_is_right(frame: &[u8], at: usize) -> bool {
    let ip = &frame[at..];
    let (protocol, segment) = (ip[9], &ip[20..usize::from(u16::from_be_bytes([ip[2], ip[3]]))]);
    if protocol == 17 && segment[6..8] == [0, 0] {
        return true;
    }
    let length = (segment.len() as u16).to_be_bytes();
    internet_sum(&[&ip[12..20], &[0, protocol], &length, segment]) == 0xffff
}

#[test]
fn no_changed_packet_panics_or_is_half_rewritten() {
    let relays = [relay("ingress"), relay("egress")];
    let all = [tables(&relays[0]), tables(&relays[1])];
    let mut sent = 0;
    for arrival in Mutations::of(&load().unwrap(), 1).unwrap().take(50_000) {
        let which = usize::from(arrival.relay == "egress");
        let ifindex = relays[which].ifindex(&arrival.device).unwrap();
        let (outcome, memory) = run(&relays[which], &all[which], ifindex, &arrival.frame);
        whole(outcome, &arrival.frame, &memory).unwrap();
        sent += usize::from(outcome.sent().is_some());
    }
    assert!(sent > 5_000, "only {sent} packets came through");
}

#[test]
fn no_random_bytes_panic_or_are_half_rewritten() {
    let relays = [relay("ingress"), relay("egress")];
    let all = [tables(&relays[0]), tables(&relays[1])];
    let mut runner = proptest::test_runner::TestRunner::new(config(10_000));
    let bytes = (prop::collection::vec(any::<u8>(), 0..200), any::<bool>(), any::<bool>(), any::<bool>());
    runner
        .run(&bytes, |(mut frame, ip, egress, tunnel)| {
            if ip && frame.len() > ETHERNET {
                frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
            }
            let which = usize::from(egress);
            let ifindex = if tunnel { MACHINE.tunnel } else { MACHINE.edge };
            let (outcome, memory) = run(&relays[which], &all[which], ifindex, &frame);
            whole(outcome, &frame, &memory)
        })
        .unwrap();
}

/// A client's packet to a service that both relays of the cases have.
#[derive(Clone, Debug)]
struct Sent {
    client: Ipv4Addr,
    port: u16,
    service: Service,
    ttl: u8,
    tos: u8,
    id: u16,
    df: bool,
    flags: &'static str,
    options: String,
    payload: Vec<u8>,
    checksum: bool,
}

#[derive(Clone, Copy, Debug)]
struct Service {
    vip: &'static str,
    port: u16,
    protocol: &'static str,
    backends: &'static [&'static str],
    backend_port: u16,
}

const SERVICES: &[Service] = &[
    Service { vip: "vip", port: 443, protocol: "tcp", backends: &["web1"], backend_port: 8443 },
    Service { vip: "vip", port: 8080, protocol: "tcp", backends: &["web1", "web2"], backend_port: 80 },
    Service { vip: "vip", port: 53, protocol: "udp", backends: &["web1"], backend_port: 53 },
    Service { vip: "vip2", port: 443, protocol: "tcp", backends: &["vip2"], backend_port: 443 },
    Service { vip: "vip2", port: 27015, protocol: "udp", backends: &["vip2"], backend_port: 27015 },
    Service { vip: "vip3", port: 7, protocol: "tcp", backends: &["web3"], backend_port: 7 },
];

/// Bytes of which no address of [`HIDDEN`] is made.
fn harmless() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0x20_u8..0x7f, 0..200)
}

fn sent() -> impl Strategy<Value = Sent> {
    let options = prop_oneof![
        Just(String::new()),
        any::<u16>().prop_map(|mss| format!("mss:{mss}")),
        any::<u16>().prop_map(|mss| format!("nop,mss:{mss},sack,ts,ws:7")),
        any::<u16>().prop_map(|mss| format!("ws:3,mss:{mss},nop")),
    ];
    let flags = prop_oneof![Just("S"), Just("A"), Just("PA"), Just("R"), Just("SA"), Just("FA")];
    (
        (0_u8..=255, 1_u16.., prop::sample::select(SERVICES), 3_u8.., any::<u8>(), any::<u16>()),
        (any::<bool>(), flags, options, harmless(), any::<bool>()),
    )
        .prop_map(|((host, port, service, ttl, tos, id), (df, flags, options, payload, checksum))| {
            Sent {
                client: if host < 128 {
                    Ipv4Addr::new(203, 0, 113, host)
                } else {
                    Ipv4Addr::new(198, 51, 100, 7)
                },
                port,
                service,
                ttl,
                tos,
                id,
                df,
                flags,
                options,
                payload,
                checksum,
            }
        })
}

impl Sent {
    /// A packet of this flow from `source` to `destination`.
    fn frame(&self, eth: &str, ends: [&str; 2], ports: [u16; 2], ttl: u8) -> Vec<u8> {
        let df = if self.df { " df" } else { "" };
        let transport = match self.service.protocol {
            "tcp" if self.options.is_empty() => format!("flags={} seq=0x21222324", self.flags),
            "tcp" => format!("flags={} seq=0x21222324 options={}", self.flags, self.options),
            _ if self.checksum => String::new(),
            _ => "sum=0".to_owned(),
        };
        let payload: String = self.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "eth {eth}\nip {} > {} ttl={ttl} tos={} id={}{df}\n{} {} > {} {transport}\nhex {payload}",
            ends[0], ends[1], self.tos, self.id, self.service.protocol, ports[0], ports[1]
        );
        packet::frame(&text).unwrap()
    }
}

/// What of an IPv4 packet no relay changes: all but TTL, checksums, addresses, ports and segment size.
fn kept(ip: &[u8]) -> Vec<u8> {
    let mut kept = ip.to_vec();
    kept[8] = 0;
    kept[10..12].fill(0);
    kept[12..24].fill(0);
    if ip[9] == 6 {
        kept[36..38].fill(0);
        let end = 20 + usize::from(ip[32] >> 4) * 4;
        kept[40..end].fill(0);
    } else {
        kept[26..28].fill(0);
    }
    kept
}

fn address(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
}

fn mss(frame: &[u8]) -> Option<u16> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    tcp.options_iterator().find_map(|option| match option {
        Ok(etherparse::TcpOptionElement::MaximumSegmentSize(mss)) => Some(mss),
        _ => None,
    })
}

/// Scans every byte but those that are any number by nature: identification and checksums of the IPv4 packets that start at
/// these offsets, checksum of an ICMP message.
fn hides(frame: &[u8], packets: &[usize]) -> Result<(), TestCaseError> {
    let mut frame = frame.to_vec();
    for at in packets {
        let sum = match frame[at + 9] {
            6 => 36,
            17 => 26,
            _ => 22,
        };
        for field in [4, 10, sum] {
            if let Some(field) = frame.get_mut(at + field..at + field + 2) {
                field.fill(0xee);
            }
        }
    }
    for name in HIDDEN {
        let hidden = world::address(name).unwrap().octets();
        let at = frame.windows(4).position(|bytes| bytes == hidden);
        prop_assert!(at.is_none(), "the client sees {} at {:?}: {:02x?}", name, at, frame);
    }
    Ok(())
}

/// There and back: client, ingress relay, egress relay, backend, and the same way home.
#[test]
fn a_flow_goes_there_and_back_through_both_relays() {
    let (ingress, egress) = (relay("ingress"), relay("egress"));
    let mut runner = proptest::test_runner::TestRunner::new(config(3_000));
    runner.run(&sent(), |sent| there_and_back(&ingress, &egress, &sent)).unwrap();
}

fn there_and_back(ingress: &Relay, egress: &Relay, sent: &Sent) -> Result<(), TestCaseError> {
    let (outside, inside) = (tables(ingress), tables(egress));
    let service = sent.service;
    let client = sent.client.to_string();
    let vip = world::address(service.vip).unwrap();

    let first =
        sent.frame("client_mac > edge_mac", [&client, service.vip], [sent.port, service.port], sent.ttl);
    let tunnel = forwarded(ingress, &outside, MACHINE.edge, &first);
    prop_assert_eq!(internet_sum(&[&tunnel[14..34]]), 0xffff);
    prop_assert_eq!(&tunnel[20..22], &[0x40, 0x00][..], "outer DF, no fragment");
    prop_assert_eq!(tunnel[23], 4);
    prop_assert_eq!(tunnel[22], 61);
    prop_assert_eq!(tunnel[15], 0x28 | sent.tos & 3);

    // The egress relay of the cases is the first one; the tunnel may have gone to the second.
    let mut tunnel = tunnel;
    readdress(&mut tunnel, 16, world::address("egress1").unwrap());
    let delivered = forwarded(egress, &inside, MACHINE.tunnel, &tunnel);
    let ip = &delivered[14..];
    prop_assert_eq!(internet_sum(&[&ip[..20]]), 0xffff);
    prop_assert!(transport_is_right(&delivered, 14), "{:02x?}", delivered);
    prop_assert_eq!(ip[8], sent.ttl - 2, "two relays, two hops");
    prop_assert_eq!(address(&ip[12..16]), sent.client, "the service sees the client");
    let backend = address(&ip[16..20]);
    prop_assert!(service.backends.iter().any(|name| world::address(name).unwrap() == backend));
    prop_assert_eq!(&ip[20..22], &sent.port.to_be_bytes()[..]);
    prop_assert_eq!(&ip[22..24], &service.backend_port.to_be_bytes()[..]);
    prop_assert_eq!(kept(ip), kept(&first[14..]));
    let syn = sent.flags.contains('S');
    prop_assert_eq!(mss(&delivered), mss(&first).map(|mss| if syn { mss.min(1440) } else { mss }));
    if vip == backend {
        // Nobody translates: all as it was, but for two hops and a segment size.
        let mut same = first.clone();
        (same[22], same[24], same[25]) = (ip[8], ip[10], ip[11]);
        if mss(&first) == mss(&delivered) {
            prop_assert_eq!(&delivered[14..], &same[14..]);
        }
    }

    let back = sent.frame(
        "web1_mac > edge_mac",
        [&backend.to_string(), &client],
        [service.backend_port, sent.port],
        sent.ttl,
    );
    let tunnel = forwarded(egress, &inside, MACHINE.edge, &back);
    let home = forwarded(ingress, &outside, MACHINE.tunnel, &tunnel);
    let ip = &home[14..];
    hides(&home, &[14])?;
    prop_assert_eq!(internet_sum(&[&ip[..20]]), 0xffff);
    prop_assert!(transport_is_right(&home, 14), "{:02x?}", home);
    prop_assert_eq!(ip[8], sent.ttl - 2);
    prop_assert_eq!((address(&ip[12..16]), address(&ip[16..20])), (vip, sent.client));
    prop_assert_eq!(&ip[20..22], &service.port.to_be_bytes()[..]);
    prop_assert_eq!(&ip[22..24], &sent.port.to_be_bytes()[..]);
    prop_assert_eq!(kept(ip), kept(&back[14..]));
    prop_assert_eq!(mss(&home), mss(&back).map(|mss| if syn { mss.min(1440) } else { mss }));

    errors(ingress, egress, &outside, &inside, sent, &delivered, &home)
}

/// Errors about both packets: the client's about what it got goes to the backend that sent it and quotes what that sent; the
/// backend's goes to the client and shows nothing.
fn errors(
    ingress: &Relay,
    egress: &Relay,
    outside: &MemTables,
    inside: &MemTables,
    sent: &Sent,
    delivered: &[u8],
    home: &[u8],
) -> Result<(), TestCaseError> {
    let backend = address(&delivered[30..34]);
    let vip = address(&home[26..30]);
    for quoted in [28, 60, 548] {
        let error = about(home, "router_mac > edge_mac", Ipv4Addr::new(203, 0, 113, 77), vip, quoted);
        let mut tunnel = forwarded(ingress, outside, MACHINE.edge, &error);
        readdress(&mut tunnel, 16, world::address("egress1").unwrap());
        let told = forwarded(egress, inside, MACHINE.tunnel, &tunnel);
        prop_assert_eq!(address(&told[30..34]), backend, "the error went to another backend");
        error_is_right(&told, quoted)?;
        prop_assert_eq!(address(&told[54..58]), backend);
        prop_assert_eq!(&told[62..64], &sent.service.backend_port.to_be_bytes()[..]);

        let router = world::address("service_router").unwrap();
        let error = about(delivered, "web1_mac > edge_mac", router, sent.client, quoted);
        let tunnel = forwarded(egress, inside, MACHINE.edge, &error);
        let told = forwarded(ingress, outside, MACHINE.tunnel, &tunnel);
        hides(&told, &[14, 42])?;
        prop_assert_eq!((address(&told[26..30]), address(&told[30..34])), (vip, sent.client));
        error_is_right(&told, quoted)?;
        prop_assert_eq!(address(&told[58..62]), vip);
        prop_assert_eq!(&told[64..66], &sent.service.port.to_be_bytes()[..]);
    }
    Ok(())
}

/// A time exceeded about a frame's packet.
fn about(frame: &[u8], eth: &str, source: Ipv4Addr, destination: Ipv4Addr, quoted: usize) -> Vec<u8> {
    let quote: String = frame[14..].iter().take(quoted).map(|byte| format!("{byte:02x}")).collect();
    packet::frame(&format!("eth {eth}\nip {source} > {destination} ttl=9\nicmp ttl_exceeded\nhex {quote}"))
        .unwrap()
}

fn error_is_right(frame: &[u8], quoted: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(internet_sum(&[&frame[14..34]]), 0xffff, "the IPv4 checksum");
    prop_assert_eq!(internet_sum(&[&frame[34..]]), 0xffff, "the ICMP checksum: {:02x?}", frame);
    prop_assert_eq!(internet_sum(&[&frame[42..62]]), 0xffff, "the checksum of the quoted header");
    if frame.len() - 42 < quoted {
        // All of the packet is quoted, so that its own checksum can be told.
        prop_assert!(transport_is_right(frame, 42), "the checksum in the quote: {:02x?}", frame);
    }
    Ok(())
}

/// Writes another address into the IPv4 header of a frame.
fn readdress(frame: &mut [u8], at: usize, address: Ipv4Addr) {
    frame[14 + at..18 + at].copy_from_slice(&address.octets());
    frame[24..26].fill(0);
    let sum = !internet_sum(&[&frame[14..34]]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The relay takes what a strict parser takes, and nothing else.
#[test]
fn the_relay_and_another_parser_agree_on_what_is_well_formed() {
    // Filters take more than form amiss.
    let off = "filters.reflector_ports = 'off'; filters.tcp_flags = 'off'; filters.source_port_zero = 'off'";
    let services =
        ["web", "dns", "pool", "kept", "game", "all"].map(|name| (name.to_owned(), off.to_owned()));
    let with = With { services: services.into(), ..With::default() };
    let ingress = Relay::new("ingress", &with, MACHINE).unwrap();
    let tables = tables(&ingress);
    let byte = (prop::sample::select((14..62).collect::<Vec<usize>>()), any::<u8>());
    let packets =
        (sent(), prop::collection::vec(byte, 0..3), prop::option::weighted(0.2, 0_usize..80), any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(config(10_000));
    runner
        .run(&packets, |(sent, bytes, cut, mended)| {
            let mut frame = sent.frame(
                "client_mac > edge_mac",
                [&sent.client.to_string(), sent.service.vip],
                [sent.port, sent.service.port],
                sent.ttl,
            );
            for (at, byte) in bytes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(frame.len() - cut.unwrap_or(0).min(frame.len() - ETHERNET));
            if mended {
                mend(&mut frame);
            }
            let (outcome, _) = run(&ingress, &tables, MACHINE.edge, &frame);
            let relayed = outcome.reason() == Some(relay_abi::Reason::ForwardEncapsulated);
            prop_assert_eq!(relayed, well_formed(&frame), "{:?}: {:02x?}", outcome.reason(), frame);
            Ok(())
        })
        .unwrap();
}

/// Whether another parser finds a whole TCP or UDP packet of a client to a service of the cases.
fn well_formed(frame: &[u8]) -> bool {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else { return false };
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { return false };
    let header = ip.header();
    let source = header.source_addr();
    let first = source.octets()[0];
    let martian = first == 0
        || source.is_loopback()
        || source.is_link_local()
        || source.is_multicast()
        || source.is_broadcast()
        || first >= 240;
    let ours = HIDDEN.iter().chain(&["vip", "vip2", "vip3", "ingress_edge"]).any(|name| {
        // Where the backends' relays and routers are is not an ingress relay's to know.
        !["ingress2", "egress_edge", "service_router"].contains(name)
            && world::address(name).unwrap() == source
    });
    let (protocol, port) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => ("tcp", tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) if udp.length() >= 8 => ("udp", udp.destination_port()),
        _ => return false,
    };
    let service = [("vip", "tcp", 443), ("vip", "tcp", 8080), ("vip", "udp", 53), ("vip2", "tcp", 443)]
        .iter()
        .any(|(vip, known, number)| {
            world::address(vip).unwrap() == header.destination_addr() && *known == protocol && *number == port
        });
    let every_port = [("vip2", "udp"), ("vip3", "tcp")]
        .iter()
        .any(|(vip, known)| world::address(vip).unwrap() == header.destination_addr() && *known == protocol);
    (service || every_port)
        && header.ihl() == 5
        && !header.is_fragmenting_payload()
        && header.ttl() > 1
        && internet_sum(&[header.slice()]) == 0xffff
        && !martian
        && !ours
}
