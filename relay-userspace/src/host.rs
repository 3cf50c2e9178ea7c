//! Facts about this machine that no netlink message carries.

use std::ffi::CStr;
use std::fs;
use std::io;

use crate::exit::{Exit, Failure};

/// The oldest kernel the relay is tested with.
pub const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// Refuses a kernel that is too old.
///
/// Among what older ones lack: file modes of pins that protect them (6.0), and memory of maps accounted to the control
/// group rather than to RLIMIT_MEMLOCK (5.11), which is why nothing here raises that limit.
pub fn require_kernel() -> Result<(), Failure> {
    let release = kernel_release().map_err(|error| Failure::io("ask for the kernel's version", &error))?;
    if kernel_suffices(&release) {
        return Ok(());
    }
    let (major, minor) = OLDEST_KERNEL;
    Err(Failure::new(
        Exit::Failed,
        format!("kernel {release} is too old, {major}.{minor} or newer is needed"),
    ))
}

/// The running kernel's release, like `6.1.0-18-amd64`.
pub fn kernel_release() -> io::Result<String> {
    // SAFETY: utsname is arrays of characters, for which zero is a value.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is of the type the call fills.
    if unsafe { libc::uname(&raw mut names) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel terminates the release with a NUL.
    let release = unsafe { CStr::from_ptr(names.release.as_ptr()) };
    Ok(release.to_string_lossy().into_owned())
}

/// Whether a kernel of this release is new enough.
pub(crate) fn kernel_suffices(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_KERNEL
}

/// Lets XDP ask the kernel for routes, which it answers only for an interface that forwards: the program asks about the
/// loopback interface, where nothing comes in, so that no other interface has to forward. True if that changed something.
///
/// # Errors
/// Where the setting can be neither found on nor switched on.
pub fn let_routes_be_asked() -> io::Result<bool> {
    const SETTING: &str = "/proc/sys/net/ipv4/conf/lo/forwarding";
    if fs::read_to_string(SETTING)?.trim() != "0" {
        return Ok(false);
    }
    fs::write(SETTING, "1").map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for good in ["6.1.0-18-amd64", "6.12", "7.0.0-rc1", "10.0"] {
            assert!(kernel_suffices(good), "{good}");
        }
        for bad in ["6.0.19", "5.15.0-91-generic", "4.19", ""] {
            assert!(!kernel_suffices(bad), "{bad}");
        }
    }
}
