//! What an interface does to packets before or behind XDP: the offloads that matter to the relay.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use serde::Serialize;

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_DRIVER: u32 = 0x03;
const GET_TX_CHECKSUM: u32 = 0x16;
const GET_FLAGS: u32 = 0x25;
const GET_GRO: u32 = 0x2b;
const FLAG_RX_VLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// The offloads of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offloads {
    /// Name of the driver.
    pub driver: String,
    /// Leaves the checksums of what it sends to the receiver or the card.
    pub tx_checksum: bool,
    /// Takes VLAN tags out of received frames.
    pub rx_vlan: bool,
    /// Merges received packets.
    pub lro: bool,
    /// Merges received packets in the kernel; on a veth it switches on the queue that redirected packets need.
    pub gro: bool,
}

/// Asks for the offloads of an interface. Needs no privilege.
pub fn offloads(interface: &str) -> io::Result<Offloads> {
    // SAFETY: a new socket touches nothing that exists.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nothing else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let value = |command| get_value(&socket, interface, command);
    let flags = value(GET_FLAGS).unwrap_or(0);
    Ok(Offloads {
        driver: driver(&socket, interface)?,
        // A driver without the offload does not know the question.
        tx_checksum: value(GET_TX_CHECKSUM).unwrap_or(0) != 0,
        rx_vlan: flags & FLAG_RX_VLAN != 0,
        lro: flags & FLAG_LRO != 0,
        gro: value(GET_GRO).unwrap_or(0) != 0,
    })
}

#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

fn get_value(socket: &OwnedFd, interface: &str, command: u32) -> io::Result<u32> {
    let mut value = Value { command, data: 0 };
    // SAFETY: these commands fill a `struct ethtool_value`, which `Value` is.
    unsafe { ethtool(socket, interface, &mut value) }?;
    Ok(value.data)
}

fn driver(socket: &OwnedFd, interface: &str) -> io::Result<String> {
    /// `struct ethtool_drvinfo`
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [c_char; 32],
        rest: [u8; 160],
    }
    let mut info = DriverInfo { command: GET_DRIVER, driver: [0; 32], rest: [0; 160] };
    // SAFETY: the command fills a `struct ethtool_drvinfo`, which `DriverInfo` is, with its 196 bytes.
    unsafe { ethtool(socket, interface, &mut info) }?;
    // Room for a final zero whatever the driver wrote.
    info.driver[31] = 0;
    // SAFETY: the array ends in a zero and outlives the borrow.
    let name = unsafe { CStr::from_ptr(info.driver.as_ptr()) };
    Ok(name.to_string_lossy().into_owned())
}

/// Asks one question.
///
/// # Safety
///
/// `T` must be the layout that the command in its first word reads and writes.
unsafe fn ethtool<T>(socket: &OwnedFd, interface: &str, question: &mut T) -> io::Result<()> {
    // SAFETY: all members of an ifreq are integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(question).cast();
    // SAFETY: the request is whole and points to what the caller vouches for; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(offloads("no-such-if").is_err());
        assert!(offloads("a-name-that-is-much-too-long").is_err());
    }
}
