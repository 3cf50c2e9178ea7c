//! The kernel's tick: how long it is, how many there were, and when a tick that the packet path noted was.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use relay_abi::client;

use crate::compile::Clock;
use crate::load::syscall;

const SECOND: i64 = 1_000_000_000;
/// What the kernel's counter starts with, in seconds: `INITIAL_JIFFIES`, in 32 bits.
const BEFORE_START: u32 = 300;
/// `bpf_jiffies64`
const JIFFIES_HELPER: u64 = 118;
/// Comparisons of the counter with the clock.
const ATTEMPTS: u32 = 8;
/// Ticks by which the packet path may seem ahead of us, which read the clock before the table.
const AHEAD: u32 = 8;

/// Ticks of the running kernel in a second (CONFIG_HZ): 100, 250, 300 or 1000. Nothing in procfs says it; the resolution
/// of the coarse clock does.
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

/// What compiling an image needs to know of the clock. The offset is rounded to a second, so that a controller which is started again
/// finds the same one.
pub fn clock() -> io::Result<Clock> {
    let jiffies_per_second = jiffies_per_second()?;
    let hz = u64::from(jiffies_per_second.max(1));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    let ticks = u64::try_from(since.as_millis()).unwrap_or(0).wrapping_mul(hz) / 1000;
    Ok(Clock { jiffies_per_second, epoch_offset: rounded(ticks.wrapping_sub(now(jiffies_per_second)), hz) })
}

fn rounded(ticks: u64, hz: u64) -> u64 {
    ticks.wrapping_add(hz / 2) / hz * hz
}

/// The kernel rounds the tick to whole nanoseconds: 300 Hz is 3333333 ns.
fn from_resolution(seconds: i64, nanoseconds: i64) -> Option<u32> {
    if seconds != 0 || !(1..=SECOND).contains(&nanoseconds) {
        return None;
    }
    u32::try_from((SECOND + nanoseconds / 2) / nanoseconds).ok()
}

/// The kernel's counter of ticks (`jiffies64`), which the packet path goes by, at `hz` ticks a second.
///
/// The counter follows the monotonic clock from when the kernel's timer began to run, some ticks after that clock. How many is asked of
/// the kernel once, at the first call, which takes CAP_BPF and CAP_NET_ADMIN; without these the counter is taken to be that
/// much further on: a quarter of a second on the machine this was written on.
#[must_use]
pub fn now(hz: u32) -> u64 {
    static LATE: OnceLock<u64> = OnceLock::new();
    by_the_clock(hz).saturating_sub(*LATE.get_or_init(|| late(hz).unwrap_or(0)))
}

/// The counter, if it had run as long as the monotonic clock.
fn by_the_clock(hz: u32) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is valid for one timespec. The clock exists, so that this cannot fail; zero would be left if it did.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    // SAFETY: zeroes are a timespec, and so is what the call writes.
    let time = unsafe { time.assume_init() };
    from_monotonic(time.tv_sec, time.tv_nsec, hz)
}

fn from_monotonic(seconds: i64, nanoseconds: i64, hz: u32) -> u64 {
    let hz = hz.max(1);
    let tick = (SECOND + i64::from(hz) / 2) / i64::from(hz);
    let ticks = (i128::from(seconds) * i128::from(SECOND) + i128::from(nanoseconds)) / i128::from(tick);
    let start = 0_u32.wrapping_sub(BEFORE_START.wrapping_mul(hz));
    u64::from(start) + u64::try_from(ticks).unwrap_or(0)
}

/// Ticks by which the counter is behind [`by_the_clock`].
fn late(hz: u32) -> io::Result<u64> {
    let counter = Counter::open()?;
    let mut least = u64::MAX;
    for _ in 0..ATTEMPTS {
        let expected = by_the_clock(hz);
        // A tick that is handled late makes the counter stand still for a moment: the least difference is right.
        least = least.min(expected.saturating_sub(counter.read()?));
    }
    Ok(least)
}

/// The kernel's counter itself, read by two programs of three instructions: a run gives 32 bits.
#[derive(Debug)]
pub struct Counter {
    low: OwnedFd,
    high: OwnedFd,
}

impl Counter {
    /// Loads the programs, which takes CAP_BPF and CAP_NET_ADMIN.
    pub fn open() -> io::Result<Self> {
        Ok(Self { low: shifted_right(0)?, high: shifted_right(32)? })
    }

    /// Runs them.
    pub fn read(&self) -> io::Result<u64> {
        let read = |program: &OwnedFd| syscall::test_run(program.as_fd()).map(u64::from);
        let (before, low, after) = (read(&self.high)?, read(&self.low)?, read(&self.high)?);
        // The upper half changed in between.
        let low = if before == after { low } else { 0 };
        Ok(after << 32 | low)
    }
}

fn shifted_right(bits: u64) -> io::Result<OwnedFd> {
    const CALL: u64 = 0x85;
    const SHIFT_RIGHT: u64 = 0x77;
    const EXIT: u64 = 0x95;
    syscall::load_xdp("jiffies", &[CALL | JIFFIES_HELPER << 32, SHIFT_RIGHT | bits << 32, EXIT])
}

/// One moment, by the packet path's clock and by the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The kernel's counter.
    pub jiffies: u64,
    /// The same moment in the time of people.
    pub time: SystemTime,
    hz: u32,
    tick_shift: u32,
}

impl Moment {
    /// Now. A tick in the tables is 2^`tick_shift` jiffies.
    #[must_use]
    pub fn now(hz: u32, tick_shift: u32) -> Self {
        Self::new(now(hz), SystemTime::now(), hz, tick_shift)
    }

    /// A moment at which the kernel's counter had reached `jiffies`.
    #[must_use]
    pub const fn new(jiffies: u64, time: SystemTime, hz: u32, tick_shift: u32) -> Self {
        Self { jiffies, time, hz: if hz == 0 { 1 } else { hz }, tick_shift }
    }

    /// The running tick of the tables.
    #[must_use]
    pub const fn tick(&self) -> u64 {
        self.jiffies >> self.tick_shift
    }

    /// Jiffies in a second.
    #[must_use]
    pub const fn hz(&self) -> u32 {
        self.hz
    }

    /// When a client was last seen, by its state word ([`client::seen`]): to a tick, and right if that was less than
    /// [`client::TICKS`] ticks ago, four hours and a half.
    #[must_use]
    pub fn last_seen(&self, state: u64) -> SystemTime {
        self.started(self.tick().saturating_sub(client::age(state, self.tick())))
    }

    /// When a tick of which the lower 32 bits are given began; `None` for 0, which stands for never.
    #[must_use]
    pub fn at(&self, tick: u32) -> Option<SystemTime> {
        let age = (self.tick() as u32).wrapping_sub(tick);
        let age = if age > u32::MAX - AHEAD { 0 } else { age };
        (tick != 0).then(|| self.started(self.tick().saturating_sub(u64::from(age))))
    }

    /// The first tick that begins when a moment has come, or later; the running one for a moment that is past.
    #[must_use]
    pub fn tick_from(&self, time: SystemTime) -> u64 {
        let Ok(ahead) = time.duration_since(self.time) else { return self.tick() };
        let jiffies = (ahead.as_nanos() * u128::from(self.hz)).div_ceil(u128::from(SECOND.unsigned_abs()));
        let jiffies = self.jiffies.saturating_add(u64::try_from(jiffies).unwrap_or(u64::MAX));
        jiffies.div_ceil(1 << self.tick_shift)
    }

    /// When a tick to come, of which the lower 32 bits are given, begins; this moment for one that is past.
    #[must_use]
    pub fn begins(&self, tick: u32) -> SystemTime {
        let ahead = tick.wrapping_sub(self.tick() as u32);
        let ahead = if ahead > i32::MAX.unsigned_abs() { 0 } else { u64::from(ahead) };
        let jiffies = ((self.tick() + ahead) << self.tick_shift).saturating_sub(self.jiffies);
        self.time.checked_add(self.duration(jiffies)).unwrap_or(self.time)
    }

    fn started(&self, tick: u64) -> SystemTime {
        let jiffies = self.jiffies.saturating_sub(tick << self.tick_shift);
        self.time.checked_sub(self.duration(jiffies)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How long so many jiffies are.
    #[must_use]
    pub fn duration(&self, jiffies: u64) -> Duration {
        let hz = u64::from(self.hz);
        Duration::from_secs(jiffies / hz) + Duration::from_nanos(jiffies % hz * SECOND.unsigned_abs() / hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_leads_to_the_time_since_1970() {
        let clock = clock().unwrap();
        let hz = u64::from(clock.jiffies_per_second);
        assert_eq!(clock.epoch_offset % hz, 0);
        let found = (now(clock.jiffies_per_second) + clock.epoch_offset) / hz;
        let expected = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(found.abs_diff(expected) <= 60, "{found} for {expected}");
        assert_eq!([124, 125, 374, 375].map(|ticks| rounded(ticks, 250)), [0, 250, 250, 500]);
    }

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

    #[test]
    fn the_counter_starts_five_minutes_before_it_runs_over_32_bits() {
        for hz in [100, 250, 300, 1000] {
            assert_eq!(from_monotonic(0, 0, hz), (1 << 32) - u64::from(hz) * 300);
        }
        assert_eq!(from_monotonic(300, 3_999_999, 250), 1 << 32);
        assert_eq!(from_monotonic(300, 4_000_000, 250), (1 << 32) + 1);
        // 300 Hz: a tick is 3333333 ns, so that there are a few more than 300 in each second.
        assert_eq!(from_monotonic(10_000_000, 0, 300) - from_monotonic(0, 0, 300), 3_000_000_300);
    }

    fn moment() -> Moment {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Moment::new((1 << 32) + 128, time, 250, 8)
    }

    fn ago(seconds: f64) -> SystemTime {
        moment().time - Duration::from_secs_f64(seconds)
    }

    #[test]
    fn ticks_of_states_become_times() {
        let (moment, key) = (moment(), client::key(relay_abi::Ipv4([192, 0, 2, 1]), 3));
        let seen = |tick: u64| moment.last_seen(client::state(key, 0, tick));
        // A tick is 256 jiffies, 1.024 s; the running one began half of that ago.
        assert_eq!(seen(moment.tick()), ago(0.512));
        assert_eq!(seen(moment.tick() - 100), ago(102.912));
        assert_eq!(seen(moment.tick() + 1), ago(0.512));
        assert_eq!(seen(moment.tick() - client::TICKS + 100), ago(0.512 + 1.024 * 16_284.0));
    }

    #[test]
    fn what_is_to_last_until_a_moment_lasts_to_a_tick_after_it() {
        let now = moment();
        assert_eq!(now.tick_from(ago(1.0)), now.tick());
        // Half a tick has passed; 128 jiffies are the other half, 0.512 s.
        for (seconds, ticks) in [(0.001, 1), (0.512, 1), (0.513, 2), (10.24, 11)] {
            let end = now.time + Duration::from_secs_f64(seconds);
            assert_eq!(now.tick_from(end), now.tick() + ticks, "{seconds} s");
        }
        let distant = now.time + Duration::from_secs(u64::from(u32::MAX) * 1000);
        assert!(now.tick_from(distant) > now.tick() + (1 << 31));
    }

    #[test]
    fn ticks_to_come_become_times() {
        let now = moment();
        let tick = now.tick() as u32;
        assert_eq!(
            [0, 1, u32::MAX].map(|ago| now.begins(tick.wrapping_sub(ago))),
            [now.time, now.time, now.time + Duration::from_millis(512),]
        );
        for seconds in [1, 100, 100_000] {
            let end = now.time + Duration::from_secs(seconds);
            let late = now.begins(now.tick_from(end) as u32).duration_since(end).unwrap();
            assert!(late < Duration::from_millis(1024), "{seconds} s: {late:?} late");
        }
    }

    #[test]
    fn ticks_of_details_become_times() {
        let mut moment = moment();
        assert_eq!(moment.at(0), None);
        let tick = moment.tick() as u32;
        assert_eq!(moment.at(tick), Some(ago(0.512)));
        assert_eq!(moment.at(tick.wrapping_add(1)), Some(ago(0.512)));
        assert_eq!(moment.at(tick - 100_000), Some(ago(0.512 + 102_400.0)));
        moment.jiffies += 1 << 40;
        assert_eq!(moment.at(moment.tick() as u32 - 5), Some(ago(0.512 + 5.12)));
    }
}
