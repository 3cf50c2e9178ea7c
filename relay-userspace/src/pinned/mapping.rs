//! A pinned array, memory-mapped: a million entries without a system call each.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

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
        Self::over(array.descriptor(), entries, protection).map_err(|error| array.failed("map", &error))
    }

    /// Maps an array of so many values for reading and writing.
    pub(crate) fn of_array(array: BorrowedFd<'_>, entries: usize) -> io::Result<Self> {
        Self::over(array, entries, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn over(array: BorrowedFd<'_>, entries: usize, protection: libc::c_int) -> io::Result<Self> {
        let bytes = entries * size_of::<T>();
        let descriptor = array.as_raw_fd();
        // SAFETY: a new mapping at an address the kernel chooses touches nothing that exists. The kernel refuses one that is
        // longer than the array.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, descriptor, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, entries })
    }

    /// The words of a value, each as it was when it was read.
    #[must_use]
    pub fn words<const N: usize>(&self, index: usize) -> Option<[u64; N]> {
        const { assert!(size_of::<T>() == N * size_of::<AtomicU64>()) };
        let value: *const T = self.values().get(index)?;
        // SAFETY: `T` is `Shared`, so the value is this many words; they live as long as the slice they are in.
        let words = unsafe { slice::from_raw_parts(value.cast::<AtomicU64>(), N) };
        let mut copy = [0; N];
        for (to, from) in copy.iter_mut().zip(words) {
            *to = from.load(Ordering::Relaxed);
        }
        Some(copy)
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
