//! Owns the host's part of what the sandbox sees: detached copies of mounts, taken while the paths to them may still be
//! walked, already stripped of every right the sandbox must not have. Knows nothing of where they will be attached.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Failed, Named, Step};
use crate::spec::{Access, Bind, Mapping, Spec};
use crate::sys::{self, Depth, HERE, attribute};

/// One host path to show.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Where inside.
    pub(crate) target: String,
    /// The detached mount.
    pub(crate) mount: OwnedFd,
    /// What its mount point must be.
    pub(crate) kind: Kind,
}

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// Never: programs that change user, and device files.
const TAME: u64 = attribute::NO_SUID | attribute::NO_DEVICES;

/// Directories every program needs, and of `/etc` only what is no secret anywhere.
const SYSTEM: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];
/// The same on hosts that keep them elsewhere.
const SYSTEM_ELSEWHERE: [&str; 2] = ["/etc/pki/tls/certs", "/etc/pki/ca-trust"];
/// Devices that hold no state of the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What the host's system directories are: mounts to attach, and symbolic links to repeat.
#[derive(Debug)]
pub(crate) struct System {
    /// Directories and files.
    pub(crate) trees: Vec<Tree>,
    /// Links such as `/bin`, with what they point at.
    pub(crate) links: Vec<(String, String)>,
    /// Device files.
    pub(crate) devices: Vec<Tree>,
}

/// Takes the system's directories. Run by the first process before it gives up the keeper's user.
pub(crate) fn system() -> Step<System> {
    let mut system = System { trees: Vec::new(), links: Vec::new(), devices: Vec::new() };
    for path in SYSTEM.into_iter().chain(SYSTEM_ELSEWHERE) {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        if metadata.is_symlink() {
            let target = fs::read_link(path).step_on("read link", path)?;
            system.links.push((path.to_owned(), target.to_string_lossy().into_owned()));
        } else {
            system.trees.push(take(path, path, TAME | attribute::READ_ONLY)?);
        }
    }
    for name in DEVICES {
        let path = format!("/dev/{name}");
        system.devices.push(take(&path, &path, attribute::NO_SUID | attribute::NO_EXEC)?);
    }
    Ok(system)
}

/// The trees a spec names, in the order [`wanted`] gives. Whoever calls must be able to walk to them.
pub(crate) fn named(spec: &Spec, user_namespace: Option<BorrowedFd<'_>>) -> Step<Vec<OwnedFd>> {
    wanted(spec).into_iter().map(|want| named_one(&want, user_namespace)).collect()
}

/// A tree the spec names.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    source: &'a str,
    /// Where inside.
    pub(crate) target: &'a str,
    /// What may be done with it.
    pub(crate) access: Access,
}

/// The workspace first, if there is one, then the binds.
pub(crate) fn wanted(spec: &Spec) -> Vec<Wanted<'_>> {
    let workspace = spec.workspace.as_deref().map(|source| Wanted {
        source,
        target: crate::spec::WORKSPACE,
        access: Access::PrivateCopy,
    });
    let bind = |bind: &'_ Bind| -> (usize, Access) { (bind.target.matches('/').count(), bind.access) };
    let mut binds: Vec<&Bind> = spec.binds.iter().collect();
    // A mount inside another must come after it.
    binds.sort_by_key(|b| bind(b).0);
    workspace
        .into_iter()
        .chain(binds.into_iter().map(|b| Wanted { source: &b.source, target: &b.target, access: b.access }))
        .collect()
}

fn named_one(want: &Wanted<'_>, user_namespace: Option<BorrowedFd<'_>>) -> Step<OwnedFd> {
    if !Path::new(want.source).is_absolute() {
        return Err(Failed::because("take host tree", want.source));
    }
    let attributes = if want.access == Access::ReadWrite { TAME } else { TAME | attribute::READ_ONLY };
    let mapped = want.access != Access::ReadOnly;
    // Ids can be mapped mount by mount only, and what is mounted beneath a writable tree is not part of it.
    let depth = if mapped { Depth::Alone } else { Depth::Tree };
    let mount = sys::copy_mount(HERE, want.source, depth).step_on("take host tree", want.source)?;
    sys::restrict_mount(mount.as_fd(), attributes, depth).step_on("restrict host tree", want.source)?;
    if let Some(namespace) = user_namespace.filter(|_| mapped) {
        sys::map_ids(mount.as_fd(), namespace).step_on("map ids of host tree", want.source)?;
    }
    Ok(mount)
}

fn take(source: &str, target: &str, attributes: u64) -> Step<Tree> {
    let mount = sys::copy_mount(HERE, source, Depth::Tree).step_on("take system tree", source)?;
    sys::restrict_mount(mount.as_fd(), attributes, Depth::Tree).step_on("restrict system tree", source)?;
    Ok(Tree { target: target.to_owned(), kind: kind_of(&mount)?, mount })
}

/// Whether a detached mount's root is a directory.
pub(crate) fn kind_of(mount: &OwnedFd) -> Step<Kind> {
    let metadata = fs::metadata(format!("/proc/self/fd/{}", mount.as_raw_fd())).step("look at detached mount")?;
    Ok(if metadata.is_dir() { Kind::Directory } else { Kind::File })
}

/// Whether the launcher, being root, must take the named trees itself: only root may map ids of the host's filesystems.
pub(crate) fn taken_by_launcher(spec: &Spec) -> bool {
    spec.owner.mapping == Mapping::ByRoot
}
