//! Sends frames exactly as they are, from any interface.

use std::io::Error;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};

use super::packets::Hop;
use crate::capture::link_address;
use crate::topology::Namespace;
use crate::waiting::wait_for;

/// A way to send frames out of one interface.
#[derive(Debug)]
pub struct Injector {
    descriptor: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Injector {
    pub fn open(namespace: &Namespace, device: &str) -> Result<Self> {
        namespace.enter(|| {
            // Protocol 0: a socket that only sends.
            // SAFETY: takes three numbers.
            let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            if raw < 0 {
                return Err(Error::last_os_error()).context("open a packet socket");
            }
            // SAFETY: the descriptor was just made for us and has no other owner.
            let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
            Ok(Self { descriptor, address: link_address(device, 0)? })
        })
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    pub(super) fn address(&self) -> &libc::sockaddr_ll {
        &self.address
    }

    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).context("address length")?;
        // SAFETY: frame and address are as long as said and live during the call.
        let sent = unsafe {
            libc::sendto(
                self.descriptor.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                length,
            )
        };
        if sent < 0 {
            return Err(Error::last_os_error())
                .with_context(|| format!("send a frame of {} bytes", frame.len()));
        }
        Ok(())
    }
}

/// A way to send IPv4 packets from one interface to one neighbour, as they are.
#[derive(Debug)]
pub struct Wire {
    injector: Injector,
    hop: Hop,
}

impl Wire {
    pub fn open(namespace: &Namespace, device: &str, next: Ipv4Addr) -> Result<Self> {
        Ok(Self { injector: Injector::open(namespace, device)?, hop: hop_to(namespace, device, next)? })
    }

    /// Sends a packet that starts with its IPv4 header.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        self.injector.send(&self.hop.frame(packet)?)
    }

    /// Sends a packet with bytes behind its end, as short frames have on a real Ethernet.
    pub fn send_padded(&self, packet: &[u8], padding: &[u8]) -> Result<()> {
        let mut frame = self.hop.frame(packet)?;
        frame.extend_from_slice(padding);
        self.injector.send(&frame)
    }
}

/// The Ethernet addresses from `device` to its neighbour `next`, resolved for real.
pub fn hop_to(namespace: &Namespace, device: &str, next: Ipv4Addr) -> Result<Hop> {
    let next = next.to_string();
    let destination = wait_for(&format!("the MAC address of {next}"), Duration::from_secs(5), || {
        // `use` makes the kernel ask; it fails while the entry is there already.
        let _known = namespace.ip(&["neigh", "replace", &next, "dev", device, "use"]);
        let text = namespace.ip(&["-j", "neigh", "show", &next, "dev", device])?;
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).context("read `ip -j neigh`")?;
        let address = entries.first().and_then(|entry| entry["lladdr"].as_str());
        Ok(address.and_then(crate::topology::namespace::parse_mac))
    })?;
    Ok(Hop { source: namespace.mac(device)?, destination })
}
