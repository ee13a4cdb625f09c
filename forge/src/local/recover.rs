//! What a crash leaves behind: half-made repositories and trees, lock files of a git that is gone, partial packs.

use std::fs;
use std::io;
use std::path::Path;

/// Begins the name of a repository or a tree that is not whole, or no longer.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Removes leftovers below the forge's directory. No git may be running there.
pub(super) fn clear_leftovers(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        } else if name.ends_with(".git") && entry.file_type()?.is_dir() {
            clear_repository(&entry.path())?;
        } else if name.ends_with(".trees") && entry.file_type()?.is_dir() {
            clear_trees(&entry.path())?;
        }
    }
    Ok(())
}

fn clear_trees(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn clear_repository(dir: &Path) -> io::Result<()> {
    clear_files(dir, |name| name.ends_with(".lock") || name.starts_with("fast_import_crash_"))?;
    clear_files(&dir.join("objects/pack"), |name| {
        name.starts_with("tmp_") || name.starts_with(".tmp-") || name.ends_with(".keep")
    })?;
    clear_locks(&dir.join("refs"))
}

/// References lie in directories named after them; none of their names ends in `.lock`.
fn clear_locks(dir: &Path) -> io::Result<()> {
    clear_files(dir, |name| name.ends_with(".lock"))?;
    for entry in read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear_locks(&entry.path())?;
        }
    }
    Ok(())
}

fn clear_files(dir: &Path, leftover: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && leftover(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn read_dir(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(cause) => Err(cause),
    }
}
