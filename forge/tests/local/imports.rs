//! Taking repositories in and catching up with them.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};

use selvedge_domain::{CommitId, RepoName};
use selvedge_forge::git::{GitCall, GitError, GitOutput, GitRunner, HostGit};
use selvedge_forge::local::{BranchName, ImportError, OpenError, Repository, Source};

use crate::support::{Workshop, commit, commit_files, plain_git, plain_git_line, repo_name, shop_name, write};

fn import(workshop: &Workshop, from: &str, name: &RepoName) -> Result<Repository, ImportError> {
    workshop.forge.import(&Source::parse(from)?, name).map(|(repository, _)| repository)
}

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

fn head_of(dir: &std::path::Path) -> CommitId {
    CommitId::parse(&plain_git_line(dir, &["rev-parse", "HEAD"])).unwrap()
}

#[test]
fn what_is_not_a_local_repository_is_refused_by_name() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("empty-dir")).unwrap();
    std::fs::write(workshop.path("file"), "x").unwrap();
    std::fs::create_dir(workshop.path("no-commits")).unwrap();
    plain_git(&workshop.path("no-commits"), &["init", "-q"]);
    let at = |name: &str| workshop.path(name).to_str().unwrap().to_owned();
    for (from, says) in [
        ("https://example.org/x.git".to_owned(), "only local repositories"),
        ("git@example.org:x.git".to_owned(), "only local repositories"),
        ("ext::sh -c id".to_owned(), "only local repositories"),
        ("--upload-pack=id".to_owned(), "only local repositories"),
        ("relative/path".to_owned(), "only local repositories"),
        (at("missing"), "cannot be read"),
        (at("file"), "cannot be read"),
        (at("empty-dir"), "is not a git repository"),
        (at("no-commits"), "has no branch"),
    ] {
        let error = import(&workshop, &from, &shop_name()).unwrap_err().to_string();
        assert!(error.contains(says), "{from}: {error}");
    }
    assert!(matches!(workshop.forge.repository(&shop_name()), Err(OpenError::Unknown(_))));
    let left = std::fs::read_dir(workshop.path("forge")).unwrap().count();
    assert_eq!(left, 0, "a failed import leaves nothing");
}

#[test]
fn s_28_a_path_that_only_points_at_a_repository_elsewhere_is_refused() {
    let workshop = Workshop::new();
    let private = workshop.stranger("private", &[("secret", "1")]);
    let decoy = |name: &str| {
        let dir = workshop.path(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    let git_dir = private.join(".git");
    std::fs::write(decoy("file").join(".git"), format!("gitdir: {}\n", git_dir.display())).unwrap();
    std::os::unix::fs::symlink(&git_dir, decoy("link").join(".git")).unwrap();
    let common = decoy("common").join(".git");
    std::fs::create_dir(&common).unwrap();
    std::fs::write(common.join("commondir"), git_dir.to_str().unwrap()).unwrap();
    std::fs::write(common.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    let borrowed = decoy("borrowed");
    plain_git(&borrowed, &["init", "-q"]);
    for part in ["objects", "refs"] {
        std::fs::remove_dir_all(borrowed.join(".git").join(part)).unwrap();
        std::os::unix::fs::symlink(git_dir.join(part), borrowed.join(".git").join(part)).unwrap();
    }
    let deep = decoy("deep");
    plain_git(&deep, &["init", "-q"]);
    std::fs::remove_dir_all(deep.join(".git/refs/heads")).unwrap();
    std::os::unix::fs::symlink(git_dir.join("refs/heads"), deep.join(".git/refs/heads")).unwrap();
    let lent = decoy("lent");
    plain_git(&lent, &["init", "-q"]);
    let main = std::fs::read(git_dir.join("refs/heads/main")).unwrap();
    std::fs::write(lent.join(".git/refs/heads/main"), main).unwrap();
    for borrower in [&deep, &lent] {
        std::fs::write(borrower.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let alternates = borrower.join(".git/objects/info/alternates");
        std::fs::write(alternates, git_dir.join("objects").to_str().unwrap()).unwrap();
    }
    // Without what it borrows, only the links are left to be seen.
    let linked = decoy("linked");
    plain_git(&linked, &["init", "-q"]);
    std::fs::remove_dir_all(linked.join(".git/refs/heads")).unwrap();
    std::os::unix::fs::symlink(git_dir.join("refs/heads"), linked.join(".git/refs/heads")).unwrap();
    std::fs::remove_dir_all(linked.join(".git/objects/pack")).unwrap();
    for entry in std::fs::read_dir(git_dir.join("objects")).unwrap().flatten() {
        let _there = std::os::unix::fs::symlink(entry.path(), linked.join(".git/objects").join(entry.file_name()));
    }
    std::fs::write(linked.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    for name in ["file", "link", "common", "borrowed", "deep", "lent", "linked"] {
        // The control: git itself would follow.
        assert!(plain_git_line(&workshop.path(name), &["ls-remote", "."]).contains("refs/heads/main"), "{name}");
        let error = import(&workshop, workshop.path(name).to_str().unwrap(), &shop_name()).unwrap_err();
        assert!(matches!(error, ImportError::Elsewhere { .. }), "{name}: {error}");
    }
}

#[test]
fn a_reference_that_cannot_move_does_not_hold_up_the_others() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a", "1")]);
    plain_git(&source, &["branch", "topic"]);
    plain_git(&source, &["tag", "t"]);
    let shop = workshop.import(&source);
    plain_git(&source, &["branch", "-m", "topic", "topic/sub"]);
    plain_git(&source, &["tag", "-d", "t"]);
    plain_git(&source, &["tag", "t/sub"]);
    commit_files(&source, &[("a", "2")]);
    let synced = shop.sync(&Source::parse(source.to_str().unwrap()).unwrap()).unwrap();
    assert_eq!(synced.updated, [branch("main")]);
    assert_eq!(synced.skipped, ["refs/tags/t/sub", "refs/heads/topic/sub"]);
    assert_eq!(shop.head(&branch("main")).unwrap(), Some(head_of(&source)));
}

#[test]
fn a_shallow_clone_is_refused_with_the_reason() {
    let workshop = Workshop::new();
    let full = workshop.stranger("full", &[("a", "1")]);
    commit_files(&full, &[("a", "2")]);
    let url = format!("file://{}", full.display());
    plain_git(&workshop.path(""), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let error = import(&workshop, workshop.path("shallow").to_str().unwrap(), &shop_name()).unwrap_err();
    assert!(error.to_string().contains("shallow"), "{error}");
}

#[test]
fn branches_tags_and_the_default_branch_come_over_and_nothing_else() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a", "1")]);
    let head = head_of(&source);
    plain_git(&source, &["tag", "v1"]);
    plain_git(&source, &["tag", "-a", "v2", "-m", "two"]);
    plain_git(&source, &["update-ref", "refs/pull/1/head", head.as_str()]);
    plain_git(&source, &["update-ref", "refs/heads/selvedge/r-0000000000000", head.as_str()]);
    plain_git(&source, &["checkout", "-q", "-b", "trunk"]);
    let repository = import(&workshop, &format!("file://{}", source.display()), &shop_name()).unwrap();
    assert_eq!(repository.default_branch().unwrap(), branch("trunk"));
    let names = plain_git_line(
        repository.dir(),
        &["for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/pull"],
    );
    assert_eq!(names, "refs/heads/main\nrefs/heads/trunk\nrefs/tags/v1\nrefs/tags/v2");
    assert!(matches!(import(&workshop, source.to_str().unwrap(), &shop_name()), Err(ImportError::AlreadyImported(_))));
    assert_eq!(workshop.forge.repository(&shop_name()).unwrap().head(&branch("main")).unwrap(), Some(head));
}

#[test]
fn repositories_with_sha_256_ids_work_too() {
    let workshop = Workshop::new();
    let source = workshop.path("source");
    std::fs::create_dir(&source).unwrap();
    plain_git(&source, &["init", "-q", "-b", "main", "--object-format=sha256"]);
    commit_files(&source, &[("a", "1")]);
    let repository = import(&workshop, source.to_str().unwrap(), &repo_name("x")).unwrap();
    let base = repository.head(&branch("main")).unwrap().unwrap();
    assert_eq!(base.as_str().len(), 64);
    let made = commit(&repository, &base, [write("b", "2")]).unwrap();
    assert_eq!(repository.tree_of(&made.commit).unwrap(), made.tree);
}

/// Runs git and remembers which subcommands.
#[derive(Debug)]
struct Counted(HostGit, Mutex<Vec<String>>);

impl GitRunner for Counted {
    fn run(&self, call: &GitCall<'_>) -> Result<GitOutput, GitError> {
        self.1.lock().unwrap().push(call.args[0].to_owned());
        self.0.run(call)
    }

    fn pipe(&self, call: &GitCall<'_>, input: Option<File>, output: &mut dyn Write) -> Result<GitOutput, GitError> {
        self.0.pipe(call, input, output)
    }
}

#[test]
fn a_source_with_nothing_new_is_asked_once_and_nothing_is_fetched_or_moved() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a", "1")]);
    plain_git(&source, &["tag", "-a", "v1", "-m", "one"]);
    let counted = Arc::new(Counted(HostGit::find(&std::env::var_os("PATH").unwrap()).unwrap(), Mutex::default()));
    let shop = workshop.import(&source).run_by(Arc::clone(&counted) as Arc<dyn GitRunner>);
    let from = Source::parse(source.to_str().unwrap()).unwrap();
    let synced = || {
        let head = shop.sync(&from).unwrap().head;
        let mut calls = std::mem::take(&mut *counted.1.lock().unwrap());
        calls.sort_unstable();
        (head, calls.join(" "))
    };
    assert_eq!(synced(), (Some(head_of(&source)), "for-each-ref ls-remote".to_owned()));
    commit_files(&source, &[("a", "2")]);
    let (head, calls) = synced();
    assert_eq!((&head, shop.head(&branch("main")).unwrap()), (&Some(head_of(&source)), head.clone()));
    assert!(calls.contains("fetch") && calls.contains("update-ref"), "{calls}");
    // What a keeper that was killed between the two left is still taken up.
    plain_git(shop.dir(), &["update-ref", "refs/heads/main", &format!("{}^", head.unwrap())]);
    counted.1.lock().unwrap().clear();
    assert_eq!(shop.sync(&from).unwrap().updated, [branch("main")]);
    counted.1.lock().unwrap().clear();
    // What the source takes away is forgotten, and HEAD need not be on a branch.
    plain_git(&source, &["tag", "-d", "v1"]);
    plain_git(&source, &["checkout", "-q", "--detach"]);
    assert_eq!(synced().0, Some(head_of(&source)));
    assert_eq!(synced().1, "for-each-ref ls-remote");
}

#[test]
fn the_tree_of_a_commit_is_looked_up_once_and_never_where_the_commit_is_not() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a", "1")]);
    let counted = Arc::new(Counted(HostGit::find(&std::env::var_os("PATH").unwrap()).unwrap(), Mutex::default()));
    let shop = workshop.import(&source).run_by(Arc::clone(&counted) as Arc<dyn GitRunner>);
    let (first, later) = (shop.tree_of(&head_of(&source)).unwrap(), shop.tree_of(&head_of(&source)).unwrap());
    assert_eq!((&first, counted.1.lock().unwrap().len()), (&later, 1));
    commit_files(&source, &[("a", "2")]);
    let other = import(&workshop, source.to_str().unwrap(), &repo_name("other")).unwrap();
    let second = other.tree_of(&head_of(&source)).unwrap();
    assert_ne!(second, first);
    assert!(shop.tree_of(&head_of(&source)).is_err(), "another repository has it");
    shop.sync(&Source::parse(source.to_str().unwrap()).unwrap()).unwrap();
    assert_eq!(shop.tree_of(&head_of(&source)).unwrap(), second, "that there was none is not remembered");
}

#[test]
fn catching_up_moves_branches_forward_only() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a", "1")]);
    plain_git(&source, &["tag", "v1"]);
    let shop = workshop.import(&source);
    let from = Source::parse(source.to_str().unwrap()).unwrap();
    let main = branch("main");
    assert_eq!(shop.sync(&from).unwrap().updated, []);

    commit_files(&source, &[("a", "2")]);
    plain_git(&source, &["tag", "-f", "v1"]);
    plain_git(&source, &["branch", "new"]);
    let synced = shop.sync(&from).unwrap();
    assert_eq!((synced.updated, synced.diverged), (vec![main.clone(), branch("new")], vec![]));
    assert_eq!(shop.head(&main).unwrap(), Some(head_of(&source)));
    let tag = plain_git_line(shop.dir(), &["rev-parse", "v1"]);
    assert_ne!(tag, head_of(&source).as_str(), "a tag never moves");

    // Ours is ahead: kept. Then theirs moves too: both kept apart.
    let ours = commit(&shop, &head_of(&source), [write("b", "ours")]).unwrap().commit;
    plain_git(shop.dir(), &["update-ref", "refs/heads/main", ours.as_str()]);
    assert_eq!(shop.sync(&from).unwrap().diverged, []);
    commit_files(&source, &[("c", "theirs")]);
    assert_eq!(shop.sync(&from).unwrap().diverged, std::slice::from_ref(&main));
    plain_git(&source, &["reset", "-q", "--hard", "HEAD~2"]);
    shop.sync(&from).unwrap();
    assert_eq!(shop.head(&main).unwrap(), Some(ours), "nothing we hold is ever overwritten");
}
