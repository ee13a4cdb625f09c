//! An installed tree, read as data: no link is followed, nothing in it is run, everything has a bound.

use std::fs::{Metadata, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use selvedge_domain::Digest;

/// Most files and directories; the largest agent known has some hundreds.
const ENTRIES_MAX: usize = 100_000;

/// Largest file; the largest known is 373 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Directories within directories.
const DEPTH_MAX: usize = 64;

/// Takes a file out of it, if it is there. What is unpacked may have laid a link in the way, which is not followed.
pub(super) fn forget(root: &Path, [directory, name]: [&str; 2]) -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("`{directory}/{name}` cannot be removed: {error}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = rustix::fs::open(root, flags, Mode::empty()).map_err(failed)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let directory = match openat2(&inside, directory, flags, Mode::empty(), resolve) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    // Of a link of this name, the link is removed.
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        removed => removed.map_err(failed),
    }
}

/// Whatever it was unpacked with: everybody may read it and nobody writes it, no bit makes its owner run it.
pub(super) fn settle(root: &Path) -> Result<(), String> {
    set_mode(root, 0o755)?;
    walk(root, &mut |path, metadata| match () {
        () if metadata.is_dir() => set_mode(path, 0o755),
        () if metadata.is_file() => set_mode(path, file_mode(metadata)),
        () => Ok(()),
    })
}

/// What it is: the paths, kinds, modes and contents of everything in it, in the order of paths.
pub(super) fn fingerprint(root: &Path) -> Result<Digest, String> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    walk(root, &mut |path, metadata| {
        let below = path.strip_prefix(root).map_err(|error| error.to_string())?;
        let (kind, content) = match () {
            () if metadata.is_dir() => ("directory", Vec::new()),
            () if metadata.is_symlink() => ("link", link(below, path)?),
            () if metadata.is_file() && metadata.len() > FILE_BYTES_MAX => {
                return Err(format!("`{}` is larger than {FILE_BYTES_MAX} bytes", shown(below)));
            }
            () if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => ("program", bytes(path)?),
            () if metadata.is_file() => ("file", bytes(path)?),
            () => return Err(format!("`{}` is neither a file, a directory nor a link", shown(below))),
        };
        parts.extend([below.as_os_str().as_bytes().to_vec(), kind.as_bytes().to_vec(), content]);
        Ok(())
    })?;
    match parts.is_empty() {
        true => Err("there is nothing in it".to_owned()),
        false => Ok(Digest::of_parts(parts.iter().map(Vec::as_slice))),
    }
}

fn walk(root: &Path, each: &mut dyn FnMut(&Path, &Metadata) -> Result<(), String>) -> Result<(), String> {
    let mut pending = vec![root.to_owned()];
    let mut count = 0;
    while let Some(dir) = pending.pop() {
        let failed = |error: std::io::Error| format!("`{}` cannot be read: {error}", shown(&dir));
        let entries = std::fs::read_dir(&dir).map_err(failed)?;
        let mut paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        paths.sort();
        for path in &paths {
            count += 1;
            if count > ENTRIES_MAX || path.components().count() > root.components().count() + DEPTH_MAX {
                return Err(format!(
                    "it has more than {ENTRIES_MAX} entries, or is deeper than {DEPTH_MAX} directories"
                ));
            }
            let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
            each(path, &metadata)?;
            if metadata.is_dir() {
                pending.push(path.clone());
            }
        }
    }
    Ok(())
}

/// Its contents' fingerprint, so that no more than one file is in memory.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let content = std::fs::read(path).map_err(|error| format!("`{}` cannot be read: {error}", shown(path)))?;
    Ok(Digest::of_parts([content.as_slice()]).as_bytes().to_vec())
}

/// Where a link leads, which must be within the tree.
fn link(below: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let target = std::fs::read_link(path).map_err(|error| format!("`{}` cannot be read: {error}", shown(path)))?;
    let mut depth = below.components().count().saturating_sub(1);
    for component in target.components() {
        let inner = match component {
            Component::Normal(_) => depth.checked_add(1),
            Component::CurDir => Some(depth),
            Component::ParentDir => depth.checked_sub(1),
            Component::RootDir | Component::Prefix(_) => None,
        };
        depth = inner.ok_or_else(|| format!("`{}` is a link that leads out of the package", shown(below)))?;
    }
    Ok(target.as_os_str().as_bytes().to_vec())
}

fn file_mode(metadata: &Metadata) -> u32 {
    if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| format!("`{}` cannot be made readable: {error}", shown(path)))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_another_one_when_anything_in_it_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(fingerprint(dir.path()).is_err(), "it is empty");
        let program = dir.path().join("bin");
        std::fs::write(&program, "one").unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o4700)).unwrap();
        settle(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(&program).unwrap().permissions().mode() & 0o7777, 0o755);
        let first = fingerprint(dir.path()).unwrap();
        assert_eq!(fingerprint(dir.path()).unwrap(), first);
        std::fs::write(&program, "two").unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), first);
        std::fs::write(&program, "one").unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o644)).unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), first);
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(dir.path().join("more")).unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), first);
    }

    #[test]
    fn nothing_is_removed_behind_a_link_of_the_package_a111() {
        const NOTE: [&str; 2] = ["node_modules", ".package-lock.json"];
        let dir = tempfile::tempdir().unwrap();
        let (tree, host) = (dir.path().join("tree"), dir.path().join("host"));
        for made in [&tree, &host] {
            std::fs::create_dir(made).unwrap();
        }
        std::fs::write(host.join(NOTE[1]), "the host's").unwrap();
        forget(&tree, NOTE).unwrap();
        for target in [host.to_str().unwrap(), "../host"] {
            std::os::unix::fs::symlink(target, tree.join(NOTE[0])).unwrap();
            assert!(forget(&tree, NOTE).unwrap_err().contains("cannot be removed"), "{target}");
            std::fs::remove_file(tree.join(NOTE[0])).unwrap();
        }
        std::fs::create_dir(tree.join(NOTE[0])).unwrap();
        let note = tree.join(NOTE[0]).join(NOTE[1]);
        std::os::unix::fs::symlink(host.join(NOTE[1]), &note).unwrap();
        forget(&tree, NOTE).unwrap();
        assert!(note.symlink_metadata().is_err());
        assert_eq!(std::fs::read_to_string(host.join(NOTE[1])).unwrap(), "the host's");
        std::fs::write(&note, "npm's").unwrap();
        forget(&tree, NOTE).unwrap();
        assert!(!note.exists());
    }

    #[test]
    fn a_link_that_leads_out_refuses_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("../b", dir.path().join("a/in")).unwrap();
        assert!(fingerprint(dir.path()).is_ok());
        for target in ["/etc/passwd", "../../b", "../a/../../b"] {
            let path = dir.path().join("a/out");
            std::os::unix::fs::symlink(target, &path).unwrap();
            assert!(fingerprint(dir.path()).unwrap_err().contains("leads out"), "{target}");
            std::fs::remove_file(path).unwrap();
        }
    }
}
