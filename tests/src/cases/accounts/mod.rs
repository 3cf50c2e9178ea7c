//! What a relay keeps of clients: accounts and limits, in words as cases have them, and in those of the tables.

mod books;
mod client;
mod counts;
mod memory;
mod prefix;
mod service;
mod words;

pub use books::{difference, wrong};
pub use client::Client;
pub use counts::Counts;
pub use prefix::Prefix;
pub use service::{Gone, Service};
pub use words::{Seen, Words};

use relay_abi::limit::DUE_SHIFT;

/// Ticks, and seconds, by which two times may differ: the kernel's clock goes on between two looks.
const SLACK: u64 = 2;

/// The time as the tables have it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub jiffies: u64,
    pub jiffies_per_second: u32,
    /// As in [`relay_abi::image::Globals::tick_shift`].
    pub tick_shift: u32,
}

impl Clock {
    fn tick(self) -> u64 {
        self.jiffies >> self.tick_shift
    }

    /// The seconds that a due time is ahead.
    fn ahead(self, due: u64) -> u64 {
        let jiffies = due.saturating_sub(self.jiffies << DUE_SHIFT) >> DUE_SHIFT;
        jiffies.div_ceil(u64::from(self.jiffies_per_second))
    }

    /// The due time that is so many seconds ahead; 0 for none.
    fn due(self, seconds: u64) -> u64 {
        let jiffies = self.jiffies + seconds * u64::from(self.jiffies_per_second);
        if seconds == 0 { 0 } else { jiffies << DUE_SHIFT }
    }
}

fn close(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= SLACK
}

fn all_close(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).all(|(a, b)| close(*a, *b))
}
