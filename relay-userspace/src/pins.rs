//! Where the data plane outlives the controller: `<pin_directory>/<node>/` on a BPF filesystem.
//!
//! File modes are the boundary that protects a running relay: whoever may read the pin of a program or link may
//! replace it. So the directories are ours alone, and one that somebody else can write to is refused.
//!
//! A set of pins is complete when `META` is there. On the way up it is pinned last of the maps and before any link; on
//! the way down it is removed right after the links. So a directory without `META` is what an interrupted start or
//! `unload` left behind: nothing is attached through it, and the next start removes it.

use std::ffi::CString;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use relay_abi::{list, maps};

use crate::exit::{Exit, Failure};

/// Where pins go unless the configuration says otherwise.
pub const DEFAULT_PIN_DIRECTORY: &str = "/sys/fs/bpf/xdp-relay";
/// Name of the pinned program.
pub const PROGRAM: &str = "program";
/// Name of the pinned array that holds the image in force.
pub const IMAGE: &str = "image";
/// The same for the image that is about to be in force.
const NEXT_IMAGE: &str = "image_next";

/// Names of the pinned arrays that hold the lists in force, by slot of `LISTS`.
pub const LISTS: [&str; list::slot::COUNT] = ["list_runtime", "list_configured"];

const LINK_PREFIX: &str = "link_";
const NEXT_SUFFIX: &str = "_next";
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
const BPF_FS: &str = "/sys/fs/bpf";

/// The pins of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    node: String,
    directory: PathBuf,
}

impl Pins {
    /// Names the directory; touches nothing.
    #[must_use]
    pub fn new(pin_directory: &Path, node: &str) -> Self {
        Self { node: node.to_owned(), directory: pin_directory.join(node) }
    }

    /// The nodes that have pins in a directory, in order.
    pub fn nodes(pin_directory: &Path) -> Result<Vec<Self>, Failure> {
        let entries = match fs::read_dir(pin_directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::io(format!("read {}", pin_directory.display()), &error)),
        };
        let mut nodes: Vec<Self> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(|node| Self::new(pin_directory, &node))
            .collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(nodes)
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The node's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The pin of the program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.directory.join(PROGRAM)
    }

    /// The pin of the array that holds the image in force. While it is being replaced it is one generation behind;
    /// see [`Self::next_image`].
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.directory.join(IMAGE)
    }

    /// Where the next image is pinned until it is in force.
    #[must_use]
    pub fn next_image(&self) -> PathBuf {
        self.directory.join(NEXT_IMAGE)
    }

    /// The pin of the array that holds a list in force, by its slot of `LISTS`. While it is being replaced, what is in force
    /// is pinned at [`Self::next`] of it.
    #[must_use]
    pub fn list(&self, slot: u32) -> PathBuf {
        self.directory.join(LISTS.get(slot as usize).copied().unwrap_or_default())
    }

    /// The pin of an interface's link.
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        self.directory.join(format!("{LINK_PREFIX}{}", escape(interface)))
    }

    /// Where something is pinned before it is renamed over `pin`.
    #[must_use]
    pub fn next(pin: &Path) -> PathBuf {
        let mut name = pin.as_os_str().to_owned();
        name.push(NEXT_SUFFIX);
        name.into()
    }

    /// The interfaces that have a pinned link, in order.
    pub fn linked_interfaces(&self) -> Result<Vec<String>, Failure> {
        let mut interfaces: Vec<String> = self
            .names()?
            .iter()
            .filter(|name| !name.ends_with(NEXT_SUFFIX))
            .filter_map(|name| name.strip_prefix(LINK_PREFIX).map(unescape))
            .collect();
        interfaces.sort();
        Ok(interfaces)
    }

    /// Every name in the directory; none when it does not exist.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::io(format!("read {}", self.directory.display()), &error)),
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Whether the set of pins is complete.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.map(maps::META).exists()
    }

    /// Makes the directory, with a BPF filesystem under it, or refuses what is there.
    pub fn create(&self) -> Result<(), Failure> {
        let parent = self.directory.parent().unwrap_or(&self.directory);
        ensure_bpf_fs(parent)?;
        create_private(parent)?;
        require_private(parent)?;
        create_private(&self.directory)?;
        require_private(&self.directory)
    }

    /// Removes every pin but those of links.
    pub fn remove_leftovers(&self) -> Result<(), Failure> {
        for name in self.names()?.iter().filter(|name| !name.starts_with(LINK_PREFIX)) {
            remove(&self.directory.join(name))?;
        }
        Ok(())
    }

    /// Removes the directory, and its parent when that is the default one and empty.
    pub fn remove_directory(&self) -> Result<(), Failure> {
        match fs::remove_dir(&self.directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io(format!("remove {}", self.directory.display()), &error)),
        }
        if self.directory.parent() == Some(Path::new(DEFAULT_PIN_DIRECTORY)) {
            // Another node may be using it.
            drop(fs::remove_dir(DEFAULT_PIN_DIRECTORY));
        }
        Ok(())
    }
}

/// Removes one pin; that it is gone already is fine.
pub fn remove(pin: &Path) -> Result<(), Failure> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(format!("remove {}", pin.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Puts one pin in the place of another, in one step.
pub fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to)
        .map_err(|error| Failure::io(format!("rename {} to {}", from.display(), to.display()), &error))
}

/// Refuses a directory that anybody but us (and root) can change.
pub(crate) fn require_private(directory: &Path) -> Result<(), Failure> {
    let metadata = fs::metadata(directory)
        .map_err(|error| Failure::io(format!("examine {}", directory.display()), &error))?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    match exposure(&metadata, own) {
        None => Ok(()),
        Some(why) => Err(Failure::new(
            Exit::Permission,
            format!(
                "refusing to use {}: {why}; whoever can write there controls the relay",
                directory.display()
            ),
        )
        .hint(format!("chown {own} {0} && chmod 0700 {0}", directory.display()))),
    }
}

fn exposure(metadata: &Metadata, own: u32) -> Option<String> {
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() {
        Some("it is not a directory".to_owned())
    } else if metadata.uid() != own && metadata.uid() != 0 {
        Some(format!("it belongs to user {}", metadata.uid()))
    } else if mode & 0o022 != 0 {
        Some(format!("others may write to it (mode {mode:04o})"))
    } else {
        None
    }
}

/// Makes a directory, and those above it that are missing, for us alone. What is there already is not examined.
pub(crate) fn create_private(directory: &Path) -> Result<(), Failure> {
    // Another node may be starting, or being unloaded and taking an empty directory above away.
    let mut attempts = 3;
    loop {
        attempts -= 1;
        match missing_ancestors(directory).iter().try_for_each(|path| create_one(path)) {
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound && attempts > 0 => {}
            Err((path, error)) => return Err(Failure::io(format!("create {}", path.display()), &error)),
            Ok(()) => return Ok(()),
        }
    }
}

fn create_one(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err((path.to_path_buf(), error)),
        _ => Ok(()),
    }
}

/// The directory and its ancestors that do not exist, outermost first.
fn missing_ancestors(directory: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> =
        directory.ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
    missing.reverse();
    missing
}

/// Makes sure that pins can be made at a path, by mounting a BPF filesystem at its usual place if there is none.
fn ensure_bpf_fs(path: &Path) -> Result<(), Failure> {
    if on_bpf_fs(path)? {
        return Ok(());
    }
    let mount = if path.starts_with(BPF_FS) { Path::new(BPF_FS) } else { path };
    let advice = format!("mount -t bpf -o mode=0711 bpf {}", mount.display());
    let refused = |why: String| {
        Failure::new(Exit::Failed, format!("{} is not on a BPF filesystem, {why}", path.display()))
            .hint(&advice)
    };
    if mount != Path::new(BPF_FS) {
        return Err(refused("so nothing can be pinned there".to_owned()));
    }
    // One at a time: a second mount would hide what the first one's owner has pinned.
    let place = fs::File::open(mount).and_then(|place| place.lock().map(|()| place));
    let _lock = place.map_err(|error| refused(format!("and {BPF_FS} cannot be locked: {error}")))?;
    if on_bpf_fs(path)? {
        return Ok(());
    }
    mount_bpf_fs().map_err(|error| refused(format!("and mounting one at {BPF_FS} failed: {error}")))?;
    tracing::info!("mounted a BPF filesystem at {BPF_FS}");
    Ok(())
}

/// Whether a path, or the nearest directory above it that exists, is on a BPF filesystem.
pub(crate) fn on_bpf_fs(path: &Path) -> Result<bool, Failure> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let attempt = || format!("examine {}", existing.display());
    let c_path = CString::new(existing.as_os_str().as_bytes())
        .map_err(|error| Failure::io(attempt(), &io::Error::other(error)))?;
    // SAFETY: statfs is plain integers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated and the buffer is of the type the call fills.
    if unsafe { libc::statfs(c_path.as_ptr(), &raw mut found) } != 0 {
        return Err(Failure::io(attempt(), &io::Error::last_os_error()));
    }
    Ok(found.f_type == BPF_FS_MAGIC)
}

/// Mounts as systemd does, but lets other users pass through: a controller without root has its own directory below.
fn mount_bpf_fs() -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    let target = c"/sys/fs/bpf";
    // SAFETY: every pointer is to a NUL-terminated string that outlives the call.
    let result = unsafe {
        libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), flags, c"mode=0711".as_ptr().cast())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A BPF filesystem refuses names with a dot, which VLAN interfaces have.
fn escape(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

fn unescape(name: &str) -> String {
    name.replace("%2e", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_have_no_dots_and_come_back() {
        for interface in ["eth0", "eth0.100", "a%2eb", "%.%"] {
            assert!(!escape(interface).contains('.'));
            assert_eq!(unescape(&escape(interface)), interface);
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o700);
        assert!(require_private(directory.path()).is_ok());
        for mode in [0o720, 0o702, 0o777, 0o1777] {
            set(mode);
            let failure = require_private(directory.path()).unwrap_err();
            assert_eq!(failure.exit, Exit::Permission);
            assert!(failure.message.contains("others may write"), "{failure}");
        }
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let metadata = fs::metadata(directory.path()).unwrap();
        assert_eq!(exposure(&metadata, metadata.uid()), None);
        if metadata.uid() != 0 {
            assert!(exposure(&metadata, metadata.uid() + 1).is_some());
        }
    }

    #[test]
    fn what_is_not_on_a_bpf_filesystem_is_refused_with_the_command_that_mends_it() {
        let directory = tempfile::tempdir().unwrap();
        let failure = Pins::new(&directory.path().join("pins"), "a").create().unwrap_err();
        assert!(failure.message.contains("not on a BPF filesystem"), "{failure}");
        assert!(failure.hint.unwrap().starts_with("mount -t bpf"));
        assert!(!directory.path().join("pins").exists());
    }

    #[test]
    fn missing_directories_come_outermost_first() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        assert_eq!(missing_ancestors(&base.join("a/b")), [base.join("a"), base.join("a/b")]);
        assert!(missing_ancestors(base).is_empty());
    }
}
