//! The bpf(2) calls that only read. aya opens pins for writing; these open them so that nothing can be changed through
//! the descriptor, and so that read permission on the pin is enough.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_LOOKUP_BATCH: libc::c_long = 24;

/// `BPF_F_RDONLY`
const READ_ONLY: u32 = 1 << 3;

/// Calls bpf(2) with one of the attribute layouts below.
///
/// # Safety
///
/// `attribute` must be the kernel's layout for `command`, and every pointer in it must be valid for what the command
/// reads and writes.
unsafe fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: the caller vouches for the attribute; the size is its own.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

fn raw(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Opens a pinned map for reading.
pub(super) fn open_map(path: &Path) -> io::Result<OwnedFd> {
    open(path, READ_ONLY)
}

/// Opens a pinned map so that it can be memory-mapped: the kernel maps no read-only descriptor, not even for reading.
pub(super) fn open_mappable(path: &Path) -> io::Result<OwnedFd> {
    open(path, 0)
}

/// Opens a pinned link; links know no read-only descriptors.
pub(super) fn open_link(path: &Path) -> io::Result<OwnedFd> {
    open(path, 0)
}

fn open(path: &Path, file_flags: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Object {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attribute = Object { pathname: path.as_ptr().addr() as u64, bpf_fd: 0, file_flags };
    // SAFETY: the path is NUL-terminated and outlives the call.
    let descriptor = unsafe { bpf(OBJ_GET, &mut attribute) }?;
    // SAFETY: the kernel has just made this descriptor for us and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Reads one element of an array.
///
/// # Safety
///
/// `value` must have room for what a lookup in this map writes: the value size, for a per-CPU map rounded up to 8
/// and times the number of possible CPUs.
pub(super) unsafe fn read_element(map: BorrowedFd<'_>, index: u32, value: &mut [u8]) -> io::Result<()> {
    #[repr(C)]
    struct Element {
        map_fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut attribute = Element {
        map_fd: raw(map),
        padding: 0,
        key: std::ptr::from_ref(&index).addr() as u64,
        value: value.as_mut_ptr().addr() as u64,
        flags: 0,
    };
    // SAFETY: key and value outlive the call; the caller vouches for the room.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut attribute) }.map(drop)
}

/// Counts the elements of a hash map, reading them by the batch: a walk by keys may return a key twice.
pub(super) fn count_elements(map: BorrowedFd<'_>, info: &MapInfo) -> io::Result<u64> {
    #[repr(C)]
    struct Batch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map_fd: u32,
        element_flags: u64,
        flags: u64,
    }
    let room = info.max_entries.min(4096);
    let mut keys = vec![0_u8; room as usize * info.key_size as usize];
    let mut values = vec![0_u8; room as usize * info.value_size.next_multiple_of(8) as usize];
    let (mut position, mut next) = (0_u32, 0_u32);
    let mut total = 0;
    let mut first = true;
    loop {
        let mut attribute = Batch {
            in_batch: if first { 0 } else { std::ptr::from_ref(&position).addr() as u64 },
            out_batch: std::ptr::from_mut(&mut next).addr() as u64,
            keys: keys.as_mut_ptr().addr() as u64,
            values: values.as_mut_ptr().addr() as u64,
            count: room,
            map_fd: raw(map),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: keys and values have room for `count` elements of the sizes the kernel reports for this map, and the
        // positions in a hash are 32-bit words; all outlive the call.
        let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attribute) };
        match result {
            Ok(_) => total += u64::from(attribute.count),
            // The last batch: the map has no more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                return Ok(total + u64::from(attribute.count));
            }
            Err(error) => return Err(error),
        }
        (position, first) = (next, false);
    }
}

/// Start of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MapInfo {
    pub(super) map_type: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// Start of `struct bpf_link_info`, for XDP links.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkInfo {
    pub(super) link_type: u32,
    pub(super) id: u32,
    pub(super) program_id: u32,
    padding: u32,
    /// 0 once the interface is gone.
    pub(super) ifindex: u32,
    // Keeps the layout's size a multiple of its alignment in the kernel.
    tail: u32,
}

/// The shape of a map.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    info(map)
}

/// What a link is attached to.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    info(link)
}

fn info<T: Default + Copy>(object: BorrowedFd<'_>) -> io::Result<T> {
    #[repr(C)]
    struct Request {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = T::default();
    let mut attribute = Request {
        bpf_fd: raw(object),
        info_len: size_of::<T>() as u32,
        info: std::ptr::from_mut(&mut info).addr() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which is plain integers in both uses above.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attribute) }?;
    Ok(info)
}
