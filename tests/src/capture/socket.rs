//! The packet socket under a capture: batches of frames with the kernel's time and direction.

use std::io::Error;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use super::Frame;

/// Room for about a second of a full-speed flood; the kernel counts what does not fit.
const QUEUE_BYTES: libc::c_int = 512 << 20;
const BATCH: usize = 64;
const FRAME_ROOM: usize = 1 << 16;
const CONTROL_ROOM: usize = 128;
/// How long one receive waits before the reader looks whether it should stop.
const LOOK_UP_EVERY: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 20_000 };

#[derive(Debug)]
pub(super) struct PacketSocket {
    descriptor: OwnedFd,
    room: Vec<u8>,
    control: Vec<u8>,
}

impl PacketSocket {
    /// Opens a socket that takes every frame of `device` in the namespace of the calling thread.
    pub(super) fn open(device: &str) -> Result<Self> {
        // Protocol 0: nothing is delivered until it is bound to the device.
        // SAFETY: takes three numbers.
        let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if raw < 0 {
            return Err(Error::last_os_error()).context("open a packet socket");
        }
        // SAFETY: the descriptor was just made for us and has no other owner.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let socket =
            Self { descriptor, room: vec![0; BATCH * FRAME_ROOM], control: vec![0; BATCH * CONTROL_ROOM] };
        socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &QUEUE_BYTES).context("size the queue")?;
        socket.set_option(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32).context("ask for time stamps")?;
        socket.set_option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &LOOK_UP_EVERY).context("set a time limit")?;
        socket.bind(device).with_context(|| format!("capture on {device}"))?;
        Ok(socket)
    }

    /// The frames that have arrived; with `wait`, waits a little for the first.
    pub(super) fn receive(&mut self, wait: bool) -> Result<Vec<Frame>> {
        // SAFETY: all-zero is a valid value of these plain C structures.
        let mut senders: [libc::sockaddr_ll; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut pieces: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let rooms = self.room.chunks_mut(FRAME_ROOM).zip(self.control.chunks_mut(CONTROL_ROOM));
        let heads = messages.iter_mut().zip(pieces.iter_mut().zip(senders.iter_mut()));
        for ((message, (piece, sender)), (room, control)) in heads.zip(rooms) {
            piece.iov_base = room.as_mut_ptr().cast();
            piece.iov_len = room.len();
            message.msg_hdr.msg_name = (&raw mut *sender).cast();
            message.msg_hdr.msg_namelen = length_of::<libc::sockaddr_ll>();
            message.msg_hdr.msg_iov = &raw mut *piece;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = control.len();
        }
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        let count = libc::c_uint::try_from(BATCH).context("size of a batch")?;
        // SAFETY: every message points to rooms of its own that outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.descriptor.as_raw_fd(),
                messages.as_mut_ptr(),
                count,
                flags,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = Error::last_os_error();
            return match error.raw_os_error() {
                // The link may go down in a test; the capture goes on when it is back.
                Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(Vec::new()),
                Some(_) | None => Err(error).context("receive from a packet socket"),
            };
        };
        let taken = messages.iter().take(received).zip(&senders).zip(self.room.chunks(FRAME_ROOM));
        Ok(taken
            .map(|((message, sender), room)| {
                let length = usize::try_from(message.msg_len).unwrap_or(0).min(room.len());
                Frame {
                    nanoseconds: time_of(&message.msg_hdr),
                    outgoing: sender.sll_pkttype == libc::PACKET_OUTGOING,
                    bytes: room[..length].into(),
                }
            })
            .collect())
    }

    /// How many frames found no room since the last call.
    pub(super) fn dropped(&self) -> Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = length_of::<libc::tpacket_stats>();
        // SAFETY: the room is as long as said and lives during the call.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(Error::last_os_error()).context("read the statistics of a packet socket");
        }
        Ok(u64::from(statistics.tp_drops))
    }

    fn bind(&self, device: &str) -> Result<()> {
        let address = link_address(device, libc::ETH_P_ALL)?;
        // SAFETY: the address is as long as said and lives during the call.
        let result = unsafe {
            libc::bind(
                self.descriptor.as_raw_fd(),
                (&raw const address).cast(),
                length_of::<libc::sockaddr_ll>(),
            )
        };
        if result != 0 {
            return Err(Error::last_os_error()).context("bind a packet socket");
        }
        Ok(())
    }

    fn set_option<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> Result<()> {
        // SAFETY: the value is as long as said and lives during the call.
        let result = unsafe {
            libc::setsockopt(
                self.descriptor.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                length_of::<T>(),
            )
        };
        if result != 0 {
            return Err(Error::last_os_error()).context("set a socket option");
        }
        Ok(())
    }
}

/// The address of a device of the calling thread's namespace, for a packet socket.
pub(crate) fn link_address(device: &str, protocol: libc::c_int) -> Result<libc::sockaddr_ll> {
    let name = std::ffi::CString::new(device).with_context(|| format!("device name {device}"))?;
    // SAFETY: the name ends with a zero byte and lives during the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(Error::last_os_error()).with_context(|| format!("look for the device {device}"));
    }
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).context("address family")?;
    address.sll_protocol = u16::try_from(protocol).context("protocol")?.to_be();
    address.sll_ifindex = i32::try_from(index).context("interface index")?;
    Ok(address)
}

fn length_of<T>() -> libc::socklen_t {
    // Every structure handed to the kernel here is a few dozen bytes long.
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn time_of(header: &libc::msghdr) -> u64 {
    // SAFETY: the kernel filled the control room that the header points to.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, and inside the control room.
        let head = unsafe { *control };
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: a control message of this type carries a timespec.
            let data = unsafe { libc::CMSG_DATA(control) }.cast::<libc::timespec>();
            // SAFETY: as above; control data may be unaligned.
            let time = unsafe { data.read_unaligned() };
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            return seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0);
        }
        // SAFETY: both lie inside the same control room.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    0
}
