//! Owns which host user a sandbox is: a free id out of a range, held by a file for as long as the sandbox leaves
//! anything behind. Two live sandboxes never share one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::refused::{Layer, Refused};

/// The ids root uses unless told otherwise: above every account, every range that `useradd` gives out for `/etc/subuid`
/// (login.defs(5): up to 600,100,000) and every container range that systemd knows (up to 1,879,048,191). Whoever may map an id
/// may send signals to what runs as it.
pub const HOST_IDS: Range<u32> = 1_900_000_000..1_900_010_000;

/// The id that doors of a root keeper run as: beside the sandboxes' and never one of them.
pub const DOOR_ID: u32 = HOST_IDS.start - 1;

/// Refuses ids that this host lets an ordinary user map: those of `range`, and the one before it, which doors run as.
pub(crate) fn refuse_mappable(range: &Range<u32>) -> Result<(), Refused> {
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Some(line) = granted_within(&text, &(range.start.saturating_sub(1)..range.end)) {
            let reason = format!("`{file}` lets an ordinary user map ids of sandboxes: `{line}`");
            return Err(Refused::new(Layer::HostUser, reason));
        }
    }
    Ok(())
}

/// The first line that grants an id of `range` to anyone but root, who may map it anyway.
fn granted_within<'a>(text: &'a str, range: &Range<u32>) -> Option<&'a str> {
    text.lines().find(|line| {
        let mut fields = line.split(':');
        let who = fields.next().unwrap_or_default();
        let mut number = || fields.next().and_then(|field| field.trim().parse::<u64>().ok());
        let (Some(start), Some(count)) = (number(), number()) else { return false };
        !["root", "0"].contains(&who) && start < u64::from(range.end) && start + count > u64::from(range.start)
    })
}

/// One id, held. It is free again when the file is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldId {
    pub(crate) id: u32,
    file: PathBuf,
}

impl HeldId {
    /// Takes the first free id.
    pub(crate) fn take(directory: &Path, range: Range<u32>, holder: &str) -> Result<Self, Refused> {
        for id in range {
            let file = directory.join(id.to_string());
            match OpenOptions::new().write(true).create_new(true).open(&file) {
                Ok(mut opened) => {
                    opened
                        .write_all(holder.as_bytes())
                        .map_err(|error| Refused::io(Layer::State, "write id", error))?;
                    return Ok(Self { id, file });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Refused::io(Layer::State, "hold id", error)),
            }
        }
        Err(Refused::new(Layer::HostUser, "every id of the range is in use"))
    }

    /// The id a record names.
    pub(crate) fn recorded(directory: &Path, id: u32) -> Self {
        Self { id, file: directory.join(id.to_string()) }
    }

    /// Lets the id be used again.
    pub(crate) fn release(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What an ordinary user may map, and the programs that do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subordinate {
    pub(crate) uids: Range<u32>,
    pub(crate) gids: Range<u32>,
    pub(crate) newuidmap: PathBuf,
    pub(crate) newgidmap: PathBuf,
}

impl Subordinate {
    /// What this host grants user `uid`.
    pub(crate) fn of_host(uid: u32) -> Result<Self, Refused> {
        let missing = |what: String| Refused::new(Layer::HostUser, what);
        let name = user_name(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid);
        let range = |file: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            range_of(&text, name.as_deref(), uid).ok_or_else(|| missing(format!("`{file}` gives user {uid} no range")))
        };
        let program = |name: &str| {
            let places = ["/usr/bin", "/usr/local/bin", "/bin"];
            let found = places.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
            found.ok_or_else(|| missing(format!("`{name}` is not installed")))
        };
        Ok(Self {
            uids: range("/etc/subuid")?,
            gids: range("/etc/subgid")?,
            newuidmap: program("newuidmap")?,
            newgidmap: program("newgidmap")?,
        })
    }

    /// How many sandboxes can have an id at once.
    pub(crate) fn width(&self) -> u32 {
        let width = |range: &Range<u32>| range.end - range.start;
        width(&self.uids).min(width(&self.gids))
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let named = |line: &&str| line.split(':').nth(2) == Some(uid.to_string().as_str());
    passwd.lines().find(named).and_then(|line| line.split(':').next()).map(str::to_owned)
}

fn range_of(text: &str, name: Option<&str>, uid: u32) -> Option<Range<u32>> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (who, start, count) =
            (fields.next()?, fields.next()?.parse::<u32>().ok()?, fields.next()?.trim().parse::<u32>().ok()?);
        let ours = Some(who) == name || who == uid.to_string();
        // Root and the system's own accounts are never handed to a sandbox, whatever the file says.
        (ours && count > 0 && start >= 1000).then(|| start.checked_add(count).map(|end| start..end))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_held_by_one_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let one = HeldId::take(dir.path(), 10..12, "a").unwrap();
        let two = HeldId::take(dir.path(), 10..12, "b").unwrap();
        assert_eq!((one.id, two.id), (10, 11));
        assert_eq!(HeldId::take(dir.path(), 10..12, "c").unwrap_err().layer, Layer::HostUser);
        one.release().unwrap();
        one.release().unwrap();
        assert_eq!(HeldId::take(dir.path(), 10..12, "c").unwrap().id, 10);
    }

    #[test]
    fn ids_that_somebody_may_map_are_seen() {
        let text = "root:0:4294967295\nada:165536:65536\nwide:1899999999:1\nodd:x:1\n";
        assert_eq!(granted_within(text, &(200_000..210_000)), Some("ada:165536:65536"));
        assert_eq!(granted_within(text, &(HOST_IDS.start - 1..HOST_IDS.end)), Some("wide:1899999999:1"));
        assert_eq!(granted_within(text, &HOST_IDS), None);
        assert_eq!(granted_within(text, &(231_072..231_073)), None);
    }

    #[test]
    fn subordinate_ranges_are_found_by_name_or_number_and_never_reach_system_accounts() {
        let text = "root:100000:65536\nada:165536:65536\n1002:300000:10\nevil:0:65536\nover:4294967295:5\n";
        assert_eq!(range_of(text, Some("ada"), 1001), Some(165_536..231_072));
        assert_eq!(range_of(text, None, 1002), Some(300_000..300_010));
        assert_eq!(range_of(text, Some("evil"), 1003), None);
        assert_eq!(range_of(text, Some("over"), 1004), None);
        assert_eq!(range_of(text, Some("nobody"), 1005), None);
        assert_eq!(user_name("root:x:0:0\nada:x:1001:1001::/home/ada:/bin/sh\n", 1001).as_deref(), Some("ada"));
    }
}
