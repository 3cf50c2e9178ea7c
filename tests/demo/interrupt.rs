//! Ctrl-C: the first one lets the demo remove what it made, a second one ends it at once.

use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Result, bail};

static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT and SIGTERM are remembered. Programs started later do not inherit that.
pub(crate) fn remember() {
    let handler: extern "C" fn(libc::c_int) = remember_one;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: all-zero is a valid value of this plain C structure.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        // After the first time the signal does again what it always did.
        action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
        // SAFETY: the handler only stores to an atomic; both structures live during the call.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Which signal came, if one did.
pub(crate) fn signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// An error once a signal came.
pub(crate) fn check() -> Result<()> {
    if signal().is_some() {
        bail!("interrupted; removed what the demo had made");
    }
    Ok(())
}

extern "C" fn remember_one(signal: libc::c_int) {
    SIGNAL.store(signal, Ordering::Relaxed);
}
