//! From an imported repository to a merged change, as the factory walks it.

use crate::permits::{to_merge, to_open};
use crate::support::{WHEN, Workshop, author, commit, path, plain_git_line, remove, shop_name, write};
use selvedge_domain::{FileMode, RunId};
use selvedge_forge::local::{Expected, Merge, MergeKind, TreeLimits, WhatChanged, run_branch};

#[test]
fn a_change_goes_in_and_comes_out_merged() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("README.md", "hello\n"), ("src/lib.rs", "old\n"), ("old.txt", "bye\n")]);
    let main = shop.default_branch().unwrap();
    assert_eq!(main.as_str(), "main");

    let dir = shop.materialise(&shop.tree_of(&base).unwrap(), TreeLimits::default()).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("src/lib.rs")).unwrap(), "old\n");

    let made = commit(&shop, &base, [write("src/lib.rs", "new\n"), write("src/more.rs", "more\n"), remove("old.txt")])
        .unwrap();
    assert_eq!(shop.tree_of(&made.commit).unwrap(), made.tree);
    assert_eq!(shop.tree_of(&base).unwrap(), made.base_tree);
    let changed = shop.diff(&made.base_tree, &made.tree).unwrap();
    let told: Vec<_> =
        changed.iter().map(|c| (c.path.as_str(), c.what, c.lines.map(|l| (l.added, l.removed)))).collect();
    assert_eq!(
        told,
        [
            ("old.txt", WhatChanged::Removed, Some((0, 1))),
            ("src/lib.rs", WhatChanged::Modified, Some((1, 1))),
            ("src/more.rs", WhatChanged::Added, Some((1, 0))),
        ]
    );

    let run = RunId::from_entropy(7);
    shop.publish(&to_open(&shop_name(), &run, &made.commit, &made.tree), &Expected::Absent).unwrap();
    assert_eq!(plain_git_line(shop.dir(), &["rev-parse", &run_branch(&run)]), made.commit.as_str());

    let plan =
        Merge { target: &main, expected: &base, commit: &made.commit, message: "merge", author: &author(), when: WHEN };
    let planned = shop.plan_merge(&plan).unwrap();
    assert_eq!((planned.kind(), planned.tree()), (MergeKind::FastForward, &made.tree));
    assert_eq!(shop.head(&main).unwrap(), Some(base.clone()), "a plan moves nothing");
    let merged = shop.merge(&to_merge(&shop_name(), &run, &made.commit, "main"), &planned).unwrap();
    assert_eq!(shop.head(&main).unwrap(), Some(made.commit.clone()));
    assert_eq!(
        shop.merge(&to_merge(&shop_name(), &run, &made.commit, "main"), &planned).unwrap(),
        merged,
        "merging again gives the same answer"
    );

    let file = shop.file(&path("src/lib.rs"), &made.commit, 100).unwrap().unwrap();
    assert_eq!((file.mode, file.content), (FileMode::Regular, b"new\n".to_vec()));
    assert_eq!(shop.file(&path("old.txt"), &made.commit, 100).unwrap(), None);
    assert_eq!(shop.file(&path("src"), &made.commit, 100).unwrap(), None);
    assert!(shop.file(&path("src/lib.rs"), &made.commit, 3).is_err(), "larger than asked for");
}
