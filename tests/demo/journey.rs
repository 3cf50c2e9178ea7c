//! Single packets on their way, at each of the four points, with outer and inner addresses.

use relay_tests::capture::{Captured, Frame};
use relay_tests::packet_view::{Ipv4View, Transport};
use relay_tests::table::{self, Row};
use relay_tests::web_service::HTTPS_PORT;

use crate::findings::Findings;
use crate::screen::Screen;
use crate::stage::address_of;

/// A packet that is recognised wherever it is, whatever the relays made of its addresses.
struct Followed {
    title: &'static str,
    /// The ingress relay answers it, or sent it itself: it is nowhere else.
    ends_at_vip: bool,
    is_it: Box<dyn Fn(&Transport) -> bool>,
}

pub(crate) fn show(captures: &[Captured], screen: &Screen, findings: &mut Findings) {
    screen.heading("The way of a packet, at the four points of the picture above");
    let followed = choose(captures, findings);
    let mut all = Vec::new();
    let mut titles = Vec::new();
    for packet in &followed {
        let rows = rows_of(packet, captures);
        if !packet.ends_at_vip {
            findings.packets_followed += 1;
            findings.packets_seen_at_each_point += u64::from(went_the_whole_way(&rows));
        }
        titles.push((packet.title, rows.len()));
        all.extend(rows);
    }
    if all.is_empty() {
        screen.block("no packet of the client's was seen");
        return;
    }
    screen.block("(us: microseconds since it was first seen; ttl, bytes: of the outermost IP header)\n\n");
    let text = table::text(&all);
    let mut lines = text.lines();
    screen.block(lines.next().unwrap_or_default());
    for (title, count) in titles {
        screen.line(&format!("  -- {title}"));
        lines.by_ref().take(count).for_each(|line| screen.block(line));
    }
}

/// The first page's handshake and first data, one question over UDP, one ping; each with its answer.
fn choose(captures: &[Captured], findings: &Findings) -> Vec<Followed> {
    let mut followed = Vec::new();
    let mut follow = |title, ends_at_vip, is_it: Box<dyn Fn(&Transport) -> bool>| {
        followed.push(Followed { title, ends_at_vip, is_it });
    };
    let Some(client) = captures.first() else { return followed };
    if let Some((port, first)) = client.frames.iter().find_map(syn_to_service) {
        follow(
            "connection asked for (SYN)",
            false,
            Box::new(move |packet| is_tcp(packet, true, port, Some(first), "S")),
        );
        follow(
            "connection granted (SYN, ACK)",
            false,
            Box::new(move |packet| is_tcp(packet, false, port, None, "S.")),
        );
        let data = first.wrapping_add(1);
        follow(
            "TLS begins (ClientHello)",
            false,
            Box::new(move |packet| is_tcp(packet, true, port, Some(data), "P.")),
        );
    }
    let asked_from = findings.service_seen_as.as_deref().filter(|text| address_of(text).is_some());
    if let Some(port) = asked_from.and_then(|text| text.trim_end().rsplit(':').next()?.parse::<u16>().ok()) {
        // The other port is another one behind the relay; this client port was used for one question only.
        follow(
            "question over UDP",
            false,
            Box::new(move |packet| matches!(packet, Transport::Udp { source, .. } if *source == port)),
        );
        follow(
            "its answer",
            false,
            Box::new(
                move |packet| matches!(packet, Transport::Udp { destination, .. } if *destination == port),
            ),
        );
    }
    follow("ping of the VIP, answered by the ingress relay: goes no further", true, Box::new(is_ping));
    followed
}

fn syn_to_service(frame: &Frame) -> Option<(u16, u32)> {
    match frame.view().ipv4()?.transport {
        Transport::Tcp { source, destination: HTTPS_PORT, sequence, ref flags, .. } if flags == "S" => {
            Some((source, sequence))
        }
        _ => None,
    }
}

/// `port` is the client's, as source or as destination.
fn is_tcp(packet: &Transport, from_client: bool, port: u16, wanted: Option<u32>, wanted_flags: &str) -> bool {
    let Transport::Tcp { source, destination, sequence, flags, .. } = packet else { return false };
    let own = if from_client { *source } else { *destination };
    own == port && wanted.is_none_or(|wanted| wanted == *sequence) && flags == wanted_flags
}

fn is_ping(packet: &Transport) -> bool {
    const FIRST: [u8; 2] = [0, 1];
    matches!(packet, Transport::Icmp { kind: 0 | 8, code: 0, rest: [_, _, high, low], .. } if [*high, *low] == FIRST)
}

/// Seen once at each point, and in the tunnel, and only there, with outer addresses.
fn went_the_whole_way(rows: &[Row]) -> bool {
    rows.iter().map(|row| row.outer.is_some()).eq([false, true, true, false])
}

/// What each point saw of it, in the order of time; repetitions left out, save an echo's question and answer.
fn rows_of(packet: &Followed, captures: &[Captured]) -> Vec<Row> {
    let most = if packet.ends_at_vip { 2 } else { 1 };
    let is_it = |view: &Ipv4View| (packet.is_it)(&view.inner().unwrap_or(view).transport);
    let seen: Vec<Captured> = captures
        .iter()
        .map(|capture| Captured {
            name: capture.name.clone(),
            frames: capture
                .frames
                .iter()
                .filter(|frame| frame.view().ipv4().is_some_and(is_it))
                .take(most)
                .cloned()
                .collect(),
            lost: 0,
        })
        .collect();
    table::rows(&seen.iter().collect::<Vec<_>>(), |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(source: u16, destination: u16, sequence: u32, flags: &str) -> Transport {
        let flags = flags.to_owned();
        Transport::Tcp {
            source,
            destination,
            sequence,
            acknowledgement: 0,
            flags,
            mss: None,
            header: 20,
            payload: 0,
        }
    }

    #[test]
    fn a_packet_is_recognised_by_what_no_relay_changes() {
        assert!(is_tcp(&tcp(4000, 443, 7, "S"), true, 4000, Some(7), "S"));
        assert!(is_tcp(&tcp(443, 4000, 9, "S."), false, 4000, None, "S."));
        assert!(!is_tcp(&tcp(4000, 443, 8, "S"), true, 4000, Some(7), "S"));
        assert!(!is_tcp(&tcp(4000, 443, 7, "."), true, 4000, Some(7), "S"));
        assert!(!is_tcp(&tcp(4001, 443, 7, "S"), true, 4000, Some(7), "S"));
    }

    #[test]
    fn only_the_first_ping_is_shown() {
        let icmp = |kind, rest| Transport::Icmp { kind, code: 0, rest, quoted: None };
        assert!(is_ping(&icmp(8, [1, 2, 0, 1])) && is_ping(&icmp(0, [1, 2, 0, 1])));
        assert!(!is_ping(&icmp(8, [1, 2, 0, 2])) && !is_ping(&icmp(3, [1, 2, 0, 1])));
    }
}
