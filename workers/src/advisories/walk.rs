//! Finding the advisory files of a directory, within limits.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::DatabaseError;

/// The two formats we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    RustSec,
    Osv,
}

/// The RustSec database holds 1,200 advisories and OSV's crates.io export 2,500; ten times that is no such database.
const FILES_MAX: usize = 25_000;

/// The longest advisory we have seen is 20 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// `crates/<name>/<file>` is two levels; some exports add a year.
const DEPTH_MAX: usize = 4;

/// Calls `visit` with every advisory file beneath `root`, in path order.
///
/// Names that begin with a dot are not advisories (`.git`), nor is RustSec's `rust/`, which is about the toolchain and
/// not about packages. Symbolic links are refused: they would make the answer depend on files outside the database.
pub(super) fn for_each_file(
    root: &Path,
    mut visit: impl FnMut(&Path, Format, &[u8]) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let mut files = 0;
    // A stack rather than recursion; reversed so that paths come out in order.
    let mut waiting: Vec<(PathBuf, usize)> = vec![(root.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let unreadable = |cause| DatabaseError::Unreadable { path: path.clone(), cause };
        let kind = if depth == 0 { fs::metadata(&path) } else { fs::symlink_metadata(&path) }.map_err(unreadable)?;
        if kind.is_symlink() {
            return Err(DatabaseError::Malformed { path, because: "it is a symbolic link".to_owned() });
        }
        if kind.is_dir() {
            if depth > DEPTH_MAX {
                return Err(DatabaseError::TooLarge { path, limit: "4 nested directories" });
            }
            waiting.extend(entries(&path, depth)?.into_iter().rev().map(|entry| (entry, depth + 1)));
            if waiting.len() > FILES_MAX {
                return Err(DatabaseError::TooLarge { path, limit: "25,000 files" });
            }
        } else if let Some(format) = format_of(&path) {
            files += 1;
            if files > FILES_MAX {
                return Err(DatabaseError::TooLarge { path, limit: "25,000 files" });
            }
            let bytes = read_bounded(&path)?;
            visit(&path, format, &bytes)?;
        }
    }
    Ok(())
}

fn entries(directory: &Path, depth: usize) -> Result<Vec<PathBuf>, DatabaseError> {
    let unreadable = |cause| DatabaseError::Unreadable { path: directory.to_owned(), cause };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().first() == Some(&b'.');
        let toolchain = depth == 0 && name == "rust";
        if !hidden && !toolchain {
            found.push(entry.path());
        }
        if found.len() > FILES_MAX {
            return Err(DatabaseError::TooLarge { path: directory.to_owned(), limit: "25,000 files" });
        }
    }
    found.sort();
    Ok(found)
}

fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with("RUSTSEC-") && name.ends_with(".md") {
        Some(Format::RustSec)
    } else if name.ends_with(".json") {
        Some(Format::Osv)
    } else {
        None
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    let unreadable = |cause| DatabaseError::Unreadable { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(unreadable)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    // The limit fits 64 bits and a buffer's length does too.
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(DatabaseError::TooLarge { path: path.to_owned(), limit: "1 MiB in one file" });
    }
    Ok(bytes)
}
