//! Asks another host whether it is there: an ICMP echo of a given size that may not be fragmented.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const HEADERS: usize = 28;

/// Sends an echo request whose IP packet has `size` bytes and waits for the reply. `false`: none came, or the packet is
/// too large for this host's own link. Fails with `PermissionDenied` when this process may not send ICMP.
pub fn echo(from: Ipv4Addr, to: Ipv4Addr, size: u16, patience: Duration) -> io::Result<bool> {
    let (socket, raw) = socket()?;
    set_option(&socket, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    bind(&socket, from)?;
    let mut packet = vec![0_u8; usize::from(size).saturating_sub(20).max(8)];
    let identifier = (std::process::id() as u16).to_be_bytes();
    packet[0] = ECHO_REQUEST;
    packet[4..6].copy_from_slice(&identifier);
    packet[6..8].copy_from_slice(&size.to_be_bytes());
    let checksum = checksum(&packet);
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    match send(&socket, &packet, to) {
        Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Ok(false),
        sent => sent?,
    }
    let end = Instant::now() + patience;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let Some(answer) = receive(&socket, left)? else { break };
        // A raw socket sees the IP header and every host's answers; a ping socket only its own, with its own identifier.
        let icmp = if raw { answer.get(20..).unwrap_or_default() } else { &answer };
        let ours = !raw || (answer.get(12..16) == Some(&to.octets()) && icmp.get(4..6) == Some(&identifier));
        if ours && icmp.first() == Some(&ECHO_REPLY) && icmp.get(6..8) == Some(&size.to_be_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A ping socket where the system allows them, else a raw one.
fn socket() -> io::Result<(OwnedFd, bool)> {
    let open = |kind| {
        // SAFETY: a new socket touches nothing that exists.
        let socket = unsafe { libc::socket(libc::AF_INET, kind | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMP) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us and nothing else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(socket) })
    };
    open(libc::SOCK_DGRAM)
        .map(|socket| (socket, false))
        .or_else(|_| open(libc::SOCK_RAW).map(|socket| (socket, true)))
}

fn set_option(socket: &OwnedFd, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option's value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            std::ptr::from_ref(&value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, address: Ipv4Addr) -> io::Result<()> {
    let name = name(address);
    // SAFETY: the name is a sockaddr_in of the given length and outlives the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&name).cast(), NAME_LENGTH) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn send(socket: &OwnedFd, packet: &[u8], to: Ipv4Addr) -> io::Result<()> {
    let name = name(to);
    // SAFETY: the packet and the name, a sockaddr_in of the given length, outlive the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            std::ptr::from_ref(&name).cast(),
            NAME_LENGTH,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One datagram, or `None` when none comes in time.
fn receive(socket: &OwnedFd, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(patience.as_millis() + 1).unwrap_or(i32::MAX);
    // SAFETY: one valid pollfd is passed.
    let ready = unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    if ready < 0 {
        return Err(io::Error::last_os_error());
    }
    if ready == 0 {
        return Ok(None);
    }
    let mut answer = vec![0_u8; usize::from(u16::MAX)];
    // SAFETY: the buffer is valid for its length and outlives the call.
    let length = unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
    match usize::try_from(length) {
        Ok(length) => {
            answer.truncate(length);
            Ok(Some(answer))
        }
        // An ICMP error that came back: no reply.
        Err(_) => Ok(None),
    }
}

const NAME_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn name(address: Ipv4Addr) -> libc::sockaddr_in {
    let address = SocketAddrV4::new(address, 0);
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The smallest echo that can be told apart by its size.
pub const SMALLEST: u16 = HEADERS as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_answers_itself_when_asked() {
        match echo(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 1400, Duration::from_secs(2)) {
            Ok(answered) => assert!(answered),
            // Unprivileged, or a loopback interface that is down.
            Err(error) => assert!(
                matches!(
                    error.raw_os_error(),
                    Some(libc::EPERM | libc::EACCES | libc::EADDRNOTAVAIL | libc::ENETUNREACH)
                ),
                "{error}"
            ),
        }
    }

    #[test]
    fn checksums_are_those_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[8, 0, 0, 0, 0, 1, 0]), !0x0801);
    }
}
