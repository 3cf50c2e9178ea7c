//! Packets in words: one line a layer, lengths and checksums worked out unless a line says otherwise.
//!
//! ```text
//! eth client_mac > edge_mac
//! ip client > vip ttl=64 df
//! tcp 40000 > 443 flags=S options=mss:1460,nop,ws:7
//! data 32
//! ```
//!
//! Nothing here is shared with the relay: sums are worked out in full, over the bytes as they stand.

mod build;
mod line;
mod sum;

use anyhow::{Context, Result, bail};

pub use line::Line;
pub use sum::{internet_checksum, internet_sum};

/// The frame that these lines describe.
pub fn frame(text: &str) -> Result<Vec<u8>> {
    let lines: Vec<Line<'_>> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Line::new).collect::<Result<_>>()?;
    let Some(first) = lines.first() else { bail!("a packet needs at least one line") };
    if first.kind != "eth" {
        bail!("a frame starts with a line `eth`, not `{}`", first.kind);
    }
    build::layers(&lines, None).with_context(|| format!("build the packet\n{text}"))
}
