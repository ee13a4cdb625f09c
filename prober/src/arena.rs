//! Owns the arena: where the attacks should succeed. Root, on the host, in namespaces made for one attack and thrown away
//! with it, so that nothing it does outlasts it. Sets up what an attack must find to be able to succeed.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio};

use crate::outcome::Outcome;
use crate::report::{Line, try_apart};
use crate::{Attack, Control, doors, raw};

/// A variable the keeper has and no sandbox may see.
pub const CANARY: &str = "SELVEDGE_CANARY";
/// An abstract socket someone on the host listens to.
pub const ABSTRACT_SOCKET: &str = "selvedge-prober";

/// Tries an attack in an arena of its own.
pub(crate) fn try_outside(attack: &Attack) -> Outcome {
    if let Control::None(why) = attack.control {
        return Outcome::Untestable(why.to_owned());
    }
    let Ok(own) = std::env::current_exe() else { return Outcome::Untestable("own executable".to_owned()) };
    let mut command = Command::new(own);
    // Called by name, so that an executable that contains the prober knows what it is.
    std::os::unix::process::CommandExt::arg0(&mut command, crate::NAME);
    let output = command.args(["arena-inside", attack.id]).env(CANARY, "secret").stdin(Stdio::null()).output();
    let Ok(output) = output else { return Outcome::Untestable("could not run".to_owned()) };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(Line::parse) {
        Some(line) if line.outcome == "succeeded" => Outcome::Succeeded(line.detail),
        Some(line) if line.outcome == "refused" => Outcome::Refused(line.detail),
        Some(line) => Outcome::Untestable(line.detail),
        None => Outcome::Untestable(format!("it said nothing and ended with {}", output.status)),
    }
}

/// Makes the arena around this process and tries the attack in it.
pub(crate) fn enter_and_try(attack: &Attack) -> Outcome {
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let flags = usize::try_from(namespaces).unwrap_or_default();
    if let Err(error) = raw::call(libc::SYS_unshare, &[flags]) {
        return Outcome::Untestable(format!("no arena: {error}"));
    }
    let private = usize::try_from(libc::MS_REC | libc::MS_PRIVATE).unwrap_or_default();
    for (source, target, kind, flags, options) in [
        ("none", "/", "", private, ""),
        // Small, so that a fill is over soon; what is written goes with the arena.
        ("tmpfs", "/tmp", "tmpfs", 0, "size=128m,nr_inodes=40000,mode=1777"),
    ] {
        let arguments = [raw::text(source), raw::text(target), raw::text(kind), flags, raw::text(options)];
        if let Err(error) = raw::call(libc::SYS_mount, &arguments) {
            return Outcome::Untestable(format!("no arena: mount {target}: {error}"));
        }
    }
    // What an attack must find to be able to succeed.
    let address = raw::give_loopback(doors::METADATA.octets()).and_then(|()| doors::stand_in());
    let listener = SocketAddr::from_abstract_name(ABSTRACT_SOCKET).and_then(|name| UnixListener::bind_addr(&name));
    let left_open = std::fs::File::open("/etc/passwd");
    let outcome = if std::env::set_current_dir("/tmp").is_ok() {
        try_apart(attack)
    } else {
        Outcome::Untestable("no /tmp".to_owned())
    };
    drop((address, listener, left_open));
    outcome
}
