//! The bpf(2) commands that aya does not offer as we need them.
//!
//! aya attaches XDP by netlink when the kernel refuses a link, and such an attachment cannot be pinned or replaced
//! atomically; it has no `BPF_LINK_DETACH`; and it cannot make the inner array of a map of maps.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const MAP_DELETE_ELEM: libc::c_long = 3;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

/// `BPF_F_RDONLY`
const READ_ONLY: u32 = 1 << 3;

const MAP_TYPE_ARRAY: u32 = 2;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;

/// `XDP_FLAGS_SKB_MODE`: the generic hook.
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`: the driver's hook.
pub(super) const XDP_DRIVER: u32 = 1 << 2;

/// Calls bpf(2) with one of the attribute layouts below.
///
/// # Safety
///
/// `attribute` must be the kernel's layout for `command`, and every pointer in it must be valid for what the command
/// reads and writes.
unsafe fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<i32> {
    let size = size_of::<T>() as libc::c_long;
    // SAFETY: the caller vouches for the attribute; the size is its own.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

/// Takes the descriptor a successful bpf(2) returned.
fn own(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us and nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn raw(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// Makes an array, like the template of a map of maps.
pub(crate) fn create_array(name: &str, value_size: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attribute = MapCreate {
        map_type: MAP_TYPE_ARRAY,
        key_size: size_of::<u32>() as u32,
        value_size,
        max_entries: entries,
        map_flags: flags,
        ..MapCreate::default()
    };
    // The last byte stays zero.
    for (to, from) in attribute.map_name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: the layout is BPF_MAP_CREATE's and holds no pointer.
    unsafe { bpf(MAP_CREATE, &mut attribute) }.map(own)
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Writes an element of an array in one call. An element of a map of maps is written as a descriptor, and the call returns
/// once no packet uses what was there before.
pub(crate) fn write_element(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    let mut attribute = MapElement {
        map_fd: raw(map),
        padding: 0,
        key: std::ptr::from_ref(&key).addr() as u64,
        value: value.as_ptr().addr() as u64,
        flags: 0,
    };
    // SAFETY: key and value outlive the call; the callers of this module pass values of the map's value size.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attribute) }.map(drop)
}

/// Takes an element out of a map of maps; that there is none is fine.
pub(crate) fn delete_element(map: BorrowedFd<'_>, key: u32) -> io::Result<()> {
    let mut attribute = MapElement {
        map_fd: raw(map),
        padding: 0,
        key: std::ptr::from_ref(&key).addr() as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the key outlives the call; the command reads no value.
    match unsafe { bpf(MAP_DELETE_ELEM, &mut attribute) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Reads an element of an array in one call.
pub(crate) fn read_element(map: BorrowedFd<'_>, key: u32, value: &mut [u8]) -> io::Result<()> {
    let mut attribute = MapElement {
        map_fd: raw(map),
        padding: 0,
        key: std::ptr::from_ref(&key).addr() as u64,
        value: value.as_mut_ptr().addr() as u64,
        flags: 0,
    };
    // SAFETY: key and value outlive the call; the callers of this module pass values of the map's value size.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut attribute) }.map(drop)
}

/// Counts the elements of a hash map, reading them by the batch: a walk by keys may return a key twice.
pub(crate) fn count_elements(map: BorrowedFd<'_>, info: &MapInfo) -> io::Result<u64> {
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

#[repr(C)]
struct Object {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Pins a map, program or link. The file gets mode 0600 and the caller as its owner.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attribute = Object { pathname: path.as_ptr().addr() as u64, bpf_fd: raw(object), file_flags: 0 };
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { bpf(OBJ_PIN, &mut attribute) }.map(drop)
}

/// Opens what is pinned at a path.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    open_with(path, 0)
}

/// Opens a pinned map so that nothing can be changed through the descriptor; read permission on the pin is enough. The
/// kernel memory-maps no such descriptor, not even for reading.
pub(crate) fn open_read_only(path: &Path) -> io::Result<OwnedFd> {
    open_with(path, READ_ONLY)
}

fn open_with(path: &Path, file_flags: u32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attribute = Object { pathname: path.as_ptr().addr() as u64, bpf_fd: 0, file_flags };
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { bpf(OBJ_GET, &mut attribute) }.map(own)
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    program_flags: u32,
    name: [u8; 16],
}

/// Loads an XDP program of a few instructions.
pub(crate) fn load_xdp(name: &str, instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attribute = ProgramLoad {
        program_type: PROGRAM_TYPE_XDP,
        instruction_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        ..ProgramLoad::default()
    };
    // The last byte stays zero.
    for (to, from) in attribute.name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: the instructions are as many as said, the licence is NUL-terminated, and both outlive the call.
    unsafe { bpf(PROG_LOAD, &mut attribute) }.map(own)
}

/// Runs a program once on an empty frame; gives what it returns.
pub(crate) fn test_run(program: BorrowedFd<'_>) -> io::Result<u32> {
    #[repr(C)]
    #[derive(Default)]
    struct TestRun {
        prog_fd: u32,
        returned: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
    let frame = [0_u8; 64];
    let mut attribute = TestRun {
        prog_fd: raw(program),
        size_in: frame.len() as u32,
        data_in: frame.as_ptr().addr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the frame is as long as said and outlives the call; nothing is written but the attribute.
    unsafe { bpf(PROG_TEST_RUN, &mut attribute) }?;
    Ok(attribute.returned)
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches an XDP program to an interface; the attachment lives as long as the descriptor or a pin of it.
pub(crate) fn link_create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attribute =
        LinkCreate { prog_fd: raw(program), target_ifindex: ifindex, attach_type: ATTACH_TYPE_XDP, flags };
    // SAFETY: the layout is BPF_LINK_CREATE's and holds no pointer.
    unsafe { bpf(LINK_CREATE, &mut attribute) }.map(own)
}

#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Replaces the program of a link; no packet passes without a program.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute =
        LinkUpdate { link_fd: raw(link), new_prog_fd: raw(program), flags: 0, old_prog_fd: 0 };
    // SAFETY: the layout is BPF_LINK_UPDATE's and holds no pointer.
    unsafe { bpf(LINK_UPDATE, &mut attribute) }.map(drop)
}

/// Detaches a link at once, whoever else holds it.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute = raw(link);
    // SAFETY: BPF_LINK_DETACH takes one descriptor and no pointer.
    unsafe { bpf(LINK_DETACH, &mut attribute) }.map(drop)
}

#[repr(C)]
struct InfoRequest {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

fn info<T: Default>(object: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut attribute = InfoRequest {
        bpf_fd: raw(object),
        info_len: size_of::<T>() as u32,
        info: std::ptr::from_mut(&mut info).addr() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which is plain integers in all uses below.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attribute) }?;
    Ok(info)
}

/// Start of `struct bpf_link_info`, for XDP links.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// 6 for XDP.
    pub(crate) link_type: u32,
    pub(crate) id: u32,
    pub(crate) program_id: u32,
    padding: u32,
    /// 0 once the interface is gone.
    pub(crate) ifindex: u32,
}

/// What a link is attached to.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    info(link)
}

/// Start of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    program_type: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

/// The name a program was loaded with. Needs CAP_SYS_ADMIN.
pub(crate) fn program_name(id: u32) -> io::Result<String> {
    #[repr(C)]
    struct ById {
        id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attribute = ById { id, next_id: 0, open_flags: 0 };
    // SAFETY: the layout is BPF_PROG_GET_FD_BY_ID's and holds no pointer.
    let program = own(unsafe { bpf(PROG_GET_FD_BY_ID, &mut attribute) }?);
    let info: ProgramInfo = info(std::os::fd::AsFd::as_fd(&program))?;
    let name: Vec<u8> = info.name.iter().copied().take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Start of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapInfo {
    pub(crate) map_type: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

/// The shape of a map.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    info(map)
}
