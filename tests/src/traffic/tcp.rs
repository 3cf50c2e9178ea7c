//! Small exchanges over TCP connections that stay open, from any address the client has.

use std::io::{Error, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::topology::Namespace;

/// Bytes of a question and of its answer.
const MESSAGE: usize = 64;
const LOOK_UP_EVERY: i32 = 20;

/// A connection that asks and waits for the answer.
#[derive(Debug)]
pub struct Talk {
    stream: TcpStream,
    from: Ipv4Addr,
    number: u64,
}

impl Talk {
    /// Connects from one of the client's addresses; every wait, also later, ends after `patience`.
    pub fn connect(client: &Namespace, from: Ipv4Addr, to: SocketAddrV4, patience: Duration) -> Result<Self> {
        client.enter(|| {
            let stream =
                connect(from, to, patience).with_context(|| format!("connect from {from} to {to}"))?;
            stream.set_read_timeout(Some(patience)).context("set a time limit")?;
            stream.set_nodelay(true).context("switch off waiting for more to send")?;
            Ok(Self { stream, from, number: 0 })
        })
    }

    pub fn from(&self) -> Ipv4Addr {
        self.from
    }

    /// One question and its answer.
    pub fn exchange(&mut self) -> Result<()> {
        self.number += 1;
        let mut message = [0; MESSAGE];
        message[..8].copy_from_slice(&self.number.to_be_bytes());
        let mut answer = [0; MESSAGE];
        let outcome = self.stream.write_all(&message).and_then(|()| self.stream.read_exact(&mut answer));
        outcome.with_context(|| format!("exchange {} of {}", self.number, self.from))?;
        ensure!(answer == message, "exchange {} of {} was answered with another", self.number, self.from);
        Ok(())
    }
}

/// Sends back what it gets, on every connection.
#[derive(Debug)]
pub struct Chat {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Chat {
    pub fn start(service: &Namespace, listen: SocketAddrV4) -> Result<Self> {
        let listener = service.enter(|| {
            let listener = TcpListener::bind(listen).with_context(|| format!("listen on TCP {listen}"))?;
            listener.set_nonblocking(true).context("make a socket that does not block")?;
            Ok(listener)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let told_to_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || chat(&listener, &told_to_stop));
        Ok(Self { stop, thread: Some(thread) })
    }

    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { bail!("the chat was ended before") };
        thread.join().map_err(|_panic| anyhow!("the TCP echo panicked"))?
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn connect(from: Ipv4Addr, to: SocketAddrV4, patience: Duration) -> Result<TcpStream> {
    // SAFETY: takes three numbers.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(Error::last_os_error()).context("open a TCP socket");
    }
    // SAFETY: the descriptor was just made for us and has no other owner.
    let stream = unsafe { TcpStream::from_raw_fd(raw) };
    // A time limit for sending is one for connecting as well.
    stream.set_write_timeout(Some(patience)).context("set a time limit")?;
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (own, other) = (socket_address(SocketAddrV4::new(from, 0)), socket_address(to));
    // SAFETY: the address is as long as said and lives during the call.
    if unsafe { libc::bind(stream.as_raw_fd(), (&raw const own).cast(), length) } != 0 {
        return Err(Error::last_os_error()).context("bind a TCP socket");
    }
    // SAFETY: as above.
    if unsafe { libc::connect(stream.as_raw_fd(), (&raw const other).cast(), length) } != 0 {
        return Err(Error::last_os_error()).context("no connection");
    }
    Ok(stream)
}

fn socket_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn chat(listener: &TcpListener, stop: &AtomicBool) -> Result<()> {
    let mut streams: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let descriptors = std::iter::once(listener.as_raw_fd()).chain(streams.iter().map(AsRawFd::as_raw_fd));
        let mut entries: Vec<libc::pollfd> =
            descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: as many entries as said, alive during the call.
        unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, LOOK_UP_EVERY) };
        let ready: Vec<bool> = entries.iter().skip(1).map(|entry| entry.revents != 0).collect();
        let mut ready = ready.into_iter();
        streams.retain_mut(|stream| !ready.next().unwrap_or(false) || answer(stream));
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).context("make a connection that does not block")?;
            stream.set_nodelay(true).context("switch off waiting for more to send")?;
            streams.push(stream);
        }
    }
    Ok(())
}

/// Sends back what came; whether the connection goes on.
fn answer(stream: &mut TcpStream) -> bool {
    let mut room = [0; 16 * MESSAGE];
    match stream.read(&mut room) {
        Ok(0) | Err(_) => false,
        Ok(length) => stream.write_all(&room[..length]).is_ok(),
    }
}
