//! A pinned map, open for reading.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use bytemuck::Pod;

use crate::exit::Failure;
use crate::load::syscall::{self, MapInfo};

const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// A pinned map, open for reading.
#[derive(Debug)]
pub struct ReadOnlyMap {
    descriptor: OwnedFd,
    info: MapInfo,
    name: String,
}

impl ReadOnlyMap {
    /// Opens the map pinned at a path.
    pub fn open(pin: &Path) -> Result<Self, Failure> {
        Self::open_by(pin, syscall::open_read_only)
    }

    /// Opens it so that it can be memory-mapped as well.
    pub(super) fn open_mappable(pin: &Path) -> Result<Self, Failure> {
        Self::open_by(pin, syscall::open)
    }

    fn open_by(pin: &Path, open: fn(&Path) -> io::Result<OwnedFd>) -> Result<Self, Failure> {
        let name = pin.display().to_string();
        let failed = |error: io::Error| Failure::io(format!("open the pinned map {name}"), &error);
        let descriptor = open(pin).map_err(failed)?;
        let info = syscall::map_info(descriptor.as_fd()).map_err(failed)?;
        Ok(Self { descriptor, info, name })
    }

    /// How many elements the map has room for.
    #[must_use]
    pub const fn max_entries(&self) -> u32 {
        self.info.max_entries
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// A failure of something done with this map.
    pub(super) fn failed(&self, attempted: &str, error: &io::Error) -> Failure {
        Failure::io(format!("{attempted} the map {}", self.name), error)
    }

    /// Refuses a map whose values another version of this program laid out.
    pub(super) fn expect_value_size(&self, size: usize) -> Result<(), Failure> {
        if self.info.value_size as usize == size {
            return Ok(());
        }
        let found = self.info.value_size;
        let message = format!("the values of {} have {found} bytes, this program's have {size}", self.name);
        Err(Failure::new(crate::exit::Exit::Failed, message)
            .hint("use the xdp-relay that runs this node, or restart the node with this one"))
    }

    /// Reads the only element of an array into `value`.
    pub(super) fn read<T: Pod>(&self, value: &mut T) -> Result<(), Failure> {
        self.expect_value_size(size_of::<T>())?;
        let bytes = bytemuck::bytes_of_mut(value);
        syscall::read_element(self.descriptor(), 0, bytes).map_err(|error| self.failed("read", &error))
    }

    /// Reads an element of an array that has a value for each CPU.
    pub(crate) fn read_per_cpu<T: Pod>(&self, index: u32) -> Result<Vec<T>, Failure> {
        self.expect_value_size(size_of::<T>())?;
        let cpus = possible_cpus().map_err(|error| Failure::io(format!("read {POSSIBLE_CPUS}"), &error))?;
        let stride = size_of::<T>().next_multiple_of(8);
        let mut bytes = vec![0; stride * cpus];
        // The kernel writes a value for each possible CPU, its size rounded up to 8.
        syscall::read_element(self.descriptor(), index, &mut bytes)
            .map_err(|error| self.failed("read", &error))?;
        Ok(bytes
            .chunks_exact(stride)
            .map(|value| bytemuck::pod_read_unaligned(&value[..size_of::<T>()]))
            .collect())
    }

    /// Number of elements in a hash.
    pub(super) fn count(&self) -> Result<u64, Failure> {
        syscall::count_elements(self.descriptor(), &self.info).map_err(|error| self.failed("count", &error))
    }

    /// Kernel memory the map takes.
    pub fn memory_bytes(&self) -> Result<u64, Failure> {
        let path = format!("/proc/self/fdinfo/{}", self.descriptor.as_raw_fd());
        let text = fs::read_to_string(&path).map_err(|error| Failure::io(format!("read {path}"), &error))?;
        Ok(memlock(&text).unwrap_or(0))
    }
}

fn memlock(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

fn possible_cpus() -> io::Result<usize> {
    let text = fs::read_to_string(POSSIBLE_CPUS)?;
    count_cpus(text.trim()).ok_or_else(|| io::Error::other(format!("{text:?} is no list of CPUs")))
}

/// Counts a list like `0-3,8`.
fn count_cpus(list: &str) -> Option<usize> {
    list.split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_counted() {
        assert_eq!(count_cpus("0-1"), Some(2));
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus("0-3,8,10-11"), Some(7));
        assert_eq!(count_cpus(""), None);
        assert_eq!(count_cpus("3-1"), None);
        assert!(possible_cpus().unwrap() >= 1);
    }

    #[test]
    fn the_memory_of_a_map_is_in_its_fdinfo() {
        assert_eq!(memlock("pos:\t0\nmap_type:\t2\nmemlock:\t4096\nmap_id:\t7\n"), Some(4096));
        assert_eq!(memlock("pos:\t0\n"), None);
    }
}
