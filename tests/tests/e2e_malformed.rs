//! Malformed packets of every kind on a live interface: each with the reason that names it, none of them passed on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use relay_tests::end_to_end::{ECHO, WEB};
use relay_tests::topology::addresses::{BACKEND, CLIENT, INGRESS_PUBLIC, VIP};
use relay_tests::topology::plan::CLIENT_DEVICE;
use relay_tests::traffic::packets::{Hop, echo_request, icmp_error, ipip, ipv4, tcp_syn, udp};
use relay_tests::traffic::raw::{Injector, hop_to};
use relay_tests::{EndToEnd, Setup, privileged};

const IP: usize = 14;
const TRANSPORT: usize = 34;

/// A frame and the reason the relay must give for it.
type Case = (&'static str, Vec<u8>);

fn good(hop: Hop) -> Result<Vec<u8>> {
    hop.frame(&udp(SocketAddrV4::new(CLIENT, 40_000), SocketAddrV4::new(VIP, ECHO), 64, b"malformed")?)
}

/// Changes a good frame, then makes its IPv4 header checksum right again.
fn changed(hop: Hop, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
    let mut frame = good(hop)?;
    change(&mut frame);
    repair(&mut frame);
    Ok(frame)
}

fn repair(frame: &mut [u8]) {
    let length = usize::from(frame[IP] & 0x0f) * 4;
    let end = (IP + length.max(20)).min(frame.len());
    frame[IP + 10..IP + 12].fill(0);
    let mut sum: u32 = frame[IP..end]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap_or(0);
    frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn set16(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn headers(hop: Hop) -> Result<Vec<Case>> {
    let whole = good(hop)?;
    let mut cases: Vec<Case> = Vec::new();
    for length in IP..whole.len() {
        let reason = match length {
            ..TRANSPORT => "frame_truncated",
            // Without whole ports it cannot be told from the kernel's own business.
            TRANSPORT..38 => "not_a_service",
            _ => "ip_total_length",
        };
        cases.push((reason, whole[..length].to_vec()));
    }
    for words in 0..5 {
        cases.push(("ip_header_length", changed(hop, |frame| frame[IP] = 0x40 | words)?));
    }
    for version in [0, 5, 6, 15] {
        cases.push(("ip_version", changed(hop, |frame| frame[IP] = version << 4 | 5)?));
    }
    for total in [0, 19, whole.len() - IP + 1, 0xffff] {
        let total = u16::try_from(total)?;
        cases.push(("ip_total_length", changed(hop, |frame| set16(frame, IP + 2, total))?));
    }
    let mut wrong = whole.clone();
    wrong[IP + 10] ^= 0x55;
    cases.push(("ip_checksum", wrong));
    // Four bytes of options (record route's end of list) before UDP.
    let with_options = changed(hop, |frame| {
        frame[IP] = 0x46;
        frame.splice(TRANSPORT..TRANSPORT, [0; 4]);
        let total = frame.len() - IP;
        set16(frame, IP + 2, u16::try_from(total).unwrap_or(0));
    })?;
    cases.push(("ip_options", with_options));
    // A first fragment has ports; later ones meet a filter.
    for (reason, fragment) in [
        ("fragment", 0x2000),
        ("filter_fragment", 0x0001),
        ("filter_fragment", 0x2010),
        ("filter_fragment", 0x1fff),
    ] {
        cases.push((reason, changed(hop, |frame| set16(frame, IP + 6, fragment))?));
    }
    Ok(cases)
}

fn sources(hop: Hop) -> Result<Vec<Case>> {
    let martians = ["0.0.0.1", "127.0.0.1", "169.254.3.4", "224.0.0.1", "240.0.0.1", "255.255.255.255"];
    let mut cases: Vec<Case> = Vec::new();
    for martian in martians {
        let source: Ipv4Addr = martian.parse()?;
        let to = SocketAddrV4::new(VIP, ECHO);
        cases.push(("martian_source", hop.frame(&udp(SocketAddrV4::new(source, 40_000), to, 64, b"x")?)?));
    }
    let to = SocketAddrV4::new(VIP, ECHO);
    cases.push(("land", hop.frame(&udp(SocketAddrV4::new(VIP, ECHO), to, 64, b"x")?)?));
    cases.push(("own_source", hop.frame(&udp(SocketAddrV4::new(BACKEND, ECHO), to, 64, b"x")?)?));
    for destination in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        cases.push(("link_multicast", good(Hop { destination, ..hop })?));
    }
    Ok(cases)
}

fn transports(hop: Hop) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let datagram = udp(SocketAddrV4::new(CLIENT, 40_000), SocketAddrV4::new(VIP, ECHO), 64, b"x")?;
    let syn = tcp_syn(SocketAddrV4::new(CLIENT, 40_000), SocketAddrV4::new(VIP, WEB), 1460)?;
    for length in 4..20 {
        cases.push(("tcp_truncated", hop.frame(&ipv4(CLIENT, VIP, 64, 6, &syn[20..20 + length])?)?));
    }
    for length in 4..8 {
        cases.push(("udp_truncated", hop.frame(&ipv4(CLIENT, VIP, 64, 17, &datagram[20..20 + length])?)?));
    }
    // Type 3, so that it is an error the relay must read.
    for length in 0..36 {
        cases.push(("icmp_truncated", hop.frame(&ipv4(CLIENT, VIP, 64, 1, &vec![3; length])?)?));
    }
    for length in [0, 7, 200] {
        cases.push(("udp_length", changed(hop, |frame| set16(frame, TRANSPORT + 4, length))?));
    }
    for words in [0, 4, 15] {
        let mut frame = hop.frame(&syn)?;
        frame[TRANSPORT + 12] = words << 4;
        cases.push(("tcp_data_offset", frame));
    }
    // An error that quotes nothing, or half a header.
    let quoted = udp(SocketAddrV4::new(VIP, ECHO), SocketAddrV4::new(CLIENT, 40_000), 60, b"x")?;
    for length in [0, 10, 19, 27] {
        let error = icmp_error(CLIENT, VIP, (3, 3), [0; 4], &quoted[..length])?;
        cases.push(("icmp_truncated", hop.frame(&error)?));
    }
    // What no service speaks is the kernel's.
    cases.push(("protocol_to_kernel", hop.frame(&ipv4(CLIENT, VIP, 64, 47, &[0; 8])?)?));
    cases.push(("icmp_to_kernel", hop.frame(&echo_request(CLIENT, VIP, 1)?)?));
    let nested = ipip(CLIENT, VIP, &ipip(CLIENT, VIP, &datagram)?)?;
    cases.push(("protocol_to_kernel", hop.frame(&nested)?));
    Ok(cases)
}

fn each_has_its_reason(cases: impl Fn(Hop) -> Result<Vec<Case>>) -> Result<()> {
    let mut system = EndToEnd::start(Setup::default())?;
    system.client_forges = true;
    let service = system.capture_service()?;
    let injector = Injector::open(system.client()?, CLIENT_DEVICE)?;
    let hop = hop_to(system.client()?, CLIENT_DEVICE, INGRESS_PUBLIC)?;
    let before = system.ingress.counters()?;
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (reason, frame) in cases(hop)? {
        *expected.entry(reason.to_owned()).or_default() += 1;
        injector.send(&frame).with_context(|| format!("send a frame for {reason}"))?;
    }
    let mut moved = system.ingress.balance()?.relay.moved_since(&before);
    // ARP goes on meanwhile.
    moved.remove("not_ip");
    ensure!(moved == expected, "counted {moved:#?}, expected {expected:#?}");
    let reached = service.finish()?.frames.iter().filter(|frame| frame.view().ipv4().is_some()).count();
    ensure!(reached == 0, "{reached} packets reached the service");
    system.finish()?;
    Ok(())
}

#[test]
fn rules_1_2_5_20_malformed_headers_have_their_reasons() -> Result<()> {
    privileged("rules_1_2_5_20_malformed_headers_have_their_reasons", || each_has_its_reason(headers))
}

#[test]
fn rules_3_4_6_impossible_sources_have_their_reasons() -> Result<()> {
    privileged("rules_3_4_6_impossible_sources_have_their_reasons", || each_has_its_reason(sources))
}

#[test]
fn malformed_transports_have_their_reasons() -> Result<()> {
    privileged("malformed_transports_have_their_reasons", || each_has_its_reason(transports))
}
