//! Stored forms of what an attempt was seen to do.

use selvedge_domain::{Cause, Digest, ProgramRun, SideEffects, ToldCall, Witnessed, Writing, Written};
use serde::{Deserialize, Serialize};

use super::{Malformed, word};

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct SeenV1 {
    undeclared: Vec<String>,
    read: Vec<String>,
    /// Since version 4 of the kinds that hold it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct SideEffectsV1 {
    programs: Vec<ProgramRunV1>,
    programs_more: u64,
    programs_unkept: u64,
    written: Vec<WrittenV1>,
    written_more: u64,
    unread: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramRunV1 {
    asked: String,
    ran: Option<String>,
    arguments: Option<String>,
    arguments_digest: String,
    count: u64,
    cause: Option<CauseV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenV1 {
    path: String,
    how: String,
    cause: Option<CauseV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CauseV1 {
    serial: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct ToldCallV1 {
    tool: String,
    cause: Option<CauseV1>,
    is_open: bool,
    millis: Option<u64>,
    has_failed: bool,
    exit: Option<i64>,
}

impl ToldCallV1 {
    pub(in crate::entry) fn store(told: ToldCall) -> Self {
        let ToldCall { tool, cause, is_open, millis, has_failed, exit } = told;
        Self { tool, cause: cause.map(CauseV1::store), is_open, millis, has_failed, exit }
    }

    pub(in crate::entry) fn restore(self) -> ToldCall {
        let Self { tool, cause, is_open, millis, has_failed, exit } = self;
        ToldCall { tool, cause: cause.map(CauseV1::restore), is_open, millis, has_failed, exit }
    }
}

impl SeenV1 {
    pub(in crate::entry) fn is_empty(&self) -> bool {
        self.undeclared.is_empty() && self.read.is_empty() && self.secrets.is_empty()
    }

    /// The version of the kind that holds it.
    pub(in crate::entry) fn version(&self) -> u32 {
        match (self.is_empty(), self.secrets.is_empty()) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 4,
        }
    }

    pub(in crate::entry) fn store(seen: &Witnessed) -> Self {
        let Witnessed { undeclared, read, secrets } = seen.clone();
        Self { undeclared, read, secrets }
    }

    pub(in crate::entry) fn restore(self) -> Witnessed {
        Witnessed { undeclared: self.undeclared, read: self.read, secrets: self.secrets }
    }
}

impl SideEffectsV1 {
    pub(in crate::entry) fn store(seen: SideEffects) -> Self {
        let SideEffects { programs, programs_more, programs_unkept, written, written_more, unread } = seen;
        let programs = programs.into_iter().map(ProgramRunV1::store).collect();
        let written = written.into_iter().map(WrittenV1::store).collect();
        Self { programs, programs_more, programs_unkept, written, written_more, unread }
    }

    pub(in crate::entry) fn restore(self) -> Result<SideEffects, Malformed> {
        let Self { programs, programs_more, programs_unkept, written, written_more, unread } = self;
        let programs = programs.into_iter().map(ProgramRunV1::restore).collect::<Result<_, _>>()?;
        let written = written.into_iter().map(WrittenV1::restore).collect::<Result<_, _>>()?;
        Ok(SideEffects { programs, programs_more, programs_unkept, written, written_more, unread })
    }
}

impl ProgramRunV1 {
    fn store(run: ProgramRun) -> Self {
        let ProgramRun { asked, ran, arguments, arguments_digest, count, cause } = run;
        let (arguments_digest, cause) = (arguments_digest.to_string(), cause.map(CauseV1::store));
        Self { asked, ran, arguments, arguments_digest, count, cause }
    }

    fn restore(self) -> Result<ProgramRun, Malformed> {
        let Self { asked, ran, arguments, arguments_digest, count, cause } = self;
        let (arguments_digest, cause) = (Digest::parse(&arguments_digest)?, cause.map(CauseV1::restore));
        Ok(ProgramRun { asked, ran, arguments, arguments_digest, count, cause })
    }
}

impl WrittenV1 {
    fn store(written: Written) -> Self {
        let how = written.how.as_str().to_owned();
        Self { path: written.path, how, cause: written.cause.map(CauseV1::store) }
    }

    fn restore(self) -> Result<Written, Malformed> {
        let how = word("what was done to a file", &self.how, Writing::parse)?;
        Ok(Written { path: self.path, how, cause: self.cause.map(CauseV1::restore) })
    }
}

impl CauseV1 {
    fn store(cause: Cause) -> Self {
        Self { serial: cause.serial, index: cause.index }
    }

    fn restore(self) -> Cause {
        Cause { serial: self.serial, index: self.index }
    }
}
