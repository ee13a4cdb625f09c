//! The files through which requests and answers of git pass between door and keeper. The keeper makes them and hands them
//! over with the listeners; a door cannot make any. Owns that a lane is used by one exchange at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::read::MultiGzDecoder;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::protocol::ListenerKind;

/// Longest request of a fetch once it is decoded: a thousand references and as many commits on each side.
const DECODED_BYTES_MAX: u64 = 4 << 20;

/// The lanes of one door.
#[derive(Debug)]
pub(crate) struct Lanes {
    free: Mutex<VecDeque<Lane>>,
    slots: Semaphore,
    usable: AtomicUsize,
}

/// Two files, and their name towards the keeper.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) number: usize,
    request: File,
    answer: File,
}

/// A lane in use. One that is not given back is not used again: the keeper may still be writing.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) lane: Lane,
    lanes: &'a Lanes,
    slot: SemaphorePermit<'a>,
}

impl Lanes {
    /// Takes the files out of what the keeper handed over: a request, an answer, and so on.
    pub(crate) fn of(handed: &mut Vec<(ListenerKind, OwnedFd)>) -> Self {
        let mut files = |wanted: ListenerKind| -> Vec<File> {
            handed.extract_if(.., |(kind, _)| *kind == wanted).map(|(_, fd)| File::from(fd)).collect()
        };
        let (requests, answers) = (files(ListenerKind::GitRequest), files(ListenerKind::GitAnswer));
        let pairs = requests.into_iter().zip(answers).enumerate();
        let free: VecDeque<Lane> = pairs.map(|(number, (request, answer))| Lane { number, request, answer }).collect();
        Self { slots: Semaphore::new(free.len()), usable: AtomicUsize::new(free.len()), free: free.into() }
    }

    /// A free lane, waiting for one; none where there are none left.
    pub(crate) async fn take(&self) -> Option<Taken<'_>> {
        let slot = self.slots.acquire().await.ok()?;
        let lane = lock(&self.free).pop_front()?;
        Some(Taken { lane, lanes: self, slot })
    }
}

impl Taken<'_> {
    /// Makes the lane free again, once the keeper has answered.
    pub(crate) fn give_back(self) {
        lock(&self.lanes.free).push_back(self.lane);
        drop(self.slot);
    }

    /// The keeper did not answer, so the lane stays taken for good. Whoever waits for the last one waits for nothing.
    pub(crate) fn lose(self) {
        self.slot.forget();
        if self.lanes.usable.fetch_sub(1, Ordering::Relaxed) <= 1 {
            self.lanes.slots.close();
        }
    }
}

impl Lane {
    /// Empties the request.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.request.set_len(0)
    }

    /// Writes a piece of the request.
    pub(crate) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.request.write_all_at(bytes, at)
    }

    /// Puts the decoded request in place of the coded one; its length.
    pub(crate) fn decode(&self, coded_bytes: u64) -> io::Result<u64> {
        let mut coded = vec![0; usize::try_from(coded_bytes).unwrap_or(usize::MAX)];
        self.request.read_exact_at(&mut coded, 0)?;
        let mut decoded = Vec::new();
        MultiGzDecoder::new(coded.as_slice()).take(DECODED_BYTES_MAX + 1).read_to_end(&mut decoded)?;
        let bytes = u64::try_from(decoded.len()).unwrap_or(u64::MAX);
        if bytes > DECODED_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.request.set_len(0)?;
        self.request.write_all_at(&decoded, 0)?;
        Ok(bytes)
    }

    /// Reads a piece of the answer.
    pub(crate) fn read(&self, piece: &mut [u8], at: u64) -> io::Result<()> {
        self.answer.read_exact_at(piece, at)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lanes(count: usize) -> Lanes {
        let file = || OwnedFd::from(tempfile::tempfile().unwrap());
        let mut handed: Vec<(ListenerKind, OwnedFd)> = vec![(ListenerKind::Dns, file())];
        for _ in 0..count {
            handed.extend([(ListenerKind::GitRequest, file()), (ListenerKind::GitAnswer, file())]);
        }
        let lanes = Lanes::of(&mut handed);
        assert_eq!(handed.len(), 1, "what is no lane stays");
        lanes
    }

    fn on_one_thread(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_lane_is_used_by_one_at_a_time_and_a_lost_one_never_again() {
        on_one_thread(async {
            let lanes = lanes(2);
            let (first, second) = (lanes.take().await.unwrap(), lanes.take().await.unwrap());
            assert_ne!(first.lane.number, second.lane.number);
            assert_eq!(lanes.slots.available_permits(), 0);
            let number = second.lane.number;
            first.lose();
            second.give_back();
            let last = lanes.take().await.unwrap();
            assert_eq!(last.lane.number, number);
            // Nobody waits for what does not come back.
            let waiting = lanes.take();
            let losing = async { last.lose() };
            assert!(tokio::join!(waiting, losing).0.is_none());
            assert!(lanes.take().await.is_none());
        });
    }

    #[test]
    fn a_coded_request_is_decoded_and_a_bomb_is_not() {
        on_one_thread(async {
            let (lanes, gzip) = (lanes(1), |plain: &[u8]| {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            });
            let taken = lanes.take().await.unwrap();
            let decode = |coded: &[u8]| {
                taken.lane.clear().unwrap();
                taken.lane.write(coded, 0).unwrap();
                taken.lane.decode(coded.len() as u64)
            };
            assert_eq!(decode(&gzip(b"0032want ...")).unwrap(), 12);
            let mut plain = [0; 12];
            taken.lane.request.read_exact_at(&mut plain, 0).unwrap();
            assert_eq!(&plain, b"0032want ...");
            assert!(decode(&gzip(&vec![0; 5 << 20])).is_err());
            assert!(decode(b"no gzip").is_err());
        });
    }
}
