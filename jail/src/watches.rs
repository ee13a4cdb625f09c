//! Owns the watches on files whose reading is to be known: set by the first process in the sandbox's own tree of mounts, before
//! the program runs, and told to the keeper alone. The kernel keeps a watch with the file it was set on: another name or another
//! mount of it is seen as well. But in an overlay a hard link is another file, so whoever makes one has used it already.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Failed, Named, Step};
use crate::spec::{Spec, WORKSPACE};
use crate::sys;

/// Watches every file the spec names. The keeper is told of them by number: the first file is 1, the next 2.
pub(crate) fn set(spec: &Spec) -> Step<Option<OwnedFd>> {
    let Some(observe) = spec.observe.as_ref().filter(|observe| !observe.files.is_empty()) else { return Ok(None) };
    let list = sys::watch_list().step("make watches")?;
    for (file, expected) in observe.files.iter().zip(1..) {
        let path = Path::new(WORKSPACE).join(file);
        let number = sys::watch_first_use(list.as_fd(), &path).step_on("watch file", file)?;
        // Two names of one file would share a number, and the keeper would name the wrong one.
        if number != expected {
            return Err(Failed::because("watch file", file));
        }
    }
    Ok(Some(list))
}
