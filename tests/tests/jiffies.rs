//! The clock of the packet path, as user space reckons it, against the kernel's own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use relay_tests::privileged;
use relay_userspace::jiffies::{self, Counter};

#[test]
fn user_space_knows_the_kernels_jiffies() -> Result<()> {
    privileged("user_space_knows_the_kernels_jiffies", || {
        let hz = jiffies::jiffies_per_second().context("ask for the tick")?;
        let counter = Counter::open().context("load the programs that read the kernel's counter")?;
        let mut worst = 0;
        for _ in 0..100 {
            let before = jiffies::now(hz);
            let kernel = counter.read().context("read the kernel's counter")?;
            let after = jiffies::now(hz);
            worst = worst.max(before.saturating_sub(kernel)).max(kernel.saturating_sub(after));
            std::thread::sleep(Duration::from_millis(7));
        }
        println!("{hz} jiffies a second, now {}, at most {worst} off", jiffies::now(hz));
        // A busy machine handles a tick late.
        ensure!(worst <= 2 + u64::from(hz) / 50, "{worst} jiffies off");
        Ok(())
    })
}
