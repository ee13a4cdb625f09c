//! The head of a push: which references a client wants to move, and the one move a run may make (attack A-60). Whatever
//! arguments, aliases or settings the client had, this is what they come to. Never knows the objects that follow.

use selvedge_domain::CommitId;

use super::packet::{self, BadPacket, Packet};

/// Longest head. One command and its capabilities take a few hundred bytes; the rest is for a clear answer to more.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most commands that are read before they are refused all together: enough to name each in the report.
pub const COMMANDS_MAX: usize = 64;

/// Longest name of a reference; file systems allow no more for one component.
const REFERENCE_BYTES_MAX: usize = 255;

/// Why bytes are not the head of a push that is read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPush {
    /// The framing.
    #[error(transparent)]
    Packet(#[from] BadPacket),
    /// No end within the limit.
    #[error("the push names more than is read: push one branch")]
    TooLong,
    /// Not two ids and a reference.
    #[error("a command of the push is malformed")]
    Command,
    /// A history without its beginning, whose objects could not all be looked at.
    #[error("a shallow history cannot be pushed: run `git fetch --unshallow` first")]
    Shallow,
    /// Two commands for one reference.
    #[error("the push names a reference twice")]
    Twice,
    /// A signed push, whose certificate nobody here would check.
    #[error("a signed push is not accepted: push without `--signed`")]
    Signed,
}

/// A change of one reference, as the client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What the client takes it to be; nothing where it should be created.
    pub old: Option<CommitId>,
    /// What it should become; nothing where it should be deleted.
    pub new: Option<CommitId>,
    /// Its full name, in printable ASCII.
    pub reference: String,
}

/// The head of a push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// What should change; none where the client only tries whether it may speak.
    pub commands: Vec<Command>,
    /// What the client can do, as it wrote it.
    pub capabilities: Vec<String>,
}

/// The one reference a run may move, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its full name, as the factory chose it.
    pub reference: String,
    /// What the door told this client it was; nothing before the first push.
    pub at: Option<CommitId>,
}

/// A move of the run's own reference. That it is a fast-forward, and what it brings, is for whoever has the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// From where.
    pub old: Option<CommitId>,
    /// To where.
    pub new: CommitId,
}

/// Why the references of a push are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPush {
    /// A reference that is not the run's.
    #[error("not this run's branch: push to the branch in SELVEDGE_BRANCH")]
    NotOwn,
    /// More than one reference.
    #[error("more than one reference: push the branch in SELVEDGE_BRANCH alone")]
    NotAlone,
    /// It would be gone.
    #[error("a branch is not deleted here: push a commit that takes the change back")]
    Deletes,
    /// It is not where the client thinks.
    #[error("the branch has moved: fetch, and push again")]
    Moved,
    /// Options, which nobody here would read.
    #[error("push options are not accepted: push without `-o`")]
    Options,
}

impl Head {
    /// Reads the head off the beginning of `bytes` and leaves what follows it; nothing where more bytes are needed.
    pub fn take(bytes: &mut &[u8]) -> Result<Option<Self>, BadPush> {
        let mut rest = *bytes;
        let mut head = Self::default();
        loop {
            let read = bytes.len() - rest.len();
            let packet = packet::take(&mut rest)?;
            // Counted also for what has not arrived, so that a client cannot make the door hold more and more.
            if read > HEAD_BYTES_MAX || (packet.is_none() && bytes.len() > HEAD_BYTES_MAX) {
                return Err(BadPush::TooLong);
            }
            match packet {
                None => return Ok(None),
                Some(Packet::Flush) => break,
                Some(Packet::Line(line)) => head.add(line)?,
            }
        }
        *bytes = rest;
        Ok(Some(head))
    }

    fn add(&mut self, line: &[u8]) -> Result<(), BadPush> {
        if line.starts_with(b"shallow ") {
            return Err(BadPush::Shallow);
        }
        if line.starts_with(b"push-cert") {
            return Err(BadPush::Signed);
        }
        if self.commands.len() >= COMMANDS_MAX {
            return Err(BadPush::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|_| BadPush::Command)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let command = match text.split_once('\0') {
            // Capabilities stand in the first line only.
            Some((command, capabilities)) if self.commands.is_empty() => {
                self.capabilities =
                    capabilities.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
                command
            }
            Some(_) => return Err(BadPush::Command),
            None => text,
        };
        let command = Command::parse(command).ok_or(BadPush::Command)?;
        if self.commands.iter().any(|other| other.reference == command.reference) {
            return Err(BadPush::Twice);
        }
        self.commands.push(command);
        Ok(())
    }

    /// Whether the client named this capability.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|word| word == capability)
    }

    /// The one move the run may make; a reason for the whole push otherwise, so that nothing of it is done.
    pub fn judge(&self, own: &Own) -> Result<Move, RefusedPush> {
        if self.can("push-options") {
            return Err(RefusedPush::Options);
        }
        if self.commands.iter().any(|command| command.reference != own.reference) {
            return Err(RefusedPush::NotOwn);
        }
        let [command] = self.commands.as_slice() else { return Err(RefusedPush::NotAlone) };
        let new = command.new.clone().ok_or(RefusedPush::Deletes)?;
        if command.old != own.at {
            return Err(RefusedPush::Moved);
        }
        Ok(Move { old: command.old.clone(), new })
    }
}

impl Command {
    fn parse(text: &str) -> Option<Self> {
        let (old, rest) = text.split_once(' ')?;
        let (new, reference) = rest.split_once(' ')?;
        let is_printable = reference.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = (1..=REFERENCE_BYTES_MAX).contains(&reference.len());
        (fits && is_printable && old.len() == new.len()).then_some(())?;
        Some(Self { old: id(old)?, new: id(new)?, reference: reference.to_owned() })
    }
}

/// An id, or nothing for the id of nothing.
fn id(text: &str) -> Option<Option<CommitId>> {
    let commit = CommitId::parse(text).ok()?;
    Some((!text.bytes().all(|byte| byte == b'0')).then_some(commit))
}
