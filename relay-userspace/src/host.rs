//! Facts about this machine that no netlink message carries.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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

fn kernel_suffices(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST_KERNEL
}

/// Whether the kernel would forward what arrives on an interface; without it, it tells XDP no routes.
#[must_use]
pub fn forwards(interface: &str) -> bool {
    let setting = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    // When it cannot be read, nothing is known to be wrong.
    std::fs::read_to_string(setting).map_or(true, |value| value.trim() != "0")
}

/// The driver behind an interface, as `ethtool -i` prints it. /sys would show the host's devices in a network
/// namespace.
#[must_use]
pub fn driver(interface: &str) -> Option<String> {
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    const ETHTOOL_GDRVINFO: u32 = 3;

    /// `struct ethtool_drvinfo`.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }
    /// `struct ifreq` with a pointer.
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        data: *mut DriverInfo,
        padding: [u8; 16],
    }

    // SAFETY: no pointers; the result is checked.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor for us and nothing else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    let mut request = Request { name: [0; libc::IFNAMSIZ], data: &raw mut info, padding: [0; 16] };
    for (to, from) in request.name[..libc::IFNAMSIZ - 1].iter_mut().zip(interface.bytes()) {
        *to = from;
    }
    // SAFETY: the request is laid out as SIOCETHTOOL wants it and points to a buffer of the size of its command.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } != 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&info.driver).ok()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
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
