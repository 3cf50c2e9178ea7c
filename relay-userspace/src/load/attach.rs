//! Links: which interfaces run the program, and how that changes without losing a packet.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Program, syscall};
use crate::config::valid::AttachMode;
use crate::exit::{Exit, Failure};
use crate::inspect;
use crate::pins::{self, Pins};

/// An interface the program shall be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// How to attach.
    pub mode: AttachMode,
    /// The XDP programs that are attached to it now.
    pub present: Vec<Present>,
}

/// An XDP program on an interface, as netlink tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its id.
    pub program_id: u32,
    /// How it is attached; `None` for what we never do (offload to the device).
    pub mode: Option<AttachMode>,
}

/// A link in use.
#[derive(Debug)]
pub struct Attachment {
    ifindex: u32,
    /// Kept open beside its pin: a removed pin must not stop the traffic of a running relay.
    #[expect(dead_code, reason = "holds the link")]
    link: OwnedFd,
}

/// A pinned link.
struct Pinned {
    interface: String,
    link: OwnedFd,
    info: syscall::LinkInfo,
}

fn pinned_links(pins: &Pins) -> Result<Vec<Pinned>, Failure> {
    pins.linked_interfaces()?
        .into_iter()
        .map(|interface| {
            let failed = |error: io::Error| {
                Failure::io(format!("open the pinned link {}", pins.link(&interface).display()), &error)
            };
            let link = syscall::open(&pins.link(&interface)).map_err(failed)?;
            let info = syscall::link_info(link.as_fd()).map_err(failed)?;
            Ok(Pinned { interface, link, info })
        })
        .collect()
}

/// Refuses interfaces on which another program runs. Changes nothing.
pub(crate) fn refuse_foreign(pins: &Pins, wanted: &[Wanted]) -> Result<(), Failure> {
    let own: Vec<u32> = pinned_links(pins)?.iter().map(|pinned| pinned.info.program_id).collect();
    for wanted in wanted {
        if let Some(foreign) = wanted.present.iter().find(|present| !own.contains(&present.program_id)) {
            return Err(occupied(&wanted.interface, Some(foreign.program_id)));
        }
    }
    Ok(())
}

impl Program {
    /// Attaches the program to these interfaces, or puts it in place of its predecessor.
    pub fn attach(&mut self, pins: &Pins, wanted: &[Wanted]) -> Result<(), Failure> {
        let mut pinned = pinned_links(pins)?;
        for wanted in wanted {
            // Found by index: the interface may have been renamed since.
            let position = pinned.iter().position(|link| link.info.ifindex == wanted.ifindex);
            let existing = position.map(|position| pinned.swap_remove(position));
            let link = self.attach_one(pins, wanted, existing)?;
            let attachment = Attachment { ifindex: wanted.ifindex, link };
            self.attached.insert(wanted.interface.clone(), attachment);
        }
        Ok(())
    }

    /// Whether the program is attached to an interface under this index.
    #[must_use]
    pub fn is_attached(&self, interface: &str, ifindex: u32) -> bool {
        self.attached.get(interface).is_some_and(|attachment| attachment.ifindex == ifindex)
    }

    /// Detaches from every interface but these.
    pub fn detach_others(&mut self, pins: &Pins, wanted: &[Wanted]) -> Result<(), Failure> {
        let stays = |interface: &str| wanted.iter().any(|wanted| wanted.interface == interface);
        for pinned in pinned_links(pins)? {
            if !stays(&pinned.interface) {
                detach(pins, &pinned)?;
                tracing::info!("detached from {}, which the configuration no longer names", pinned.interface);
            }
        }
        self.attached.retain(|interface, _| stays(interface));
        Ok(())
    }

    fn attach_one(&self, pins: &Pins, wanted: &Wanted, existing: Option<Pinned>) -> Result<OwnedFd, Failure> {
        let pin = pins.link(&wanted.interface);
        if let Some(existing) = existing {
            if existing.interface != wanted.interface {
                fs::rename(pins.link(&existing.interface), &pin).map_err(|error| {
                    Failure::io(format!("rename the pin of {}", existing.interface), &error)
                })?;
            }
            let same_mode = wanted
                .present
                .iter()
                .filter(|present| present.program_id == existing.info.program_id)
                .all(|present| present.mode == Some(wanted.mode));
            if same_mode {
                return self.replace(wanted, existing);
            }
            tracing::warn!(
                "{} changes to {} mode: nothing is relayed for a moment",
                wanted.interface,
                mode_name(wanted.mode)
            );
            syscall::link_detach(existing.link.as_fd())
                .map_err(|error| Failure::io(format!("detach from {}", wanted.interface), &error))?;
        }
        // What is still pinned there belongs to an interface of this name that is gone.
        pins::remove(&pin)?;
        let link = create(self.fd()?, wanted)?;
        syscall::pin(link.as_fd(), &pin)
            .map_err(|error| Failure::io(format!("pin the link of {}", wanted.interface), &error))?;
        tracing::info!("attached to {} in {} mode", wanted.interface, mode_name(wanted.mode));
        Ok(link)
    }

    fn replace(&self, wanted: &Wanted, existing: Pinned) -> Result<OwnedFd, Failure> {
        syscall::link_update(existing.link.as_fd(), self.fd()?)
            .map_err(|error| Failure::io(format!("replace the program on {}", wanted.interface), &error))?;
        tracing::info!("replaced the program on {}", wanted.interface);
        Ok(existing.link)
    }
}

fn create(program: BorrowedFd<'_>, wanted: &Wanted) -> Result<OwnedFd, Failure> {
    let flags = match wanted.mode {
        AttachMode::Driver => syscall::XDP_DRIVER,
        AttachMode::Generic => syscall::XDP_GENERIC,
    };
    syscall::link_create(program, wanted.ifindex, flags).map_err(|error| refused(wanted, &error))
}

fn refused(wanted: &Wanted, error: &io::Error) -> Failure {
    let interface = &wanted.interface;
    let driver = inspect::offloads(interface);
    let driver = driver.map_or_else(|_| String::new(), |offloads| format!(" (driver {})", offloads.driver));
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => {
            occupied(interface, wanted.present.first().map(|present| present.program_id))
        }
        Some(libc::EOPNOTSUPP) => Failure::new(
            Exit::Failed,
            format!("cannot attach to {interface}{driver}: it has no {} XDP", mode_name(wanted.mode)),
        )
        .hint("see `xdp-relay doctor`; `[interfaces] mode = \"generic\"` works with every driver, slowly"),
        _ => {
            let attempted = format!("attach to {interface}{driver} in {} mode", mode_name(wanted.mode));
            Failure::io(attempted, error).hint("see `xdp-relay doctor`: often it is the MTU, or LRO")
        }
    }
}

fn occupied(interface: &str, program_id: Option<u32>) -> Failure {
    let program = program_id.map_or_else(String::new, |id| match syscall::program_name(id) {
        Ok(name) => format!(" (id {id}, name {name})"),
        Err(_) => format!(" (id {id})"),
    });
    Failure::new(Exit::Failed, format!("another XDP program{program} runs on {interface}")).hint(format!(
        "remove it with what attached it, or `ip link set dev {interface} xdp off`; `bpftool net` lists them"
    ))
}

fn mode_name(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Driver => "driver",
        AttachMode::Generic => "generic",
    }
}

fn detach(pins: &Pins, pinned: &Pinned) -> Result<(), Failure> {
    match syscall::link_detach(pinned.link.as_fd()) {
        Ok(()) => {}
        // The interface went first.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
        Err(error) => return Err(Failure::io(format!("detach from {}", pinned.interface), &error)),
    }
    pins::remove(&pins.link(&pinned.interface))
}

/// Detaches every pinned link of a node, and says from where.
pub fn detach_all(pins: &Pins) -> Result<Vec<String>, Failure> {
    pinned_links(pins)?.into_iter().map(|pinned| detach(pins, &pinned).map(|()| pinned.interface)).collect()
}
