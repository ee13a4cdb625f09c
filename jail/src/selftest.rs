//! Owns the proof, from inside and before the program runs, that each layer holds. An act that should be refused and is
//! not ends the launch; so does a refusal of the wrong kind, for then another layer is standing in for the one meant.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::UdpSocket;
use std::path::Path;

use crate::error::{Failed, Step};
use crate::{landlock, sys};

/// What must hold before the filter is on: the layers beneath it, most of them seen alone.
pub(crate) fn before_filter() -> Step<()> {
    expect(
        "no way to the network",
        &[libc::ENETUNREACH],
        UdpSocket::bind("0.0.0.0:0").and_then(|s| s.connect("169.254.169.254:80")),
    )?;
    expect("no user namespace inside", &[libc::ENOSPC, libc::EACCES, libc::EPERM], sys::unshare(libc::CLONE_NEWUSER))?;
    expect("first process is closed", &[libc::EACCES, libc::EPERM], File::open("/proc/1/environ"))?;
    expect("first process's files are closed", &[libc::EACCES, libc::EPERM], std::fs::read_dir("/proc/1/root"))?;
    expect(
        "system is read-only",
        &[libc::EROFS, libc::EACCES],
        OpenOptions::new().create(true).append(true).open("/usr/.selvedge"),
    )?;
    expect(
        "root is read-only",
        &[libc::EROFS, libc::EACCES],
        OpenOptions::new().create(true).append(true).open("/.selvedge"),
    )?;
    if sys::landlock_version() >= landlock::VERSION_WITH_SCOPES {
        expect("Landlock keeps signals inside", &[libc::EPERM], sys::may_signal(1))?;
    }
    for absent in ["/root", "/sys/kernel", "/etc/shadow", "/boot", "/var/lib"] {
        if Path::new(absent).exists() {
            return Err(Failed::because("self-test: host files are absent", absent));
        }
    }
    capabilities()
}

/// What must hold once the filter is on.
pub(crate) fn after_filter() -> Step<()> {
    // Without the filter the kernel would find fault with the arguments instead. What the filter refuses by asking the
    // launcher is not tried: it would wait for the launcher to be scheduled, twice.
    expect("filter answers", &[libc::ENOSYS], Err::<(), _>(sys::clone3_nothing()))
}

fn capabilities() -> Step<()> {
    const STEP: &str = "self-test: no capability is left";
    if sys::any_capability().map_err(|error| Failed::because(STEP, error.to_string()))? {
        return Err(Failed::because(STEP, "in a set of this process"));
    }
    for capability in 0..64 {
        match sys::prctl(libc::PR_CAPBSET_READ, capability) {
            Ok(0) => {}
            Ok(_) => return Err(Failed::because(STEP, format!("{capability} in the bounding set"))),
            Err(_) => break,
        }
    }
    if sys::prctl(libc::PR_GET_NO_NEW_PRIVS, 0).unwrap_or(0) != 1 {
        return Err(Failed::because(STEP, "new privileges are allowed"));
    }
    Ok(())
}

fn expect<T>(what: &str, errors: &[i32], seen: io::Result<T>) -> Step<()> {
    match seen {
        Err(error) if error.raw_os_error().is_some_and(|errno| errors.contains(&errno)) => Ok(()),
        Err(error) => Err(Failed {
            step: format!("self-test: {what}"),
            errno: error.raw_os_error().unwrap_or(0),
            detail: "refused for another reason".to_owned(),
        }),
        Ok(_) => Err(Failed::because(&format!("self-test: {what}"), "it was allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_that_succeeds_or_fails_otherwise_is_a_failure() {
        assert!(expect("x", &[libc::EPERM], Ok(())).is_err());
        assert!(expect("x", &[libc::EPERM], Err::<(), _>(io::Error::from_raw_os_error(libc::ENOSYS))).is_err());
        assert!(expect("x", &[libc::EPERM], Err::<(), _>(io::Error::from_raw_os_error(libc::EPERM))).is_ok());
    }

    #[test]
    fn outside_a_sandbox_the_self_test_fails() {
        assert!(before_filter().is_err());
    }
}
