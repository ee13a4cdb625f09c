//! Owns every system call the standard library lacks, each as a safe function of one line's meaning. Knows no order and
//! no policy: what is called when, and with what, is told by the other rooms.
//!
//! The only `unsafe` code of the crate is in the files of this module.

mod descriptor;
mod fence;
mod mount;
mod process;
mod see;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use libc::{c_int, c_long};

pub(crate) use descriptor::*;
pub(crate) use fence::*;
pub(crate) use mount::*;
pub(crate) use process::*;
pub(crate) use see::*;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: c_long) -> io::Result<c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    c_int::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

fn c_path(path: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(path.as_ref().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
