//! What a sandbox writes, on its way to its tape: without what it was lent, and bounded where it is kept for a report.

use selvedge_domain::RunId;
use selvedge_gateway::{SecretSieve, SecretWatch};
use selvedge_sandbox::Stream;

use super::Works;
use super::tape::Tape;

/// Output of an agent that is kept in memory for its report; a report is at most this long.
const REPORT_BYTES_MAX: usize = 16 << 20;

/// What a sandbox writes, on its way to its tape: without what it was lent.
pub(super) struct Heard<'a> {
    works: &'a Works,
    run: &'a RunId,
    tape: Tape,
    kept: Vec<u8>,
    /// One for each stream, where there is something to look for.
    sieves: Option<[SecretSieve<'a>; 2]>,
    has_leaked: bool,
}

impl<'a> Heard<'a> {
    pub(super) fn new(works: &'a Works, run: &'a RunId, tape: Tape, watch: Option<&'a SecretWatch>) -> Self {
        let sieves = watch.map(|watch| [watch.sieve(), watch.sieve()]);
        Self { works, run, tape, kept: Vec::new(), sieves, has_leaked: false }
    }

    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let Some([output, error]) = &mut self.sieves else { return self.keep(stream, bytes) };
        let sieve = match stream {
            Stream::Output => output,
            Stream::Error => error,
        };
        let passed = sieve.pass(bytes);
        let leaked = sieve.found().filter(|_| !self.has_leaked);
        self.keep(stream, &passed);
        if let Some(credential) = leaked {
            self.has_leaked = true;
            self.works.secret_leaked(self.run, &credential, "what the agent printed");
        }
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        self.tape.write(stream, bytes);
        if stream == Stream::Output && self.kept.len() + bytes.len() <= REPORT_BYTES_MAX {
            self.kept.extend_from_slice(bytes);
        }
    }

    /// What was written to standard output, and how much to both.
    pub(super) fn end(mut self) -> (Vec<u8>, u64) {
        if let Some([mut output, mut error]) = self.sieves.take() {
            self.keep(Stream::Output, &output.end());
            self.keep(Stream::Error, &error.end());
        }
        let bytes = self.tape.bytes();
        (self.kept, bytes)
    }
}
