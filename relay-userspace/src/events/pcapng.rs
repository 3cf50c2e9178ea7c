//! Dropped packets as a pcapng file (draft-ietf-opsawg-pcapng) that Wireshark, tshark and tcpdump read.
//!
//! Each block is written by one call, so that a file that ends early is good up to its last packet.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use relay_abi::Reason;
use relay_abi::event::EVENT_BYTES;

use super::record::{Dropped, Record, What};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const LINK_ETHERNET: u16 = 1;

const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_TIME: u16 = 9;
const SECTION_APPLICATION: u16 = 4;
const PACKET_NUMBER: u16 = 5;
const PACKET_VERDICT: u16 = 7;
/// Powers of ten of a second.
const NANOSECONDS: u8 = 9;
/// Who gave a verdict: an XDP program.
const VERDICT_XDP: u8 = 2;
const XDP_DROP: u64 = 1;

/// Writes dropped packets to a file or pipe.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Interfaces that have a block, by index, and their number in the file.
    interfaces: HashMap<u32, u32>,
}

impl<W: Write> Writer<W> {
    /// Starts a file.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut section = Block::new(SECTION);
        section.u32(BYTE_ORDER).u16(1).u16(0).u64(u64::MAX);
        section.option(SECTION_APPLICATION, concat!("xdp-relay ", env!("CARGO_PKG_VERSION")).as_bytes());
        section.write(&mut out)?;
        Ok(Self { out, interfaces: HashMap::new() })
    }

    /// Adds a packet; other records have none. Says whether there was one.
    pub fn add(&mut self, record: &Record) -> io::Result<bool> {
        let What::Drop(dropped) = &record.what else { return Ok(false) };
        let interface = self.interface(dropped)?;
        let since_1970 = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        let captured = u32::try_from(dropped.start.len()).unwrap_or(u32::MAX);
        let mut packet = Block::new(PACKET);
        packet.u32(interface).u32((time >> 32) as u32).u32(time as u32);
        packet.u32(captured).u32(dropped.length_bytes.max(captured)).padded(&dropped.start);
        packet.option(COMMENT, comment(record, dropped).as_bytes());
        packet.option(PACKET_NUMBER, &record.sequence.to_le_bytes());
        let mut verdict = vec![VERDICT_XDP];
        verdict.extend(XDP_DROP.to_le_bytes());
        packet.option(PACKET_VERDICT, &verdict);
        packet.write(&mut self.out)?;
        self.out.flush()?;
        Ok(true)
    }

    fn interface(&mut self, dropped: &Dropped) -> io::Result<u32> {
        if let Some(number) = self.interfaces.get(&dropped.ifindex) {
            return Ok(*number);
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let mut block = Block::new(INTERFACE);
        block.u16(LINK_ETHERNET).u16(0).u32(EVENT_BYTES as u32);
        if let Some(name) = &dropped.interface {
            block.option(INTERFACE_NAME, name.as_bytes());
        }
        block.option(INTERFACE_TIME, &[NANOSECONDS]);
        block.write(&mut self.out)?;
        self.interfaces.insert(dropped.ifindex, number);
        Ok(number)
    }
}

/// Why it was dropped, for a person.
fn comment(record: &Record, dropped: &Dropped) -> String {
    let help = Reason::ALL.iter().find(|reason| reason.label() == dropped.reason).map(|reason| reason.help());
    let mut text = dropped.reason.clone().into_owned();
    if let Some(help) = help {
        text.push_str(": ");
        text.push_str(help);
    }
    if let Some(service) = &dropped.service {
        text.push_str(&format!(" Service {service}."));
    }
    text.push_str(&format!(" Relay {}.", record.node));
    if dropped.suppressed_events > 0 {
        text.push_str(&format!(
            " {} more for this reason were not captured before it.",
            dropped.suppressed_events
        ));
    }
    text
}

/// A block while it is made: little endian, filled up to 32 bits.
struct Block {
    bytes: Vec<u8>,
    has_options: bool,
}

impl Block {
    fn new(kind: u32) -> Self {
        let mut block = Self { bytes: Vec::with_capacity(512), has_options: false };
        // The length comes last.
        block.u32(kind).u32(0);
        block
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.u16(code).u16(length).padded(&value[..usize::from(length)]);
        self.has_options = true;
    }

    fn write(mut self, out: &mut impl Write) -> io::Result<()> {
        if self.has_options {
            self.u32(0);
        }
        let length = u32::try_from(self.bytes.len() + 4).map_err(io::Error::other)?;
        self.u32(length);
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        out.write_all(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::sample::{dropped, record};
    use super::*;

    /// Walks the blocks: kind and body, checking what every block must have.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = word(&bytes[4..]) as usize;
            assert_eq!((length % 4, word(&bytes[length - 4..]) as usize), (0, length));
            found.push((word(bytes), &bytes[8..length - 4]));
            bytes = &bytes[length..];
        }
        found
    }

    #[test]
    fn a_file_has_a_section_its_interfaces_and_its_packets() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        let first = record(1, dropped("blocked", [198, 51, 100, 2]));
        let other = record(2, Dropped { ifindex: 3, interface: None, ..dropped("land", [198, 51, 100, 2]) });
        for record in [&first, &other, &first] {
            assert!(writer.add(record).unwrap());
        }
        let gap = Record { what: What::Missed { missed_records: 1 }, ..first };
        assert!(!writer.add(&gap).unwrap());
        let blocks = blocks(&bytes);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET, INTERFACE, PACKET, PACKET]);
        let packet = blocks[2].1;
        assert_eq!(packet[..4], [0; 4]);
        assert_eq!(packet[12..20], [4, 0, 0, 0, 0xea, 5, 0, 0], "4 bytes of 1514");
        assert_eq!(packet[20..24], [0, 1, 0xfe, 0xff]);
        assert_eq!(blocks[4].1[..4], [1, 0, 0, 0], "the second interface");
        let nanoseconds = u64::from(u32::from_le_bytes(packet[4..8].try_into().unwrap())) << 32
            | u64::from(u32::from_le_bytes(packet[8..12].try_into().unwrap()));
        assert_eq!(nanoseconds, 1_800_000_000_123_456_789);
    }

    #[test]
    fn the_comment_explains() {
        let mut dropped = dropped("blocked", [198, 51, 100, 2]);
        dropped.suppressed_events = 9;
        let record = record(1, dropped.clone());
        assert_eq!(
            comment(&record, &dropped),
            "blocked: The client is on a blocklist, or an administrator blocked it. Service web. Relay ingress-1. \
             9 more for this reason were not captured before it."
        );
    }

    /// A pipe or disk that is full after some bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_reported() {
        assert!(Writer::new(Full(10)).is_err());
        let mut writer = Writer::new(Full(150)).unwrap();
        assert!(writer.add(&record(1, dropped("blocked", [0; 4]))).is_err());
    }
}
