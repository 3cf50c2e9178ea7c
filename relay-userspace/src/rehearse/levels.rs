//! How full a limit is.

use serde::Serialize;

use crate::clients::{Quota, Used};

/// A limit, whose it is, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// `client`, `prefix` or `service`.
    pub scope: &'static str,
    /// The limit.
    #[serde(flatten)]
    pub used: Used,
    /// Whether the next packet is over it.
    pub over: bool,
}

impl Level {
    pub(super) fn of(scope: &'static str, quota: Quota, due: [u64; 3]) -> impl Iterator<Item = Self> {
        quota.used_by(due).map(move |used| Self { scope, used, over: used.is_over() })
    }
}
