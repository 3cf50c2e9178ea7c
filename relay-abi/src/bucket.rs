//! Token bucket of generated ICMP errors (RFC 1812 section 4.3.2.8).

use bytemuck::{Pod, Zeroable};

/// Tokens in units of 1 / [`TOKEN`], and when they were last counted. One per CPU: no two CPUs share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Bucket {
    /// The clock, in jiffies, when `tokens` was last refilled.
    pub refilled: u64,
    /// Tokens left, in units of 1 / [`TOKEN`].
    pub tokens: u64,
}

/// One token.
pub const TOKEN: u64 = 1 << 16;
