//! Owns what one sandbox leaves on the host (control groups, an id) and the record of it, written before any of it
//! exists, so that a keeper that was killed can be followed by one that cleans up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cgroup::Group;
use crate::owner::HeldId;
use crate::refused::{Layer, Refused};

/// Longest name of a sandbox; control groups and files are named after it.
const ID_BYTES_MAX: usize = 64;

/// The two directories beneath the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    sandboxes: PathBuf,
    pub(crate) ids: PathBuf,
}

impl Records {
    /// Makes the directories, closed to everyone else.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let records = Self { sandboxes: state.join("sandboxes"), ids: state.join("ids") };
        for dir in [&records.sandboxes, &records.ids] {
            fs::create_dir_all(dir)?;
            fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        }
        Ok(records)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.sandboxes.join(id)
    }

    /// The names of all recorded sandboxes.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.sandboxes)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if is_id(&name) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// What a record says was left, or nothing if there is no such record.
    pub(crate) fn read(&self, id: &str) -> io::Result<Option<Footprint>> {
        if !is_id(id) {
            return Ok(None);
        }
        let text = match fs::read_to_string(self.file(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let fields: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        let groups = fields.iter().filter(|(key, _)| *key == "group").map(|(_, value)| PathBuf::from(value));
        let held = fields.iter().find(|(key, _)| *key == "id").and_then(|(_, value)| value.parse().ok());
        Ok(Some(Footprint {
            record: self.file(id),
            group: Group::recorded(groups),
            held: held.map(|held| HeldId::recorded(&self.ids, held)),
        }))
    }
}

/// What one sandbox leaves on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footprint {
    record: PathBuf,
    pub(crate) group: Group,
    pub(crate) held: Option<HeldId>,
}

impl Footprint {
    /// Writes down what is about to be made. A name that is recorded already is refused.
    pub(crate) fn announce(records: &Records, id: &str, group: Group, held: Option<HeldId>) -> Result<Self, Refused> {
        let mut text: String = group.directories().map(|dir| format!("group {}\n", dir.display())).collect();
        if let Some(held) = &held {
            text.push_str(&format!("id {}\n", held.id));
        }
        let record = records.file(id);
        let write = || {
            use std::io::Write;
            fs::OpenOptions::new().write(true).create_new(true).open(&record)?.write_all(text.as_bytes())
        };
        write().map_err(|error| Refused::io(Layer::State, format!("record sandbox `{id}`"), error))?;
        Ok(Self { record, group, held })
    }

    /// Kills what lives and removes what is left, the record last.
    pub(crate) fn clear(&self, deadline: Duration) -> io::Result<()> {
        self.group.kill(deadline)?;
        self.group.remove()?;
        if let Some(held) = &self.held {
            held.release()?;
        }
        match fs::remove_file(&self.record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether a text can name a sandbox: it becomes part of paths.
pub(crate) fn is_id(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= ID_BYTES_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let held = HeldId::take(&records.ids, 5..6, "r-1").unwrap();
        let made = Footprint::announce(&records, "r-1", Group::default(), Some(held.clone())).unwrap();
        assert!(Footprint::announce(&records, "r-1", Group::default(), None).is_err());
        let read = records.read("r-1").unwrap().unwrap();
        assert_eq!(read, made);
        read.clear(Duration::ZERO).unwrap();
        assert_eq!(records.names().unwrap(), Vec::<String>::new());
        assert_eq!(HeldId::take(&records.ids, 5..6, "x").unwrap().id, 5, "the id is free again");
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for bad in ["", "..", "a/b", "-a", "a\n", ".a", "a.b", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad:?}");
        }
        assert!(is_id("r-0123456789abc"));
    }
}
