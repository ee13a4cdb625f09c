//! Attacks on files: reading or writing what belongs to the host.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::outcome::{Outcome, Spelling};
use crate::{Attack, Control, Family, raw};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-13", "open a device of the host", devices),
    attack("S-13b", "make a device file", make_device),
    attack("S-14", "write to the system", write_system),
    Attack {
        control: Control::None("a running program's file cannot be written anywhere"),
        ..attack("S-14b", "write through this program's own file", write_own_program)
    },
    attack("S-15", "see files of the host", host_files),
    attack("S-15b", "leave the root by `..` and by descriptors", leave_root),
    attack("A-23", "reach the host through a symbolic link", through_link),
    attack("S-34", "become someone else by a program that changes user", setuid_program),
    attack("S-34c", "make a program of one's own that changes user", own_setuid_program),
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Files, control: Control::Arena, act }
}

fn devices() -> Outcome {
    let paths = [
        "/dev/kvm",
        "/dev/vda",
        "/dev/sda",
        "/dev/nvme0n1",
        "/dev/fuse",
        "/dev/net/tun",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/loop-control",
        "/dev/mapper/control",
        "/dev/userfaultfd",
        "/dev/vhost-vsock",
        "/dev/console",
        "/dev/tty0",
        "/dev/port",
    ];
    Outcome::of(
        paths.map(|path| Spelling::new(path, raw::open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY))),
    )
}

fn make_device() -> Outcome {
    let device = |name: &str, mode: libc::mode_t, major: u32, minor: u32| {
        let number = usize::try_from(libc::makedev(major, minor)).unwrap_or_default();
        let path = format!("/tmp/{name}");
        let made =
            raw::call(libc::SYS_mknod, &[raw::text(&path), usize::try_from(mode | 0o600).unwrap_or_default(), number]);
        Spelling::new(name, made)
    };
    Outcome::of([
        device("memory", libc::S_IFCHR, 1, 1),
        device("null", libc::S_IFCHR, 1, 3),
        device("disk", libc::S_IFBLK, 254, 0),
    ])
}

fn write_system() -> Outcome {
    // Outside, this is the real system: only what leaves no trace may be tried there, so the file goes at once.
    let create = |path: &str| {
        let made = raw::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL);
        let _ = fs::remove_file(path);
        Spelling::new(path, made)
    };
    let append = |path: &str| Spelling::new(path, raw::open(path, libc::O_WRONLY | libc::O_APPEND));
    Outcome::of([
        create("/usr/bin/.selvedge-prober"),
        create("/.selvedge-prober"),
        create("/etc/.selvedge-prober"),
        append("/usr/bin/env"),
        append("/etc/passwd"),
        append("/etc/ld.so.cache"),
    ])
}

fn write_own_program() -> Outcome {
    let own = fs::read_link("/proc/self/exe").map(|path| path.display().to_string()).unwrap_or_default();
    let rename = fs::rename(&own, format!("{own}.moved")).inspect(|()| {
        let _ = fs::rename(format!("{own}.moved"), &own);
    });
    Outcome::of([
        Spelling::new("/proc/self/exe", raw::open("/proc/self/exe", libc::O_WRONLY)),
        Spelling::new("rename", rename),
    ])
}

fn host_files() -> Outcome {
    let paths = [
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/ssh",
        "/root",
        "/sys",
        "/sys/kernel",
        "/boot",
        "/var/lib",
        "/var/log",
        "/srv",
        "/mnt",
        "/media",
        "/run/secrets",
        "/run/systemd",
        "/proc/1/root/etc/shadow",
        "/.dockerenv",
        "/etc/hostname",
        "/etc/machine-id",
        "/etc/ssl/private",
    ];
    Outcome::of(paths.map(|path| Spelling::new(path, raw::open(path, libc::O_RDONLY | libc::O_NONBLOCK))))
}

fn leave_root() -> Outcome {
    let up = format!("/{}etc/shadow", "../".repeat(40));
    let mut climb = std::path::PathBuf::from("/proc/self/cwd");
    climb.extend(std::iter::repeat_n("..", 40));
    Outcome::of([
        Spelling::new("../", fs::File::open(up)),
        Spelling::new("/proc/self/cwd", fs::File::open(climb.join("etc/shadow"))),
        Spelling::new("/proc/self/root", fs::File::open("/proc/self/root/etc/shadow")),
        Spelling::new("/proc/1/cwd", fs::File::open("/proc/1/cwd/etc/shadow")),
        Spelling::new("/proc/self/task", fs::File::open("/proc/self/task/../../1/root/etc/shadow")),
    ])
}

fn through_link() -> Outcome {
    let link = format!("/tmp/link-{}", std::process::id());
    let made = symlink("/etc/shadow", &link).and_then(|()| fs::read(&link));
    let _ = fs::remove_file(&link);
    Outcome::one("link to /etc/shadow", made)
}

/// Programs that most systems let change user.
const CHANGERS: [&str; 5] = ["/usr/bin/su", "/usr/bin/sudo", "/usr/bin/newgrp", "/usr/bin/mount", "/usr/bin/chsh"];

fn setuid_program() -> Outcome {
    let Some(program) =
        CHANGERS.into_iter().find(|path| fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0))
    else {
        return Outcome::Untestable("no program that changes user is here".to_owned());
    };
    // Outside, the arena is root already: what is watched is whether an ordinary user becomes root.
    let (text, _) = match raw::apart(|writer| {
        if raw::call(libc::SYS_geteuid, &[]).is_ok_and(|uid| uid == 0) {
            let _ = raw::call(libc::SYS_setgroups, &[0, 0]);
            let _ = raw::call(libc::SYS_setresgid, &[65534, 65534, 65534]);
            let _ = raw::call(libc::SYS_setresuid, &[65534, 65534, 65534]);
        }
        let _ = write!(writer, "{}", identity_of(program));
    }) {
        Ok(said) => said,
        Err(error) => return Outcome::Untestable(error.to_string()),
    };
    match text.split_once(' ') {
        Some((real, effective)) if real != effective => Outcome::Succeeded(format!("{program} ran as {effective}")),
        Some((_, effective)) => Outcome::Refused(format!("{program} ran as {effective}, no more than before")),
        None => Outcome::Untestable(format!("{program} could not be watched: {text}")),
    }
}

/// The real and effective user a program runs as, read while it waits for its input.
fn identity_of(program: &str) -> String {
    let started =
        Command::new(program).arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = started else { return "cannot-start".to_owned() };
    let path = format!("/proc/{}/status", child.id());
    let mut seen = "not-seen".to_owned();
    for _ in 0..200 {
        let mut status = String::new();
        let _ = fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut status));
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        let ids = field("Uid:");
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if let (false, [real, effective, ..]) =
            (field("Name:").contains("prober") || field("Name:").contains("stage"), ids.as_slice())
        {
            seen = format!("{real} {effective}");
        }
        if seen.split_once(' ').is_some_and(|(real, effective)| real != effective) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
    seen
}

fn own_setuid_program() -> Outcome {
    let path = format!("/tmp/changer-{}", std::process::id());
    let made = fs::copy("/proc/self/exe", &path)
        .and_then(|_| std::os::unix::fs::chown(&path, Some(0), Some(0)))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)));
    let _ = fs::remove_file(&path);
    Outcome::one("a copy owned by user 0", made)
}
