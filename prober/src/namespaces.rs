//! Attacks on the namespaces: leaving for others, or bringing mounts into this one.

use libc::c_long;

use crate::outcome::{Outcome, Spelling};
use crate::{Attack, Control, Family, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-1", "make a user namespace, by unshare", unshare_user),
    attack("S-1b", "make a namespace of any other kind, by unshare", unshare_others),
    attack("S-1c", "make a process in new namespaces, by clone", clone_namespaces),
    attack("S-2", "mount a file system", mount),
    attack("S-2b", "mount a file system by the newer calls", newer_mount),
    attack("S-2c", "take a mount away", unmount),
    attack("S-2d", "join a namespace by its file", join),
    attack("S-2e", "change the root directory", change_root),
    attack("S-2f", "rename the machine", rename),
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Namespaces, control: Control::Arena, act }
}

fn flag(flag: libc::c_int) -> usize {
    usize::try_from(flag).unwrap_or_default()
}

const OTHERS: [(&str, libc::c_int); 7] = [
    ("mount", libc::CLONE_NEWNS),
    ("process", libc::CLONE_NEWPID),
    ("network", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("name", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("time", libc::CLONE_NEWTIME),
];

fn unshare_user() -> Outcome {
    Outcome::one("unshare", raw::call(libc::SYS_unshare, &[flag(libc::CLONE_NEWUSER)]))
}

fn unshare_others() -> Outcome {
    Outcome::of(OTHERS.map(|(name, bit)| Spelling::new(name, raw::call(libc::SYS_unshare, &[flag(bit)]))))
}

fn clone_namespaces() -> Outcome {
    let with_user = OTHERS.into_iter().filter(|(name, _)| *name != "time").chain([("user", libc::CLONE_NEWUSER)]);
    Outcome::of(with_user.map(|(name, bit)| {
        let made = raw::call(libc::SYS_clone, &[flag(bit | libc::SIGCHLD)]);
        if let Ok(0) = made {
            raw::exit_now(0);
        }
        Spelling::new(name, made)
    }))
}

fn mount() -> Outcome {
    let mount = |kind: &str, source: &str, flags| {
        Spelling::new(
            kind,
            raw::call(libc::SYS_mount, &[raw::text(source), raw::text("/tmp"), raw::text(kind), flags, 0]),
        )
    };
    let remount = usize::try_from(libc::MS_REMOUNT | libc::MS_BIND).unwrap_or_default();
    Outcome::of([mount("tmpfs", "x", 0), mount("proc", "x", 0), mount("sysfs", "x", 0), mount("remount", "x", remount)])
}

fn newer_mount() -> Outcome {
    const OPEN_TREE_ATTR: c_long = 467;
    let here = usize::MAX - 99; // AT_FDCWD
    Outcome::of([
        Spelling::new("fsopen", raw::call(libc::SYS_fsopen, &[raw::text("tmpfs"), 0])),
        Spelling::new("open_tree", raw::call(libc::SYS_open_tree, &[here, raw::text("/tmp"), 1])),
        Spelling::new("open_tree_attr", raw::call(OPEN_TREE_ATTR, &[here, raw::text("/tmp"), 1, 0, 0])),
        Spelling::new("fspick", raw::call(libc::SYS_fspick, &[here, raw::text("/tmp"), 0])),
        Spelling::new(
            "mount_setattr",
            raw::call(libc::SYS_mount_setattr, &[here, raw::text("/tmp"), 0, raw::place(&[0; 32]), 32]),
        ),
        Spelling::new(
            "move_mount",
            raw::call(libc::SYS_move_mount, &[here, raw::text("/tmp"), here, raw::text("/proc"), 0]),
        ),
    ])
}

fn unmount() -> Outcome {
    let unmount =
        |path: &str| Spelling::new(path, raw::call(libc::SYS_umount2, &[raw::text(path), flag(libc::MNT_DETACH)]));
    Outcome::of([unmount("/proc/sys"), unmount("/tmp"), unmount("/usr"), unmount("/proc")])
}

fn join() -> Outcome {
    let kinds = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let own = kinds.map(|kind| {
        let path = format!("/proc/self/ns/{kind}");
        Spelling::new(path.clone(), set_namespace(&path))
    });
    let first = kinds.map(|kind| {
        let path = format!("/proc/1/ns/{kind}");
        Spelling::new(path.clone(), set_namespace(&path))
    });
    Outcome::of(own.into_iter().chain(first))
}

fn set_namespace(path: &str) -> std::io::Result<usize> {
    let file = raw::open_kept(path, libc::O_RDONLY)?;
    raw::call(libc::SYS_setns, &[usize::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap_or_default(), 0])
}

fn change_root() -> Outcome {
    Outcome::of([
        Spelling::new("pivot_root", raw::call(libc::SYS_pivot_root, &[raw::text("/tmp"), raw::text("/tmp")])),
        Spelling::new("chroot", raw::call(libc::SYS_chroot, &[raw::text("/tmp")])),
    ])
}

fn rename() -> Outcome {
    Outcome::of([
        Spelling::new("sethostname", raw::call(libc::SYS_sethostname, &[raw::text("x"), 1])),
        Spelling::new("setdomainname", raw::call(libc::SYS_setdomainname, &[raw::text("x"), 1])),
    ])
}
