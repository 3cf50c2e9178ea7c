//! Packets at several points of the way as one readable table, with outer and inner addresses side by side.

use crate::capture::Captured;
use crate::packet_view::{FrameView, Ipv4View};

/// One packet at one point.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// Since the first packet of the table.
    pub microseconds: u64,
    pub point: String,
    /// The addresses of the tunnel, if the packet was in it.
    pub outer: Option<String>,
    /// The addresses of the packet itself.
    pub inner: String,
    /// Protocol, ports and flags.
    pub what: String,
    pub ttl: u8,
    pub bytes: u16,
}

/// The IPv4 packets of several captures in order of time. `keep` sees the packet itself, outside any tunnel header.
pub fn rows(captures: &[&Captured], keep: impl Fn(&Ipv4View) -> bool) -> Vec<Row> {
    let mut timed: Vec<(u64, Row)> = Vec::new();
    for capture in captures {
        for frame in &capture.frames {
            let FrameView::Ipv4(packet) = frame.view() else { continue };
            let inner = packet.inner().unwrap_or(&packet);
            if keep(inner) {
                timed.push((frame.nanoseconds, row(&capture.name, &packet, inner)));
            }
        }
    }
    timed.sort_by_key(|(time, _)| *time);
    let start = timed.first().map_or(0, |(time, _)| *time);
    timed
        .into_iter()
        .map(|(time, row)| Row { microseconds: time.saturating_sub(start) / 1000, ..row })
        .collect()
}

/// The rows as aligned text, as network tools print tables.
pub fn text(rows: &[Row]) -> String {
    let header = ["us", "seen at", "outer addresses", "inner addresses", "packet", "ttl", "bytes"];
    let mut lines: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        vec![
            row.microseconds.to_string(),
            row.point.clone(),
            row.outer.clone().unwrap_or_else(|| "-".to_owned()),
            row.inner.clone(),
            row.what.clone(),
            row.ttl.to_string(),
            row.bytes.to_string(),
        ]
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 | 5 | 6 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(point: &str, packet: &Ipv4View, inner: &Ipv4View) -> Row {
    let ends = |packet: &Ipv4View| format!("{} > {}", packet.source, packet.destination);
    Row {
        microseconds: 0,
        point: point.to_owned(),
        outer: packet.inner().is_some().then(|| ends(packet)),
        inner: ends(inner),
        what: inner.transport.to_string(),
        ttl: packet.ttl,
        bytes: packet.total_length,
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;
    use crate::capture::Frame;

    fn captured(name: &str, nanoseconds: u64) -> Captured {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([198, 51, 100, 2], [192, 168, 100, 10], 64)
            .udp(4000, 53)
            .write(&mut bytes, b"hello")
            .unwrap();
        Captured {
            name: name.to_owned(),
            frames: vec![Frame { nanoseconds, outgoing: false, bytes: bytes.into() }],
            lost: 0,
        }
    }

    #[test]
    fn rows_are_in_order_of_time_and_columns_line_up() {
        let (late, early) = (captured("service", 9_000), captured("client side", 2_000));
        let rows = rows(&[&late, &early], |_| true);
        assert_eq!(
            text(&rows),
            "us  seen at      outer addresses  inner addresses                packet          ttl  bytes\n\
             \x200  client side  -                198.51.100.2 > 192.168.100.10  UDP 4000>53 +5   64     33\n\
             \x207  service      -                198.51.100.2 > 192.168.100.10  UDP 4000>53 +5   64     33\n"
        );
    }

    #[test]
    fn what_is_not_kept_is_left_out() {
        assert!(rows(&[&captured("client side", 0)], |packet| packet.ttl == 1).is_empty());
    }
}
