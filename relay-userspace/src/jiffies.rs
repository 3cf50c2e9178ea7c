//! How long the kernel's tick is. Nothing in procfs says it; the resolution of the coarse clock does.

use std::io;
use std::mem::MaybeUninit;

/// Ticks of the running kernel in a second (CONFIG_HZ): 100, 250, 300 or 1000.
pub fn jiffies_per_second() -> io::Result<u32> {
    let mut resolution = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is valid for one timespec, which the kernel writes whole when it returns 0.
    let status = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, resolution.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, so the value is initialised.
    let resolution = unsafe { resolution.assume_init() };
    from_resolution(resolution.tv_sec, resolution.tv_nsec)
        .ok_or_else(|| io::Error::other("the coarse clock's resolution is no tick of a second"))
}

/// The kernel rounds the tick to whole nanoseconds: 300 Hz is 3333333 ns.
fn from_resolution(seconds: i64, nanoseconds: i64) -> Option<u32> {
    const SECOND: i64 = 1_000_000_000;
    if seconds != 0 || !(1..=SECOND).contains(&nanoseconds) {
        return None;
    }
    u32::try_from((SECOND + nanoseconds / 2) / nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configurable_tick_is_recognised() {
        for (nanoseconds, hz) in [(10_000_000, 100), (4_000_000, 250), (3_333_333, 300), (1_000_000, 1000)] {
            assert_eq!(from_resolution(0, nanoseconds), Some(hz));
        }
        assert_eq!(from_resolution(1, 0), None);
        assert_eq!(from_resolution(0, 0), None);
    }

    #[test]
    fn the_running_kernel_has_a_tick() {
        assert!([100, 250, 300, 1000].contains(&jiffies_per_second().unwrap()));
    }
}
