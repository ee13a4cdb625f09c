//! The anchor: the last checkpoint, kept outside the state directory, so that an old copy of the state is recognised.
//!
//! One file per log, named after it. It says which directory the log lives in, so that putting another log there is
//! recognised too. Whoever can write the anchor can undo this; operators put it where the factory's own user cannot
//! rewrite history unseen.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::AnchorProblem;
use crate::key::{LogId, PublicKey};

/// Where one log's last checkpoint is kept.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    folder: PathBuf,
    state: PathBuf,
    log: LogId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorV1 {
    version: u32,
    state: String,
    checkpoint: String,
}

/// Longest anchor file we read.
const ANCHOR_BYTES_MAX: u64 = 128 * 1024;
const SUFFIX: &str = "anchor";

impl Anchor {
    /// The anchor of `log`, which lives in `state`, in `folder`.
    pub(crate) fn new(folder: &Path, state: &Path, log: LogId) -> Self {
        Self { folder: folder.to_owned(), state: state.to_owned(), log }
    }

    /// The file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.{SUFFIX}", self.log))
    }

    /// Keeps `checkpoint`: afterwards either the old or the new one is on stable storage, whole.
    pub(crate) fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let state = self.state.to_string_lossy().into_owned();
        let kept = AnchorV1 { version: 1, state, checkpoint: checkpoint.note().to_owned() };
        let (path, fresh) = (self.path(), self.path().with_extension("new"));
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(&kept)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// The checkpoint that was kept; none when there never was one.
    pub(crate) fn read(&self, key: &PublicKey) -> Result<Option<Checkpoint>, AnchorProblem> {
        let unusable = |because: String| AnchorProblem::Unusable { because };
        match read_file(&self.path()) {
            Ok(kept) => Checkpoint::parse(&kept.checkpoint, key).map(Some).map_err(|error| unusable(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// Another log that is anchored as living in the same directory and is not empty.
    pub(crate) fn other_log_here(&self) -> io::Result<Option<PathBuf>> {
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            files => files?,
        };
        for file in files {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != SUFFIX) || path == self.path() {
                continue;
            }
            let Ok(kept) = read_file(&path) else { continue };
            let size = kept.checkpoint.lines().nth(1);
            if kept.state == self.state.to_string_lossy() && size != Some("0") {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

fn read_file(path: &Path) -> io::Result<AnchorV1> {
    use std::io::Read as _;
    let mut text = String::new();
    File::open(path)?.take(ANCHOR_BYTES_MAX).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
