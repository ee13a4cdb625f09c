//! Publishing, merging and closing: two writers never both win, and repeating what happened is no error.

use selvedge_domain::{CommitId, RunId};
use selvedge_forge::local::{
    BranchName, Commit, Expected, Merge, MergeError, MergeKind, PlannedMerge, PublishError, Published, Repository,
};

use crate::permits::{to_merge, to_open};
use crate::support::{WHEN, Workshop, author, commit, path, plain_git, plain_git_line, repo_name, shop_name, write};

fn publish(shop: &Repository, run: &RunId, made: &Commit, expected: &Expected) -> Result<Published, PublishError> {
    shop.publish(&to_open(&shop_name(), run, &made.commit, &made.tree), expected)
}

fn main_branch() -> BranchName {
    BranchName::parse("main").unwrap()
}

fn plan(shop: &Repository, expected: &CommitId, commit: &CommitId) -> Result<PlannedMerge, MergeError> {
    let (target, author) = (main_branch(), author());
    shop.plan_merge(&Merge { target: &target, expected, commit, message: "merge it\n", author: &author, when: WHEN })
}

fn merge(
    shop: &Repository,
    commit: &CommitId,
    planned: &PlannedMerge,
) -> Result<selvedge_domain::orders::Merged, MergeError> {
    shop.merge(&to_merge(&shop_name(), &RunId::from_entropy(1), commit, "main"), planned)
}

#[test]
fn publishing_is_compare_and_swap_and_safe_to_repeat() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let run = RunId::from_entropy(1);
    let (one, two) =
        (commit(&shop, &base, [write("b", "1")]).unwrap(), commit(&shop, &base, [write("b", "2")]).unwrap());
    publish(&shop, &run, &one, &Expected::Absent).unwrap();
    publish(&shop, &run, &one, &Expected::Absent).unwrap();
    let error = publish(&shop, &run, &two, &Expected::Absent).unwrap_err();
    assert!(matches!(&error, PublishError::Moved { found: Some(found), .. } if *found == one.commit), "{error}");
    let wrong = publish(&shop, &run, &two, &Expected::At(base.clone())).unwrap_err();
    assert!(matches!(wrong, PublishError::Moved { .. }));
    publish(&shop, &run, &two, &Expected::At(one.commit.clone())).unwrap();
    assert_eq!(shop.published(&run).unwrap(), Some(two.commit));
    let gone = publish(&shop, &RunId::from_entropy(2), &one, &Expected::At(base)).unwrap_err();
    assert!(matches!(gone, PublishError::Moved { found: None, .. }), "{gone}");
}

#[test]
fn of_two_that_publish_at_once_exactly_one_wins() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    for round in 0..5 {
        let run = RunId::from_entropy(round);
        let rivals: Vec<Commit> =
            (0..4).map(|n| commit(&shop, &base, [write("b", &format!("{round} {n}"))]).unwrap()).collect();
        let start = std::sync::Barrier::new(rivals.len());
        let won: Vec<bool> = std::thread::scope(|scope| {
            let (shop, run, start) = (&shop, &run, &start);
            let threads: Vec<_> = rivals
                .iter()
                .map(|made| {
                    scope.spawn(move || {
                        start.wait();
                        publish(shop, run, made, &Expected::Absent)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| match thread.join().unwrap() {
                    Ok(_) => true,
                    Err(PublishError::Moved { found: Some(_), .. }) => false,
                    Err(other) => panic!("{other}"),
                })
                .collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let winner = won.iter().position(|won| *won).unwrap();
        assert_eq!(shop.published(&run).unwrap().as_ref(), Some(&rivals[winner].commit));
    }
}

#[test]
fn of_two_that_merge_at_once_exactly_one_wins() {
    let workshop = Workshop::new();
    let (shop, mut base) = workshop.shop(&[("a", "1")]);
    for round in 0..5 {
        let rivals: Vec<Commit> =
            (0..3).map(|n| commit(&shop, &base, [write(&format!("{round}-{n}"), "x")]).unwrap()).collect();
        let plans: Vec<PlannedMerge> = rivals.iter().map(|made| plan(&shop, &base, &made.commit).unwrap()).collect();
        let start = std::sync::Barrier::new(rivals.len());
        let won: Vec<bool> = std::thread::scope(|scope| {
            let (shop, start) = (&shop, &start);
            let threads: Vec<_> = rivals
                .iter()
                .zip(&plans)
                .map(|(made, planned)| {
                    scope.spawn(move || {
                        start.wait();
                        merge(shop, &made.commit, planned)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| match thread.join().unwrap() {
                    Ok(_) => true,
                    Err(MergeError::Moved(PublishError::Moved { .. })) => false,
                    Err(other) => panic!("{other}"),
                })
                .collect()
        });
        let winners: Vec<&Commit> = rivals.iter().zip(&won).filter(|(_, won)| **won).map(|(made, _)| made).collect();
        assert_eq!(winners.len(), 1, "{won:?}");
        base = shop.head(&main_branch()).unwrap().unwrap();
        assert_eq!(base, winners[0].commit);
    }
}

#[test]
fn commits_built_at_once_do_not_disturb_each_other() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let built: Vec<Commit> = std::thread::scope(|scope| {
        let (shop, base) = (&shop, &base);
        let threads: Vec<_> = (0..8)
            .map(|n| scope.spawn(move || commit(shop, base, [write("b", &(n / 2).to_string())]).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (n, made) in built.iter().enumerate() {
        let file = shop.file(&path("b"), &made.commit, 10).unwrap().unwrap();
        assert_eq!(file.content, (n / 2).to_string().as_bytes());
    }
    assert_eq!(built[0], built[1]);
}

#[test]
fn a_permit_opens_only_what_it_was_given_for() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let run = RunId::from_entropy(1);
    let (made, other) =
        (commit(&shop, &base, [write("b", "1")]).unwrap(), commit(&shop, &base, [write("b", "2")]).unwrap());
    let elsewhere = to_open(&repo_name("acme/other"), &run, &made.commit, &made.tree);
    assert!(matches!(shop.publish(&elsewhere, &Expected::Absent), Err(PublishError::OtherRepository { .. })));
    assert_eq!(shop.published(&run).unwrap(), None);
    let planned = plan(&shop, &base, &made.commit).unwrap();
    for permit in [
        to_merge(&shop_name(), &run, &other.commit, "main"),
        to_merge(&shop_name(), &run, &made.commit, "release"),
        to_merge(&repo_name("acme/other"), &run, &made.commit, "main"),
    ] {
        assert!(matches!(shop.merge(&permit, &planned), Err(MergeError::OtherMerge { .. })));
    }
    assert_eq!(shop.head(&main_branch()).unwrap(), Some(base));
}

#[test]
fn a_merge_that_needs_a_commit_combines_both_sides_and_is_the_same_when_repeated() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1\n2\n3\n4\n5\n"), ("b", "x")]);
    let theirs = commit(&shop, &base, [write("b", "theirs")]).unwrap();
    merge(&shop, &theirs.commit, &plan(&shop, &base, &theirs.commit).unwrap()).unwrap();
    let ours = commit(&shop, &base, [write("a", "1\n2\n3\n4\nfive\n")]).unwrap();
    let planned = plan(&shop, &theirs.commit, &ours.commit).unwrap();
    assert_eq!(planned.kind(), MergeKind::ThreeWay);
    assert_eq!(plan(&shop, &theirs.commit, &ours.commit).unwrap(), planned, "the same plan, the same commit");
    let merged = merge(&shop, &ours.commit, &planned).unwrap();
    let head = shop.head(&main_branch()).unwrap().unwrap();
    assert_eq!((&merged.commit, planned.tree()), (&head, &shop.tree_of(&head).unwrap()));
    assert_eq!(shop.file(&path("b"), &head, 10).unwrap().unwrap().content, b"theirs");
    assert_eq!(shop.file(&path("a"), &head, 99).unwrap().unwrap().content, b"1\n2\n3\n4\nfive\n");
    let parents = plain_git_line(shop.dir(), &["log", "-1", "--format=%P", head.as_str()]);
    assert_eq!(parents, format!("{} {}", theirs.commit, ours.commit));
    plain_git(shop.dir(), &["fsck", "--strict"]);

    // The branch moves on; a repeat still gives the first answer and moves nothing.
    let later = commit(&shop, &head, [write("c", "later")]).unwrap();
    merge(&shop, &later.commit, &plan(&shop, &head, &later.commit).unwrap()).unwrap();
    assert_eq!(merge(&shop, &ours.commit, &planned).unwrap(), merged);
    assert_eq!(shop.head(&main_branch()).unwrap(), Some(later.commit.clone()));
    let contained = plan(&shop, &later.commit, &ours.commit).unwrap();
    assert_eq!((contained.kind(), contained.head()), (MergeKind::Contained, &later.commit));
    merge(&shop, &ours.commit, &contained).unwrap();
}

#[test]
fn a_conflict_names_the_paths_and_moves_nothing() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1\n"), ("b", "1\n"), ("c", "1\n")]);
    let theirs = commit(&shop, &base, [write("a", "2\n"), write("b", "2\n")]).unwrap();
    let ours = commit(&shop, &base, [write("a", "3\n"), write("c", "3\n")]).unwrap();
    let error = plan(&shop, &theirs.commit, &ours.commit).unwrap_err();
    assert!(matches!(&error, MergeError::Conflict { paths } if paths == &["a"]), "{error}");
    assert_eq!(shop.head(&main_branch()).unwrap(), Some(base));
}

#[test]
fn s_28_two_changes_that_collide_only_in_case_do_not_meet_on_one_branch() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1\n")]);
    let theirs = commit(&shop, &base, [write("dir/x", "2\n")]).unwrap();
    let ours = commit(&shop, &base, [crate::support::link("DIR", "/etc")]).unwrap();
    let error = plan(&shop, &theirs.commit, &ours.commit).unwrap_err();
    assert!(matches!(error, MergeError::Case(_)), "{error}");
}

#[test]
fn a_merge_planned_against_an_old_head_is_refused() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let (one, two) =
        (commit(&shop, &base, [write("b", "1")]).unwrap(), commit(&shop, &base, [write("c", "2")]).unwrap());
    let (first, second) = (plan(&shop, &base, &one.commit).unwrap(), plan(&shop, &base, &two.commit).unwrap());
    merge(&shop, &one.commit, &first).unwrap();
    let error = merge(&shop, &two.commit, &second).unwrap_err();
    assert!(matches!(error, MergeError::Moved(PublishError::Moved { .. })), "{error}");
    assert_eq!(shop.head(&main_branch()).unwrap(), Some(one.commit));
}

#[test]
fn closing_takes_the_branch_and_keeps_the_commit_and_may_repeat() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let run = RunId::from_entropy(1);
    assert_eq!(shop.close(&run).unwrap(), None);
    let (made, second) =
        (commit(&shop, &base, [write("b", "1")]).unwrap(), commit(&shop, &base, [write("b", "2")]).unwrap());
    publish(&shop, &run, &made, &Expected::Absent).unwrap();
    plain_git(shop.dir(), &["update-ref", "refs/heads/selvedge/mine", base.as_str()]);
    assert_eq!(shop.open_runs().unwrap(), [(run.clone(), made.commit.clone())]);
    assert_eq!(shop.close(&run).unwrap(), Some(made.commit.clone()));
    assert_eq!(shop.open_runs().unwrap(), []);
    assert_eq!(shop.close(&run).unwrap(), Some(made.commit.clone()));
    assert_eq!(shop.published(&run).unwrap(), None);
    let kept = plain_git_line(shop.dir(), &["rev-parse", &format!("refs/selvedge/closed/{run}")]);
    assert_eq!(kept, made.commit.as_str());
    // Opened again and closed again: the last one is kept.
    publish(&shop, &run, &second, &Expected::Absent).unwrap();
    assert_eq!(shop.close(&run).unwrap(), Some(second.commit));
}
