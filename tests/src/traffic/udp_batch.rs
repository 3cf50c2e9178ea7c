//! Many datagrams with one system call.

use std::io::Error;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

pub(super) const BATCH: usize = 64;
const ROOM: usize = 2048;
/// Room for a second of traffic at full speed: a busy machine must not look like a lossy relay.
const SOCKET_BUFFER: libc::c_int = 64 << 20;

/// Rooms for a batch of datagrams, used again and again.
pub(super) struct Batch {
    payload: usize,
    rooms: Vec<[u8; ROOM]>,
    lengths: Vec<usize>,
    peers: Vec<libc::sockaddr_in>,
}

impl Batch {
    /// `payload` is the size of datagrams to send; what is received may have any size up to 2048.
    pub(super) fn new(payload: usize) -> Self {
        // SAFETY: all-zero is a valid value of this plain C structure.
        let nobody: libc::sockaddr_in = unsafe { zeroed() };
        Self {
            payload: payload.min(ROOM),
            rooms: vec![[0; ROOM]; BATCH],
            lengths: vec![0; BATCH],
            peers: vec![nobody; BATCH],
        }
    }

    /// Sends one datagram per header over a connected socket.
    pub(super) fn send<const N: usize>(
        &mut self,
        socket: &UdpSocket,
        headers: impl Iterator<Item = [u8; N]>,
    ) -> Result<()> {
        let mut count = 0;
        for (room, header) in self.rooms.iter_mut().zip(headers) {
            room[..N].copy_from_slice(&header);
            count += 1;
        }
        self.lengths[..count].fill(self.payload);
        self.hand_over(socket, count, false)
    }

    /// Sends the first `count` received datagrams back to where they came from.
    pub(super) fn send_back(&mut self, socket: &UdpSocket, count: usize) -> Result<()> {
        self.hand_over(socket, count, true)
    }

    /// Receives what is there, waiting for the first as long as the socket's time limit says; 0 if nothing came.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> Result<usize> {
        let (mut pieces, mut messages) = empty_messages();
        for (index, (message, piece)) in messages.iter_mut().zip(pieces.iter_mut()).enumerate() {
            piece.iov_base = self.rooms[index].as_mut_ptr().cast();
            piece.iov_len = ROOM;
            message.msg_hdr.msg_iov = &raw mut *piece;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = (&raw mut self.peers[index]).cast();
            message.msg_hdr.msg_namelen = PEER_LENGTH;
        }
        // SAFETY: every message points to rooms of its own that outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = Error::last_os_error();
            return match error.raw_os_error() {
                // The answer to an earlier datagram was an ICMP error: as good as no answer.
                Some(
                    libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH,
                ) => Ok(0),
                Some(_) | None => Err(error).context("receive UDP"),
            };
        };
        for (length, message) in self.lengths.iter_mut().zip(&messages).take(received) {
            *length = usize::try_from(message.msg_len).unwrap_or(0).min(ROOM);
        }
        Ok(received)
    }

    /// The first `count` datagrams received last.
    pub(super) fn received(&self, count: usize) -> impl Iterator<Item = (&[u8], SocketAddrV4)> {
        self.rooms.iter().zip(&self.lengths).zip(&self.peers).take(count).map(|((room, length), peer)| {
            let address = Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr));
            (&room[..*length], SocketAddrV4::new(address, u16::from_be(peer.sin_port)))
        })
    }

    fn hand_over(&mut self, socket: &UdpSocket, count: usize, to_peers: bool) -> Result<()> {
        let (mut pieces, mut messages) = empty_messages();
        for (index, (message, piece)) in messages.iter_mut().zip(pieces.iter_mut()).take(count).enumerate() {
            piece.iov_base = self.rooms[index].as_mut_ptr().cast();
            piece.iov_len = self.lengths[index];
            message.msg_hdr.msg_iov = &raw mut *piece;
            message.msg_hdr.msg_iovlen = 1;
            if to_peers {
                message.msg_hdr.msg_name = (&raw mut self.peers[index]).cast();
                message.msg_hdr.msg_namelen = PEER_LENGTH;
            }
        }
        let mut done = 0;
        while done < count {
            // SAFETY: every message points to rooms of its own that outlive the call.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    messages.as_mut_ptr().wrapping_add(done),
                    (count - done) as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) => done += sent,
                Err(_negative) => {
                    let error = Error::last_os_error();
                    match error.raw_os_error() {
                        // A pending ICMP error is reported once and sends nothing: try the same datagram again.
                        Some(
                            libc::EINTR
                            | libc::ECONNREFUSED
                            | libc::EHOSTUNREACH
                            | libc::ENETUNREACH
                            | libc::ENOBUFS,
                        ) => {}
                        Some(_) | None => return Err(error).context("send UDP"),
                    }
                }
            }
        }
        Ok(())
    }
}

const PEER_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn empty_messages() -> ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) {
    // SAFETY: all-zero is a valid value of these plain C structures.
    unsafe { zeroed() }
}

pub(super) fn force_buffers(socket: &UdpSocket) -> Result<()> {
    let size = SOCKET_BUFFER;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the value is as long as said and lives during the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(Error::last_os_error()).context("size a socket's buffer");
        }
    }
    Ok(())
}
