//! Packets cut short: at each length from the Ethernet header on, nothing is sent and nothing is touched.

use anyhow::{Context, Result};
use relay_abi::Verdict;

use super::case::Case;
use super::judge::{Observed, Runner};
use super::relay::Relay;

/// The shortest frame that a device hands over.
const SHORTEST: usize = 14;
/// Of packets that are longer, what is behind this is cut once.
const LONG: usize = 160;

/// Cuts the packets of a case at each length and runs what is left; all that is wrong goes to `problems`.
pub fn cut(runner: &mut impl Runner, case: &Case, problems: &mut Vec<String>) -> Result<Vec<Observed>> {
    let relay = Relay::new(&case.relay, &case.with, runner.machine())?;
    let mut seen = Vec::new();
    runner.prepare(case, &relay)?;
    for step in &case.steps {
        let frame = step.frame()?;
        // What is behind the packet is padding, and may go.
        let end = frame.len().min(end_of_packet(&frame));
        for length in (SHORTEST..end.min(LONG)).chain((end > LONG).then_some(end - 1)) {
            let part = &frame[..length];
            let observed = runner
                .run(&relay, &step.device, part)
                .with_context(|| format!("{}: {length} bytes", case.name))?;
            let mut wrong = observed.faults.clone();
            if !matches!(observed.verdict, Some(Verdict::Drop | Verdict::Pass)) {
                wrong.push("it was sent".to_owned());
            }
            if observed.bytes != part {
                wrong.push("it was changed".to_owned());
            }
            let what = |wrong| format!("{}: {wrong}, cut at {length} bytes\n{}", case.name, step.packet);
            problems.extend(wrong.into_iter().map(what));
            seen.push(observed);
        }
    }
    Ok(seen)
}

/// Where the packet of a frame ends by its own total length; that of no IPv4 packet at the frame's end.
fn end_of_packet(frame: &[u8]) -> usize {
    match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, _, _, high, low, ..] => {
            SHORTEST + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => frame.len(),
    }
}
