//! Signals wait while the verifier works.

use std::mem::MaybeUninit;

/// Runs something with all signals held back.
///
/// The verifier gives up when a signal is pending, and aya then tries again with its log on, which takes seconds.
pub(super) fn held<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: the call writes the whole set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set was filled above, the buffer for the old one is of the right type.
    let held = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = work();
    if held == 0 {
        // SAFETY: the call above succeeded, so it wrote the old set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}
