//! Many frames with one system call.

use std::io::Error;
use std::mem::zeroed;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

use super::super::raw::Injector;
use super::template::Template;

const FRAMES: usize = 256;

/// Rooms for a burst of frames, used again and again.
pub(super) struct Burst {
    injector: Injector,
    rooms: Vec<u8>,
    length: usize,
}

impl Burst {
    pub(super) fn new(injector: Injector, template: &Template) -> Self {
        Self { injector, rooms: template.frame().repeat(FRAMES), length: template.length() }
    }

    /// Sends up to so many frames, each after `fill` has made it what it is to be; gives how many the kernel took.
    pub(super) fn send(&mut self, count: u64, mut fill: impl FnMut(u64, &mut [u8])) -> Result<u64> {
        let count = usize::try_from(count).unwrap_or(FRAMES).min(FRAMES);
        // SAFETY: all-zero is a valid value of these plain C structures.
        let mut pieces: [libc::iovec; FRAMES] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; FRAMES] = unsafe { zeroed() };
        let mut address = *self.injector.address();
        let rooms = self.rooms.chunks_mut(self.length).take(count);
        for (index, (room, (message, piece))) in
            rooms.zip(messages.iter_mut().zip(pieces.iter_mut())).enumerate()
        {
            fill(index as u64, room);
            piece.iov_base = room.as_mut_ptr().cast();
            piece.iov_len = room.len();
            message.msg_hdr.msg_iov = &raw mut *piece;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = (&raw mut address).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        }
        let mut sent = 0;
        while sent < count {
            // SAFETY: every message points to rooms of its own that outlive the call.
            let taken = unsafe {
                libc::sendmmsg(
                    self.injector.descriptor().as_raw_fd(),
                    messages.as_mut_ptr().wrapping_add(sent),
                    (count - sent) as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(taken) {
                Ok(taken) => sent += taken,
                Err(_negative) => {
                    let error = Error::last_os_error();
                    match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        // The queue is full: this frame and those behind it were not sent.
                        Some(libc::ENOBUFS | libc::EAGAIN) => break,
                        Some(_) | None => return Err(error).context("send a burst of frames"),
                    }
                }
            }
        }
        Ok(sent as u64)
    }
}
