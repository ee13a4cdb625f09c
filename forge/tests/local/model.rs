//! Against a model: what comes out of a tree is what a map of paths says it should be, after any sequence of changes.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use selvedge_domain::{Change, ChangeSet, FileMode};
use selvedge_forge::local::{CommitError, TreeLimits, WhatChanged};

use crate::support::{Workshop, commit, path};

type Model = BTreeMap<String, (FileMode, Vec<u8>)>;

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "a-b", "é", "\"q\"", "c d", "\\n", ".x"]).prop_map(str::to_owned)
}

fn some_path() -> impl Strategy<Value = String> {
    proptest::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"))
}

fn change() -> impl Strategy<Value = Change> {
    let mode = proptest::sample::select(vec![FileMode::Regular, FileMode::Executable, FileMode::Symlink]);
    let content = proptest::collection::vec(proptest::sample::select(b"a\n\r\0\"\\done".to_vec()), 0..20);
    prop_oneof![
        3 => (some_path(), mode, content).prop_map(|(at, mode, mut content)| {
            if mode == FileMode::Symlink {
                content.retain(|byte| *byte != 0);
                content.push(b'x');
            }
            Change::Write { path: path(&at), mode, content }
        }),
        1 => some_path().prop_map(|at| Change::Remove { path: path(&at) }),
    ]
}

fn beneath(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

/// The meaning of a change set, said as plainly as possible.
fn apply(model: &mut Model, changes: &ChangeSet) {
    for change in changes.changes() {
        let at = change.path().as_str();
        model.retain(|path, _| path != at && !beneath(path, at));
        if let Change::Write { mode, content, .. } = change {
            model.retain(|path, _| !beneath(at, path));
            model.insert(at.to_owned(), (*mode, content.clone()));
        }
    }
}

fn contradicts(changes: &ChangeSet) -> bool {
    let written: Vec<&str> =
        changes.changes().iter().filter(|c| matches!(c, Change::Write { .. })).map(|c| c.path().as_str()).collect();
    written.iter().any(|one| written.iter().any(|other| beneath(other, one)))
}

fn read_back(root: &Path, dir: &Path, model: &mut Model) {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if kind.is_symlink() {
            model.insert(name, (FileMode::Symlink, std::fs::read_link(&path).unwrap().into_os_string().into_vec()));
        } else if kind.is_dir() {
            read_back(root, &path, model);
        } else {
            let mode = if kind.permissions().mode() & 0o100 == 0 { FileMode::Regular } else { FileMode::Executable };
            model.insert(name, (mode, std::fs::read(&path).unwrap()));
        }
    }
}

/// The paths in which two models differ.
fn difference(old: &Model, new: &Model) -> Vec<(String, WhatChanged)> {
    let is_link = |file: &(FileMode, Vec<u8>)| file.0 == FileMode::Symlink;
    let paths: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .filter_map(|path| {
            let what = match (old.get(path), new.get(path)) {
                (None, _) => WhatChanged::Added,
                (_, None) => WhatChanged::Removed,
                (Some(old), Some(new)) if old == new => return None,
                (Some(old), Some(new)) if is_link(old) != is_link(new) => WhatChanged::TypeChanged,
                _ => WhatChanged::Modified,
            };
            Some((path.clone(), what))
        })
        .collect()
}

proptest! {
    // Each case runs about twenty processes.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_are_what_the_model_says(rounds in proptest::collection::vec(proptest::collection::vec(change(), 0..8), 1..4)) {
        let workshop = Workshop::new();
        let (shop, mut base) = workshop.shop(&[("a/a", "1"), ("b", "2")]);
        let mut model = Model::new();
        model.insert("a/a".to_owned(), (FileMode::Regular, b"1".to_vec()));
        model.insert("b".to_owned(), (FileMode::Regular, b"2".to_vec()));
        for round in rounds {
            let changes = ChangeSet::new(round);
            let built = commit(&shop, &base, changes.changes().iter().cloned());
            if contradicts(&changes) {
                let refused = matches!(built, Err(CommitError::FileAndDirectory { .. }));
                prop_assert!(refused);
                continue;
            }
            let built = built.unwrap();
            let before = model.clone();
            apply(&mut model, &changes);
            let dir = shop.materialise(&built.tree, TreeLimits::default()).unwrap();
            let mut written = Model::new();
            read_back(&dir, &dir, &mut written);
            prop_assert_eq!(&written, &model);
            let mut told: Vec<_> = shop.diff(&built.base_tree, &built.tree).unwrap().into_iter()
                .map(|change| (change.path.as_str().to_owned(), change.what)).collect();
            told.sort_by(|one, other| one.0.cmp(&other.0));
            prop_assert_eq!(told, difference(&before, &model));
            base = built.commit;
        }
    }
}
