//! An XDP program that passes everything, for the far ends of a relay's cables.
//!
//! A veth wakes its peer for frames that XDP sends back (`XDP_TX`) only while the peer has a program of its own; with GRO
//! alone they lie in its ring until something else comes (kernel 6.18, `veth_xdp_flush`). Network cards do not do that.

use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::namespace::Namespace;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// `r0 = XDP_PASS; exit`.
const INSTRUCTIONS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The loaded program, pinned for as long as this value lives. Devices it is attached to keep it.
#[derive(Debug)]
pub(super) struct PassProgram {
    pin: PathBuf,
}

impl PassProgram {
    pub(super) fn load(name: &str) -> Result<Self> {
        super::mount_bpffs()?;
        let license = c"Dual MIT/GPL";
        let mut attributes = Attributes::new();
        attributes.set(0, &BPF_PROG_TYPE_XDP.to_ne_bytes());
        attributes.set(4, &2_u32.to_ne_bytes());
        attributes.set(8, &address_of(INSTRUCTIONS.as_ptr()).to_ne_bytes());
        attributes.set(16, &address_of(license.as_ptr()).to_ne_bytes());
        attributes.set(48, b"pass");
        attributes.set(68, &BPF_XDP.to_ne_bytes());
        let descriptor = attributes.call(BPF_PROG_LOAD).context("load the passing XDP program")?;
        let Ok(descriptor) = i32::try_from(descriptor) else { bail!("bpf gave {descriptor}") };
        // SAFETY: the descriptor was just made for us and has no other owner.
        let program = unsafe { OwnedFd::from_raw_fd(descriptor) };

        let pin = Path::new("/sys/fs/bpf").join(format!("{name}-pass"));
        let path = std::ffi::CString::new(pin.as_os_str().as_encoded_bytes()).context("path of a pin")?;
        let mut attributes = Attributes::new();
        attributes.set(0, &address_of(path.as_ptr()).to_ne_bytes());
        attributes.set(8, &program.as_raw_fd().to_ne_bytes());
        attributes.call(BPF_OBJ_PIN).with_context(|| format!("pin {}", pin.display()))?;
        Ok(Self { pin })
    }

    pub(super) fn attach(&self, namespace: &Namespace, device: &str) -> Result<()> {
        let pin = self.pin.to_string_lossy();
        namespace.ip(&["link", "set", "dev", device, "xdpdrv", "pinned", &pin])?;
        Ok(())
    }
}

impl Drop for PassProgram {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.pin) {
            eprintln!("remove {}: {error}", self.pin.display());
        }
    }
}

/// `union bpf_attr` as bytes.
struct Attributes([u8; 144]);

impl Attributes {
    fn new() -> Self {
        Self([0; 144])
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn call(&self, command: libc::c_long) -> Result<libc::c_long> {
        // SAFETY: the attributes, and what they point to, live during the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_ptr(), self.0.len()) };
        if result < 0 {
            return Err(Error::last_os_error()).context("the bpf system call failed");
        }
        Ok(result)
    }
}

fn address_of<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}
