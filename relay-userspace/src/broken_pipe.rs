//! What happens when the reader of our output goes away (`xdp-relay check --json ... | head -1`).

/// Lets SIGPIPE end the process, as it ends every other Unix tool.
///
/// The Rust runtime ignores the signal at start, so that a closed pipe becomes an error of the next write. That is
/// right for a daemon, which must not die with the reader of its output; commands which run and end call this.
pub(crate) fn end_quietly() {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE and no handler of ours is replaced; this runs first in main,
    // before any thread exists.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
