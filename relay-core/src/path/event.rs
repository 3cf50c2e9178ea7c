//! Samples of dropped packets, within a budget for each reason and CPU, so that an attack floods no log.

use relay_abi::Tally;
use relay_abi::bucket::{Bucket, TOKEN};
use relay_abi::event::EventBudget;

use crate::Tables;

/// Reports a packet dropped for the reason with a code, in a frame of `length` bytes, if the reason has budget left.
#[inline(always)]
pub fn report<T: Tables>(tables: &T, code: u8, length: usize) {
    let Some(image) = tables.image() else { return };
    let (rate, burst) = (image.globals.event_rate as u64, image.globals.event_burst as u64);
    let Some(budget) = tables.event_budget(code) else { return };
    let now = tables.jiffies();
    // Longer than any budget takes to fill, and short enough not to overflow.
    let elapsed = now.wrapping_sub(budget.bucket.refilled).min(1 << 20);
    let tokens = budget.bucket.tokens.saturating_add(elapsed * rate).min(burst);
    let bucket = Bucket { refilled: now, tokens };
    if tokens < TOKEN {
        let suppressed = budget.suppressed + 1;
        tables.set_event_budget(code, EventBudget { bucket, suppressed });
        return;
    }
    let bucket = Bucket { tokens: tokens - TOKEN, ..bucket };
    tables.set_event_budget(code, EventBudget { bucket, suppressed: 0 });
    if !tables.report_dropped(code, length, budget.suppressed) {
        tables.tally(Tally::EventLost);
    }
}
