//! From lines to bytes, innermost layer first.

use anyhow::{Context, Result, bail};

use super::line::{self, Line};
use super::sum::internet_checksum;
use crate::cases::world;

/// What padding behind the IP packet is made of: seen at once where it must not be.
const PADDING: u8 = 0xdd;

const ICMP: u8 = 1;
const IPIP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Source, destination and protocol of the IPv4 header above a transport header.
#[derive(Clone, Copy)]
pub(super) struct Above {
    source: [u8; 4],
    destination: [u8; 4],
}

/// The bytes of these layers, each of which carries the next one.
pub(super) fn layers(lines: &[Line<'_>], above: Option<Above>) -> Result<Vec<u8>> {
    let Some((line, rest)) = lines.split_first() else { return Ok(Vec::new()) };
    match line.kind {
        "eth" => ethernet(line, rest),
        "ip" => ipv4(line, rest),
        "tcp" => tcp(line, rest, above),
        "udp" => udp(line, rest, above),
        "icmp" => icmp(line, rest),
        "data" => Ok([pattern(line::number(line.word()?)?), layers(rest, above)?].concat()),
        "hex" => Ok([line::bytes(line.word().unwrap_or_default())?, layers(rest, above)?].concat()),
        other => bail!("there is no layer `{other}`"),
    }
}

fn ethernet(line: &Line<'_>, rest: &[Line<'_>]) -> Result<Vec<u8>> {
    line.knows(&[], &["type", "vlan", "pad", "cut"])?;
    let (source, destination) = line.both_ends()?;
    let mut frame = [world::station(destination)?, world::station(source)?].concat();
    if let Some(id) = line.number::<u16>("vlan")? {
        frame.extend([0x81, 0x00]);
        frame.extend(id.to_be_bytes());
    }
    let ether_type: u16 = line.number("type")?.unwrap_or(0x0800);
    frame.extend(ether_type.to_be_bytes());
    frame.extend(layers(rest, None)?);
    if let Some(length) = line.number::<usize>("pad")? {
        frame.resize(frame.len().max(length), PADDING);
    }
    if let Some(length) = line.number::<usize>("cut")? {
        frame.truncate(length);
    }
    Ok(frame)
}

fn ipv4(line: &Line<'_>, rest: &[Line<'_>]) -> Result<Vec<u8>> {
    line.knows(
        &["df", "mf", "reserved"],
        &["ttl", "tos", "id", "off", "len", "ihl", "version", "proto", "options", "sum"],
    )?;
    let (source, destination) = line.both_ends()?;
    let (source, destination) = (world::address(source)?.octets(), world::address(destination)?.octets());
    let payload = layers(rest, Some(Above { source, destination }))?;
    let options = line.text("options").map(line::bytes).transpose()?.unwrap_or_default();
    let length = 20 + options.len() + payload.len();
    let words: u8 = line.number("ihl")?.unwrap_or(5 + options.len().div_ceil(4) as u8);
    let protocol = match (line.number("proto")?, rest.first().map(|next| next.kind)) {
        (Some(protocol), _) => protocol,
        (None, Some("tcp")) => TCP,
        (None, Some("udp")) => UDP,
        (None, Some("icmp")) => ICMP,
        (None, Some("ip")) => IPIP,
        _ => bail!("a line `ip` needs proto= or a layer that tells"),
    };
    let mut flags: u16 = line.number("off")?.unwrap_or(0);
    for (word, bit) in [("df", 0x4000), ("mf", 0x2000), ("reserved", 0x8000)] {
        flags |= if line.has(word) { bit } else { 0 };
    }
    let mut header = vec![line.number::<u8>("version")?.unwrap_or(4) << 4 | words & 15];
    header.push(line.number("tos")?.unwrap_or(0));
    header.extend(line.number::<u16>("len")?.unwrap_or(length as u16).to_be_bytes());
    header.extend(line.number::<u16>("id")?.unwrap_or(0x1d0).to_be_bytes());
    header.extend(flags.to_be_bytes());
    header.extend([line.number("ttl")?.unwrap_or(64), protocol, 0, 0]);
    header.extend(source);
    header.extend(destination);
    header.extend(options);
    let right = internet_checksum(&[&header]);
    put(&mut header, 10, checksum(line, right)?);
    Ok([header, payload].concat())
}

fn tcp(line: &Line<'_>, rest: &[Line<'_>], above: Option<Above>) -> Result<Vec<u8>> {
    line.knows(&[], &["flags", "seq", "ack", "window", "urgent", "options", "offset", "sum"])?;
    let mut options = tcp_options(line.text("options").unwrap_or_default())?;
    options.resize(options.len().next_multiple_of(4), 0);
    let words: u8 = line.number("offset")?.unwrap_or(5 + options.len() as u8 / 4);
    let mut segment = ports(line)?;
    segment.extend(line.number::<u32>("seq")?.unwrap_or(0x0102_0304).to_be_bytes());
    segment.extend(line.number::<u32>("ack")?.unwrap_or(0).to_be_bytes());
    segment.extend([words << 4, tcp_flags(line.text("flags").unwrap_or("A"))?]);
    segment.extend(line.number::<u16>("window")?.unwrap_or(512).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(line.number::<u16>("urgent")?.unwrap_or(0).to_be_bytes());
    segment.extend(options);
    segment.extend(layers(rest, None)?);
    let right = transport_checksum(above, TCP, &segment)?;
    put(&mut segment, 16, checksum(line, right)?);
    Ok(segment)
}

fn udp(line: &Line<'_>, rest: &[Line<'_>], above: Option<Above>) -> Result<Vec<u8>> {
    line.knows(&[], &["len", "sum"])?;
    let payload = layers(rest, None)?;
    let mut datagram = ports(line)?;
    let length: u16 = line.number("len")?.unwrap_or(8 + payload.len() as u16);
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let right = match transport_checksum(above, UDP, &datagram)? {
        0 => 0xffff,
        sum => sum,
    };
    put(&mut datagram, 6, checksum(line, right)?);
    Ok(datagram)
}

fn icmp(line: &Line<'_>, rest: &[Line<'_>]) -> Result<Vec<u8>> {
    const KINDS: &[(&str, u8, u8)] = &[
        ("echo_reply", 0, 0),
        ("unreachable", 3, 1),
        ("frag_needed", 3, 4),
        ("quench", 4, 0),
        ("redirect", 5, 1),
        ("echo", 8, 0),
        ("ttl_exceeded", 11, 0),
        ("parameter", 12, 0),
        ("timestamp", 13, 0),
    ];
    let kinds: Vec<&str> = KINDS.iter().map(|(name, ..)| *name).collect();
    line.knows(&kinds, &["code", "rest", "mtu", "quote", "sum"])?;
    let word = line.word()?;
    let (_, kind, code) =
        KINDS.iter().find(|(name, ..)| *name == word).with_context(|| format!("no ICMP `{word}`"))?;
    let mut payload = layers(rest, None)?;
    if let Some(length) = line.number::<usize>("quote")? {
        payload.truncate(length);
    }
    let mut message = vec![*kind, line.number("code")?.unwrap_or(*code), 0, 0];
    let rest: u32 = line.number("rest")?.unwrap_or(0);
    message.extend(line.number::<u32>("mtu")?.unwrap_or(rest).to_be_bytes());
    message.extend(payload);
    let right = internet_checksum(&[&message]);
    put(&mut message, 2, checksum(line, right)?);
    Ok(message)
}

/// The checksum of a segment with its pseudo-header (RFC 9293 section 3.1, RFC 768).
fn transport_checksum(above: Option<Above>, protocol: u8, segment: &[u8]) -> Result<u16> {
    let Some(Above { source, destination }) = above else {
        bail!("a transport layer needs a line `ip` above")
    };
    let length = u16::try_from(segment.len()).context("a segment is too long")?.to_be_bytes();
    let pseudo = [&source[..], &destination, &[0, protocol], &length].concat();
    Ok(internet_checksum(&[&pseudo, segment]))
}

/// What the line says: nothing (the right one), `bad`, or a number.
fn checksum(line: &Line<'_>, right: u16) -> Result<u16> {
    match line.text("sum") {
        None => Ok(right),
        Some("bad") => Ok(right ^ 0x0101),
        Some(text) => line::number(text),
    }
}

fn ports(line: &Line<'_>) -> Result<Vec<u8>> {
    let (source, destination) = line.both_ends()?;
    let (source, destination) = (line::number::<u16>(source)?, line::number::<u16>(destination)?);
    Ok([source.to_be_bytes(), destination.to_be_bytes()].concat())
}

fn tcp_flags(letters: &str) -> Result<u8> {
    letters.chars().try_fold(0, |flags, letter| {
        let bit = "FSRPAUEC".find(letter).with_context(|| format!("there is no TCP flag {letter}"))?;
        Ok(flags | 1 << bit)
    })
}

fn tcp_options(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match name {
            "end" => bytes.push(0),
            "nop" => bytes.push(1),
            "mss" => bytes.extend([&[2, 4][..], &line::number::<u16>(value)?.to_be_bytes()].concat()),
            "ws" => bytes.extend([3, 3, line::number(value)?]),
            "sack" => bytes.extend([4, 2]),
            "ts" => bytes.extend([8, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
            "raw" => bytes.extend(line::bytes(value)?),
            other => bail!("there is no TCP option `{other}`"),
        }
    }
    Ok(bytes)
}

/// Bytes that differ from their neighbours, so that nothing moves unseen.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(7).wrapping_add(3)).collect()
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
