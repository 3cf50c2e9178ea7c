//! How much the relay says of its own accord. ICMP errors have a bucket for the relay and one for the sender's /24, both for each
//! CPU, for a limit on the relay alone would tell strangers how much others use of it (RFC 1812 section 4.3.2.8, RFC 4443
//! section 2.4(f)).

use relay_abi::Ipv4;
use relay_abi::bucket::{Bucket, TOKEN};
use relay_abi::image::Globals;
use relay_abi::limits::ICMP_BUCKETS;

use crate::Tables;

/// Takes one token for an answer to `sender`; false when there is none.
#[inline(always)]
pub(super) fn take<T: Tables>(tables: &T, globals: &Globals, sender: Ipv4) -> bool {
    let now = tables.jiffies();
    let prefix = (sender.value() >> 8).wrapping_mul(0x9e37_79b1);
    let prefix = 1 + (prefix >> 16) % (ICMP_BUCKETS - 1);
    let (Some(relay), Some(own)) = (tables.bucket(0), tables.bucket(prefix)) else { return false };
    let [relay_rate, own_rate] = globals.icmp_rate;
    let [relay_burst, own_burst] = globals.icmp_burst;
    let relay = refill(relay, now, relay_rate, relay_burst);
    let own = refill(own, now, own_rate, own_burst);
    if relay.tokens < TOKEN || own.tokens < TOKEN {
        return false;
    }
    tables.set_bucket(0, Bucket { tokens: relay.tokens - TOKEN, ..relay });
    tables.set_bucket(prefix, Bucket { tokens: own.tokens - TOKEN, ..own });
    true
}

/// Takes one token of a bucket of its own; false when there is none.
#[inline(always)]
pub(super) fn take_from<T: Tables>(tables: &T, index: u32, rate: u32, burst: u32) -> bool {
    let Some(bucket) = tables.bucket(index) else { return false };
    let bucket = refill(bucket, tables.jiffies(), rate, burst);
    if bucket.tokens < TOKEN {
        return false;
    }
    tables.set_bucket(index, Bucket { tokens: bucket.tokens - TOKEN, ..bucket });
    true
}

#[inline(always)]
fn refill(bucket: Bucket, now: u64, rate: u32, burst: u32) -> Bucket {
    // Longer than any bucket takes to fill, and short enough not to overflow.
    let elapsed = now.wrapping_sub(bucket.refilled).min(1 << 20);
    let tokens = bucket.tokens.saturating_add(elapsed * rate as u64).min(burst as u64);
    Bucket { refilled: now, tokens }
}
