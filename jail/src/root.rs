//! Owns the sandbox's file tree: a small root of its own, the host's trees attached to it, one scratch filesystem that
//! bounds everything written, and a `/proc` that tells and moves nothing. Run by the first process of the sandbox.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libc::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC};

use crate::danger;
use crate::error::{Failed, Named, Step};
use crate::namespaces::Translation;
use crate::spec::{self, Access, BESIDE, File, Spec, USER};
use crate::sys::{self, Beneath, Depth, HERE, attribute};
use crate::trees::{self, Kind, System, Tree, Wanted};

/// Any directory that every host has; in this mount namespace it is about to become the root.
const SITE: &str = "/tmp";
/// Another one, where things are put together. It is not beneath the new root, so all of it goes with the host's tree at
/// once: each unmount by itself costs the kernel a grace period, milliseconds on a busy machine.
const STAGE: &str = "/usr";
/// Pseudo-terminals of one sandbox. All sandboxes share what the host leaves, three thousand as a rule.
const TERMINALS_MAX: u32 = 64;
/// Room for directories, mount points and links.
const SMALL_BYTES: usize = 4 << 20;

/// Takes the whole tree of mounts out of the host's sight: nothing mounted here shows there, or the other way round.
pub(crate) fn part_from_host() -> Step<()> {
    sys::mount("none", "/", "", MS_REC | MS_PRIVATE, "").step("make mounts private")
}

/// Builds the tree and enters it. Returns the directory in which the workspace's changes will be, if there is one.
pub(crate) fn build(spec: &Spec, system: System, named: Vec<OwnedFd>) -> Step<Option<OwnedFd>> {
    let (root, stage) = new_root_and_stage(spec)?;
    let (root, stage) = (root.as_fd(), stage.as_fd());
    system_trees(root, &system)?;
    devices(root, &system.devices)?;
    accounts()?;
    let scratch = Scratch::mount(spec)?;
    for (name, target, mode) in [
        ("tmp", "/tmp", 0o1777),
        ("vartmp", "/var/tmp", 0o1777),
        ("shm", "/dev/shm", 0o1777),
        ("home", spec::HOME, 0o755),
    ] {
        let directory = scratch.directory(name, mode)?;
        attach_at(root, target, Kind::Directory, scratch.show(&directory)?.as_fd())?;
    }
    sys::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "").step("mount /proc")?;
    let keeper = if spec.workspace.is_some() && spec.owner.must_be_given_files() { Some(as_keeper()?) } else { None };
    close_process_table(spec, root)?;
    let mut upper = None;
    for (number, (want, mount)) in trees::wanted(spec).iter().zip(named).enumerate() {
        let written = attach_named(spec, root, stage, &scratch, number, want, &mount)?;
        if want.target == spec::WORKSPACE && want.access == Access::PrivateCopy {
            upper = written.map(|path| for_collection(&path, keeper.as_ref())).transpose()?;
        }
    }
    for (number, file) in spec.files.iter().enumerate() {
        made_file(root, number, file)?;
    }
    enter(spec)?;
    keeper.map_or(Ok(()), Translation::end)?;
    Ok(upper)
}

fn new_root_and_stage(spec: &Spec) -> Step<(OwnedFd, OwnedFd)> {
    let made_files: usize = spec.files.iter().map(|file| file.content.len()).sum();
    for (site, bytes) in [(SITE, SMALL_BYTES), (STAGE, SMALL_BYTES + made_files)] {
        let options = format!("size={bytes},nr_inodes=4096,mode=755");
        sys::mount("tmpfs", site, "tmpfs", MS_NOSUID | MS_NODEV, &options).step_on("mount root", site)?;
    }
    std::env::set_current_dir(SITE).step("enter new root")?;
    for directory in ["etc", "proc", "dev", "run", "opt"] {
        fs::create_dir(directory).step_on("make directory", directory)?;
    }
    let open = |path| fs::File::open(path).map(OwnedFd::from).step_on("open new root", path);
    Ok((open(SITE)?, open(STAGE)?))
}

fn system_trees(root: BorrowedFd<'_>, system: &System) -> Step<()> {
    for tree in &system.trees {
        attach_at(root, &tree.target, tree.kind, tree.mount.as_fd())?;
    }
    for (link, target) in &system.links {
        symlink(target, link.trim_start_matches('/')).step_on("make link", link)?;
    }
    Ok(())
}

fn devices(root: BorrowedFd<'_>, devices: &[Tree]) -> Step<()> {
    sys::mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=64,mode=755").step("mount /dev")?;
    for tree in devices {
        attach_at(root, &tree.target, tree.kind, tree.mount.as_fd())?;
    }
    fs::create_dir("dev/pts").step("make /dev/pts")?;
    sys::mount(
        "devpts",
        "dev/pts",
        "devpts",
        MS_NOSUID | MS_NOEXEC,
        &format!("newinstance,ptmxmode=0666,mode=620,max={TERMINALS_MAX}"),
    )
    .step("mount /dev/pts")?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, link) in links {
        symlink(target, Path::new("dev").join(link)).step_on("make link", link)?;
    }
    Ok(())
}

/// Name service without the host's accounts. Group and user 0 exist in name only, for programs that print them.
fn accounts() -> Step<()> {
    let passwd = format!("root:x:0:0::/:/usr/sbin/nologin\nagent:x:{USER}:{USER}::{}:/bin/bash\n", spec::HOME);
    let files = [
        ("passwd", passwd.as_str()),
        ("group", "root:x:0:\nagent:x:1000:\n"),
        ("hosts", "127.0.0.1 localhost sandbox\n"),
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ];
    for (name, text) in files {
        fs::write(Path::new("etc").join(name), text).step_on("write /etc", name)?;
    }
    Ok(())
}

/// The one filesystem everything writable lives on, so that one size and one count of files bound them together.
struct Scratch(PathBuf);

impl Scratch {
    fn mount(spec: &Spec) -> Step<Self> {
        let path = Path::new(STAGE).join("scratch");
        fs::create_dir(&path).step("make scratch")?;
        let options = format!("size={},nr_inodes={},mode=755", spec.limits.disk_bytes, spec.limits.disk_files);
        sys::mount("tmpfs", &path, "tmpfs", MS_NOSUID | MS_NODEV, &options).step("mount scratch")?;
        // Before Linux 6.6 it could not, and an overlay then fails in odd places much later.
        sys::set_attribute(&path, "user.selvedge").step("keep attributes on scratch")?;
        Ok(Self(path))
    }

    fn directory(&self, name: &str, mode: u32) -> Step<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir(&path).step_on("make scratch directory", name)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).step_on("set mode of scratch directory", name)?;
        Ok(path)
    }

    fn show(&self, directory: &Path) -> Step<OwnedFd> {
        let path = directory.to_string_lossy();
        sys::copy_mount(HERE, &path, Depth::Alone).step_on("show scratch directory", &path)
    }
}

/// Attaches a tree the spec names; for a private copy, returns where its changes go.
fn attach_named(
    spec: &Spec,
    root: BorrowedFd<'_>,
    stage: BorrowedFd<'_>,
    scratch: &Scratch,
    number: usize,
    want: &Wanted<'_>,
    mount: &OwnedFd,
) -> Step<Option<PathBuf>> {
    let kind = trees::kind_of(mount)?;
    if want.access != Access::PrivateCopy {
        attach_at(root, want.target, kind, mount.as_fd())?;
        return Ok(None);
    }
    let lower = format!("lower{number}");
    attach_at(stage, &lower, Kind::Directory, mount.as_fd())?;
    let lower = Path::new(STAGE).join(lower);
    let upper = scratch.directory(&format!("upper{number}"), 0o755)?;
    let work = scratch.directory(&format!("work{number}"), 0o755)?;
    let merged = Path::new(STAGE).join(format!("merged{number}"));
    fs::create_dir(&merged).step("make merged")?;
    let options =
        format!("lowerdir={},upperdir={},workdir={},userxattr", lower.display(), upper.display(), work.display());
    sys::mount("overlay", &merged, "overlay", MS_NOSUID | MS_NODEV, &options).step_on("mount overlay", want.target)?;
    if spec.owner.must_be_given_files() {
        give_all(&merged)?;
    }
    let shown = sys::copy_mount(HERE, &merged.to_string_lossy(), Depth::Alone).step_on("show overlay", want.target)?;
    attach_at(root, want.target, Kind::Directory, shown.as_fd())?;
    Ok(Some(upper))
}

/// Gives every file of a private copy to the sandbox's user. Only where ids cannot be mapped: it copies all content.
fn give_all(path: &Path) -> Step<()> {
    sys::give_to(path, USER, USER).step_on("give file", path.display())?;
    if fs::symlink_metadata(path).step_on("look at", path.display())?.is_dir() {
        for entry in fs::read_dir(path).step_on("list", path.display())? {
            give_all(&entry.step_on("list", path.display())?.path())?;
        }
    }
    Ok(())
}

/// A view of the changes for the keeper: nothing in it can be run, written or followed, and where the keeper is not
/// root it owns every file in it.
fn for_collection(upper: &Path, keeper: Option<&Translation>) -> Step<OwnedFd> {
    let view = sys::copy_mount(HERE, &upper.to_string_lossy(), Depth::Alone).step("show changes")?;
    let attributes = attribute::READ_ONLY
        | attribute::NO_SUID
        | attribute::NO_DEVICES
        | attribute::NO_EXEC
        | attribute::NO_SYMLINK_FOLLOW;
    sys::restrict_mount(view.as_fd(), attributes, Depth::Alone).step("restrict changes")?;
    if let Some(keeper) = keeper {
        sys::map_ids(view.as_fd(), keeper.as_fd()).step("map ids of changes")?;
    }
    Ok(view)
}

/// A file made for the sandbox, mounted over its name: it can be neither written nor replaced. A directory above it that
/// belongs to the sandbox can still be moved away, so such a file is a convenience there, never a fence.
fn made_file(root: BorrowedFd<'_>, number: usize, file: &File) -> Step<()> {
    let path = Path::new(STAGE).join(format!("file{number}"));
    fs::write(&path, &file.content).step_on("write file", &file.target)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).step_on("set mode of file", &file.target)?;
    let mount = sys::copy_mount(HERE, &path.to_string_lossy(), Depth::Alone).step_on("take file", &file.target)?;
    let attributes = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEVICES;
    sys::restrict_mount(mount.as_fd(), attributes, Depth::Alone).step_on("restrict file", &file.target)?;
    attach_at(root, &file.target, Kind::File, mount.as_fd())
}

/// A user namespace in which the sandbox's files are the keeper's. Made in here, for only who rules both this and the
/// filesystem may map ids between them.
fn as_keeper() -> Step<Translation> {
    // The maps of a process that is closed cannot be written, and a fork is as closed as its parent.
    sys::prctl(libc::PR_SET_DUMPABLE, 1).step("open own memory")?;
    let made = Translation::make(Path::new("proc"), (USER, USER), (BESIDE, BESIDE));
    sys::prctl(libc::PR_SET_DUMPABLE, 0).step("close own memory")?;
    made
}

/// From here on no setting can be changed in `/proc` and no user namespace be made.
fn close_process_table(spec: &Spec, root: BorrowedFd<'_>) -> Step<()> {
    // Before the settings become read-only. Had this failed unseen, nested user namespaces would stay open.
    if !danger::left_out(spec, "ban on user namespaces") {
        fs::write("proc/sys/user/max_user_namespaces", "0").step("forbid user namespaces")?;
    }
    for path in ["proc/sys", "proc/irq", "proc/bus", "proc/fs", "proc/acpi", "proc/scsi"] {
        if !Path::new(path).exists() {
            continue;
        }
        let view = sys::copy_mount(HERE, path, Depth::Tree).step_on("take", path)?;
        let attributes = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEVICES | attribute::NO_EXEC;
        sys::restrict_mount(view.as_fd(), attributes, Depth::Tree).step_on("restrict", path)?;
        attach_at(root, path, Kind::Directory, view.as_fd())?;
    }
    for path in [
        "proc/kcore",
        "proc/keys",
        "proc/key-users",
        "proc/timer_list",
        "proc/sysrq-trigger",
        "proc/sched_debug",
        "proc/kallsyms",
        "proc/kmsg",
        "proc/config.gz",
        "proc/interrupts",
        "proc/latency_stats",
    ] {
        if Path::new(path).exists() {
            sys::mount("dev/null", path, "", MS_BIND, "").step_on("mask", path)?;
        }
    }
    Ok(())
}

/// Attaches a detached mount at a path of the new root, making the mount point where it is missing. No symbolic link is
/// followed on the way: some of these directories hold what an agent or a repository wrote.
fn attach_at(root: BorrowedFd<'_>, target: &str, kind: Kind, mount: BorrowedFd<'_>) -> Step<()> {
    let components: Vec<&str> = target.split('/').filter(|part| !part.is_empty()).collect();
    if components.is_empty() || components.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(Failed::because("attach", target));
    }
    let mut at = sys::open_beneath(root, ".", Beneath::Place).step_on("attach", target)?;
    let last = components.len() - 1;
    for (depth, component) in components.iter().enumerate() {
        let kind = if depth == last { kind } else { Kind::Directory };
        at = open_or_make(at.as_fd(), component, kind).step_on("make mount point", target)?;
    }
    sys::attach(mount, at.as_fd()).step_on("attach", target)
}

fn open_or_make(directory: BorrowedFd<'_>, name: &str, kind: Kind) -> std::io::Result<OwnedFd> {
    match sys::open_beneath(directory, name, Beneath::Place) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        opened => return opened,
    }
    match kind {
        Kind::Directory => sys::make_directory(directory, name, 0o755)?,
        Kind::File => drop(sys::open_beneath(directory, name, Beneath::NewFile)?),
    }
    sys::open_beneath(directory, name, Beneath::Place)
}

/// Leaves the host's tree behind and seals the root.
fn enter(spec: &Spec) -> Step<()> {
    sys::pivot_here().step("pivot root")?;
    sys::unmount(".").step("leave the host's root")?;
    std::env::set_current_dir("/").step("enter root")?;
    if danger::left_out(spec, "seal") {
        return Ok(());
    }
    sys::mount("none", "/", "", libc::MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, "").step("seal root")?;
    sys::mount("none", "/dev", "", libc::MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, "").step("seal /dev")
}
