//! Does any frame carry a hidden address, in any header, quote or payload? Every byte of every frame is looked at.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Result, bail};

use crate::capture::Frame;
use crate::packet_view::{FrameView, Transport};

/// A scan fails by pure chance at most this often: an encrypted payload holds every four bytes now and then.
const CHANCE_OF_A_FALSE_ALARM: f64 = 1e-4;
/// Bytes of the ports at the start of a TCP header.
const PORTS: usize = 4;
/// At most this many leaks are kept in full; the rest is counted.
const LEAKS_SHOWN: usize = 20;

/// How an address can be written into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bytes,
    BytesReversed,
    Dotted,
    Hexadecimal,
}

/// A hidden address found.
#[derive(Clone, Debug)]
pub struct Leak {
    /// Position of the frame in the capture, from 0.
    pub frame: usize,
    pub offset: usize,
    pub address: Ipv4Addr,
    pub form: Form,
    pub outgoing: bool,
    pub view: FrameView,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct HidingReport {
    pub frames: usize,
    pub bytes: u64,
    /// How often a hidden address was seen where no chance explains it.
    pub seen: usize,
    /// The first of those.
    pub leaks: Vec<Leak>,
    /// Four equal bytes behind the ports of a TCP packet, where numbers and TLS are random.
    pub by_chance: Vec<Leak>,
    /// How many of those randomness explains.
    pub by_chance_allowed: usize,
}

impl HidingReport {
    pub fn is_clean(&self) -> bool {
        self.seen == 0 && self.by_chance.len() <= self.by_chance_allowed
    }

    /// How often a client saw a hidden address.
    pub fn seen_by_client(&self) -> usize {
        if self.by_chance.len() > self.by_chance_allowed {
            self.seen + self.by_chance.len()
        } else {
            self.seen
        }
    }

    pub fn must_be_clean(&self) -> Result<()> {
        if self.is_clean() {
            return Ok(());
        }
        let all = self.leaks.iter().chain(&self.by_chance);
        let lines: Vec<String> = all.map(|leak| format!("  {leak}")).collect();
        bail!(
            "hidden addresses seen on the client side {} times in {} frames ({} bytes):\n{}",
            self.seen_by_client(),
            self.frames,
            self.bytes,
            lines.join("\n")
        );
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.outgoing { "sent by the client" } else { "sent to the client" };
        write!(
            formatter,
            "frame {} ({direction}): {} as {:?} at byte {}: {}",
            self.frame, self.address, self.form, self.offset, self.view
        )
    }
}

/// Scans frames for `hidden`. `only_arriving` leaves out what the client itself sent: for tests in which it forges packets.
pub fn scan(frames: &[Frame], hidden: &[Ipv4Addr], only_arriving: bool) -> HidingReport {
    let patterns = Patterns::of(hidden);
    let mut report = HidingReport::default();
    let mut random_bytes = 0_u64;
    for (position, frame) in frames.iter().enumerate() {
        if only_arriving && frame.outgoing {
            continue;
        }
        report.frames += 1;
        report.bytes += frame.bytes.len() as u64;
        let random = random_part(&frame.bytes);
        random_bytes += (frame.bytes.len() - random) as u64;
        patterns.find(&frame.bytes, |offset, address, form| {
            let leak = || Leak {
                frame: position,
                offset,
                address,
                form,
                outgoing: frame.outgoing,
                view: FrameView::of(&frame.bytes),
            };
            let as_bytes = matches!(form, Form::Bytes | Form::BytesReversed);
            let spelled = |field: &usize| (offset..offset + 4).contains(field);
            if as_bytes && mostly_zero_fields(&frame.bytes).iter().any(spelled) {
                return;
            }
            if offset >= random && as_bytes {
                report.by_chance.push(leak());
            } else {
                report.seen += 1;
                if report.leaks.len() < LEAKS_SHOWN {
                    report.leaks.push(leak());
                }
            }
        });
    }
    report.by_chance_allowed = allowed_by_chance(random_bytes, 2 * hidden.len());
    report
}

/// Where the random part of a TCP packet starts: sequence numbers, time stamps, payload. The length of other frames.
fn random_part(frame: &[u8]) -> usize {
    let view = FrameView::of(frame);
    let Some(packet) = view.ipv4() else { return frame.len() };
    match packet.transport {
        Transport::Tcp { header, payload, .. } => frame.len().saturating_sub(payload + header - PORTS),
        Transport::Udp { .. }
        | Transport::Icmp { .. }
        | Transport::Tunnel(_)
        | Transport::Ports { .. }
        | Transport::Other => frame.len(),
    }
}

/// Offsets of two-byte fields that are zero in nearly every packet, between fields of which one is random: what stands there
/// spells addresses like 10.0.0.1 by itself, once in 256 packets. The fragment offset, and the urgent pointer of TCP.
fn mostly_zero_fields(frame: &[u8]) -> Vec<usize> {
    const ETHERNET: usize = 14;
    const FRAGMENT_OFFSET: usize = 6;
    const URGENT_POINTER: usize = 18;
    const ICMP: usize = 8;
    let mut fields = Vec::new();
    let view = FrameView::of(frame);
    let mut packet = view.ipv4();
    let mut start = ETHERNET;
    while let Some(header) = packet {
        fields.push(start + FRAGMENT_OFFSET);
        start += header.header_length;
        packet = match &header.transport {
            Transport::Tcp { .. } => {
                fields.push(start + URGENT_POINTER);
                None
            }
            Transport::Icmp { quoted, .. } => {
                start += ICMP;
                quoted.as_deref()
            }
            Transport::Tunnel(inner) => Some(inner),
            Transport::Udp { .. } | Transport::Ports { .. } | Transport::Other => None,
        };
    }
    fields.iter().flat_map(|field| [*field, field + 1]).collect()
}

/// The least number that random bytes exceed with less than the accepted chance (Poisson).
fn allowed_by_chance(bytes: u64, patterns: usize) -> usize {
    let mean = bytes as f64 * patterns as f64 / 2_f64.powi(32);
    let mut term = (-mean).exp();
    let mut at_most = term;
    let mut count = 0;
    while 1.0 - at_most > CHANCE_OF_A_FALSE_ALARM {
        count += 1;
        term *= mean / count as f64;
        at_most += term;
    }
    count
}

/// All spellings of all addresses, found in one pass.
struct Patterns {
    all: Vec<(Vec<u8>, Ipv4Addr, Form)>,
    /// Whether a spelling starts with these two bytes.
    starts: Vec<bool>,
}

impl Patterns {
    fn of(hidden: &[Ipv4Addr]) -> Self {
        let mut all = Vec::new();
        for address in hidden {
            let bytes = address.octets();
            let mut reversed = bytes;
            reversed.reverse();
            let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            all.push((bytes.to_vec(), *address, Form::Bytes));
            // Backwards only where chance seldom spells it: fields end and start with zeros.
            if !bytes.windows(2).any(|pair| pair == [0, 0]) {
                all.push((reversed.to_vec(), *address, Form::BytesReversed));
            }
            all.push((address.to_string().into_bytes(), *address, Form::Dotted));
            all.push((hexadecimal.to_uppercase().into_bytes(), *address, Form::Hexadecimal));
            all.push((hexadecimal.into_bytes(), *address, Form::Hexadecimal));
        }
        let mut starts = vec![false; 1 << 16];
        for (pattern, _, _) in &all {
            if let Some(first) = pattern.first_chunk() {
                starts[usize::from(u16::from_be_bytes(*first))] = true;
            }
        }
        Self { all, starts }
    }

    fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, Ipv4Addr, Form)) {
        // A loop that is fast without optimisation too: captures are large, and tests are debug builds.
        let mut window = 0_usize;
        let mut next = 0;
        while next < bytes.len() {
            window = (window << 8 | bytes[next] as usize) & 0xffff;
            next += 1;
            if next < 2 || !self.starts[window] {
                continue;
            }
            let offset = next - 2;
            for (pattern, address, form) in &self.all {
                if bytes[offset..].starts_with(pattern) && !is_part_of_number(bytes, offset, pattern, *form) {
                    found(offset, *address, *form);
                }
            }
        }
    }
}

/// `10.0.0.1` inside `10.0.0.12` is another address.
fn is_part_of_number(bytes: &[u8], offset: usize, pattern: &[u8], form: Form) -> bool {
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    form == Form::Dotted && (digit(offset.checked_sub(1)) || digit(Some(offset + pattern.len())))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const HIDDEN: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 51);

    fn frame(source: [u8; 4], payload: &[u8], tcp: bool) -> Frame {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, [198, 51, 100, 2], 64);
        if tcp {
            builder
                .tcp(443, 4000, 1, 1000)
                .options_raw(&[1, 1, 1, 1])
                .unwrap()
                .write(&mut bytes, payload)
                .unwrap();
        } else {
            builder.udp(443, 4000).write(&mut bytes, payload).unwrap();
        }
        Frame { nanoseconds: 0, outgoing: false, bytes: bytes.into() }
    }

    fn forms(payload: &[u8]) -> Vec<Form> {
        let report = scan(&[frame([192, 168, 100, 10], payload, false)], &[HIDDEN], false);
        report.leaks.iter().map(|leak| leak.form).collect()
    }

    #[test]
    fn finds_an_address_in_a_header() {
        let report = scan(&[frame(HIDDEN.octets(), b"", false)], &[HIDDEN], false);
        assert_eq!((report.seen, report.leaks[0].offset), (1, 26));
        assert!(
            report.must_be_clean().unwrap_err().to_string().contains("192.168.100.51 as Bytes at byte 26")
        );
    }

    #[test]
    fn finds_every_spelling_in_a_payload() {
        assert_eq!(forms(b"from 192.168.100.51:443"), [Form::Dotted]);
        assert_eq!(forms(b"192.168.100.510 1192.168.100.51"), []);
        assert_eq!(forms(b"c0a86433 C0A86433"), [Form::Hexadecimal, Form::Hexadecimal]);
        assert_eq!(forms(&[1, 192, 168, 100, 51]), [Form::Bytes]);
        assert_eq!(forms(&[51, 100, 168, 192]), [Form::BytesReversed]);
    }

    #[test]
    fn chance_excuses_bytes_in_a_large_stream_only() {
        let hit = frame([192, 168, 100, 10], &HIDDEN.octets(), true);
        let noise = frame([192, 168, 100, 10], &[0; 60_000], true);
        assert!(!scan(std::slice::from_ref(&hit), &[HIDDEN], false).is_clean());
        let mut many = vec![noise; 20];
        many.push(hit);
        let report = scan(&many, &[HIDDEN], false);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.by_chance.len(), report.by_chance_allowed), (1, 1));
    }

    #[test]
    fn zero_fields_do_not_spell_addresses() {
        let low = Ipv4Addr::new(10, 0, 0, 1);
        let mut hit = frame([192, 168, 100, 10], b"", true);
        // Checksum, urgent pointer, and the first option.
        hit.bytes[51..55].copy_from_slice(&low.octets());
        assert_eq!(scan(std::slice::from_ref(&hit), &[low], false).seen_by_client(), 0);
        hit.bytes[30..34].copy_from_slice(&low.octets());
        assert_eq!(scan(&[hit], &[low], false).seen_by_client(), 1);
    }

    #[test]
    fn text_is_never_chance() {
        let hit = frame([192, 168, 100, 10], b"192.168.100.51", true);
        assert_eq!(scan(&[hit], &[HIDDEN], false).seen, 1);
    }
}
