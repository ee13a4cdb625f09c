//! Owns what the kernel tells of files whose reading is observed: which of them were opened or linked, each once. Asked for, not waited
//! for: whoever decides on something the sandbox wants asks first, and nothing the sandbox read before can be missed.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::inotify;
use rustix::io::Errno;

/// What counts as reading: opening it, and linking it, for in an overlay the link is another file. The kernel tells other changes of
/// a file's attributes in the same way, and they count, too.
const USES: inotify::ReadFlags = inotify::ReadFlags::OPEN.union(inotify::ReadFlags::ATTRIB);

/// The files observed in one sandbox.
#[derive(Debug)]
pub struct Reads {
    watches: OwnedFd,
    /// By the kernel's number, less one; none where it was told already.
    files: Mutex<Vec<Option<String>>>,
}

impl Reads {
    pub(crate) fn new(watches: OwnedFd, files: Vec<String>) -> Self {
        Self { watches, files: Mutex::new(files.into_iter().map(Some).collect()) }
    }

    /// The files that were used for the first time since this was last asked, by a program or a thread, under whatever name. When
    /// the kernel cannot say, all that are left: who cannot be seen not to have read a file is taken to have.
    pub fn since(&self) -> Vec<String> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watches, &mut space);
        let mut opened = Vec::new();
        loop {
            match events.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                    opened.extend(all(&mut files))
                }
                Ok(event) if event.events().intersects(USES) => {
                    let index = usize::try_from(event.wd()).ok().and_then(|number| number.checked_sub(1));
                    opened.extend(index.and_then(|index| files.get_mut(index)?.take()));
                }
                // That a watch has ended says nothing more.
                Ok(_) => {}
                Err(Errno::AGAIN) => return opened,
                Err(Errno::INTR) => {}
                Err(_) => {
                    opened.extend(all(&mut files));
                    return opened;
                }
            }
        }
    }
}

fn all(files: &mut [Option<String>]) -> Vec<String> {
    files.iter_mut().filter_map(Option::take).collect()
}
