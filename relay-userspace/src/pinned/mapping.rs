//! A pinned array, memory-mapped: a million entries without a system call each.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use relay_abi::client::{ClientDetails, ClientSet};
use relay_abi::flow::FlowSet;
use relay_abi::limit::PrefixSet;
use relay_abi::list::Line;
use relay_abi::service_state::ServiceState;

use super::map::ReadOnlyMap;
use crate::exit::Failure;

/// What can be looked at while the kernel side changes it.
///
/// # Safety
///
/// The type must consist of `AtomicU64` alone: no padding, and any bytes are a value.
pub unsafe trait Shared: Sync {}

macro_rules! shared {
    ($($type:ty),*) => {$(
        // SAFETY: by its definition a C structure, or an array, of `AtomicU64` only; `relay_abi::layout` asserts its size.
        unsafe impl Shared for $type {}
    )*};
}

shared!(AtomicU64, ClientDetails, ClientSet, FlowSet, Line, PrefixSet, ServiceState);

/// A mapping of a whole array.
#[derive(Debug)]
pub struct Mapping<T> {
    start: NonNull<T>,
    entries: usize,
}

// SAFETY: what is mapped belongs to no thread, and is only changed by atomic operations.
unsafe impl<T: Shared> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Mapping<T> {}

impl<T: Shared> Mapping<T> {
    /// Maps the array pinned at a path, for reading: a store to it would end the process.
    pub fn read(pin: &Path) -> Result<Self, Failure> {
        Self::map(pin, libc::PROT_READ)
    }

    /// Maps the array pinned at a path, for reading and writing.
    pub fn write(pin: &Path) -> Result<Self, Failure> {
        Self::map(pin, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn map(pin: &Path, protection: libc::c_int) -> Result<Self, Failure> {
        let array = ReadOnlyMap::open_mappable(pin)?;
        array.expect_value_size(size_of::<T>())?;
        let entries = array.max_entries() as usize;
        let descriptor = array.descriptor().as_raw_fd();
        // SAFETY: a new mapping at an address the kernel chooses touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                entries * size_of::<T>(),
                protection,
                libc::MAP_SHARED,
                descriptor,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(array.failed("map", &std::io::Error::last_os_error()));
        }
        let start = NonNull::new(start.cast());
        let start =
            start.ok_or_else(|| array.failed("map", &std::io::Error::other("mapped at address zero")))?;
        Ok(Self { start, entries })
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[T] {
        // SAFETY: the mapping starts at a page, has this many values and lives as long as `self`; `T` is `Shared`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.entries) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this start and length and no slice of it outlives `self`.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.entries * size_of::<T>());
        }
    }
}
