//! An array of a loaded object, memory-mapped: a million entries without a system call each.

use std::marker::PhantomData;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::NonNull;

use anyhow::{Result, bail, ensure};
use aya::maps::{Map, MapInfo};
use relay_abi::client::{ClientDetails, ClientSet};

/// What can be looked at while the kernel side changes it.
///
/// # Safety
///
/// The type must consist of `AtomicU64` alone: no padding, and any bytes are a value.
pub(super) unsafe trait Shared {}

// SAFETY: four times four words.
unsafe impl Shared for ClientSet {}
// SAFETY: sixteen words.
unsafe impl Shared for ClientDetails {}

/// A mapping of a whole array, for reading.
pub(super) struct Mapping<T> {
    start: NonNull<libc::c_void>,
    entries: usize,
    _of: PhantomData<T>,
}

impl<T: Shared> Mapping<T> {
    pub(super) fn new(map: &Map) -> Result<Self> {
        let Map::Array(data) = map else { bail!("this map is no array") };
        let info: MapInfo = data.info()?;
        ensure!(info.value_size() as usize == size_of::<T>(), "values of {} bytes", info.value_size());
        let entries = info.max_entries() as usize;
        // SAFETY: a new mapping at an address the kernel chooses touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                entries * size_of::<T>(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                data.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => {
                Ok(Self { start, entries, _of: PhantomData })
            }
            _ => bail!("cannot map an array: {}", std::io::Error::last_os_error()),
        }
    }

    pub(super) fn values(&self) -> &[T] {
        // SAFETY: the mapping starts at a page, has this many values and lives as long as `self`; `T` is `Shared`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.entries) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr(), self.entries * size_of::<T>()) };
    }
}
