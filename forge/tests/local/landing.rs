//! Landing repositories: what a run can ask for in its own, and what of a push is seen before its branch moves.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use selvedge_domain::orders::PushGit;
use selvedge_domain::{CommitId, RunId};
use selvedge_forge::local::{BranchName, Examined, Landing, PublishError, RefusedObjects, Service};

use crate::permits::permit;
use crate::support::{Workshop, commit_files, plain_git, plain_git_line, plain_git_reading, remove, shop_name, write};

const PACK_BYTES_MAX: u64 = 1 << 20;

/// A landing repository and a clone of it, as an agent would have one.
struct Scene {
    workshop: Workshop,
    landing: Landing,
    clone: PathBuf,
    base: CommitId,
}

impl Scene {
    fn new() -> Self {
        let workshop = Workshop::new();
        let (repository, base) = workshop.shop(&[("a", "one\n"), ("gone", "x\n")]);
        let (main, run) = (BranchName::parse("main").unwrap(), RunId::from_entropy(1));
        let at = workshop.path("landing.git");
        let landing = repository.landing(&at, &base, &main, &run).unwrap();
        plain_git(workshop.path("source").parent().unwrap(), &["clone", "-q", at.to_str().unwrap(), "clone"]);
        let clone = workshop.path("clone");
        Self { workshop, landing, clone, base }
    }

    fn head(&self) -> CommitId {
        CommitId::parse(&plain_git_line(&self.clone, &["rev-parse", "HEAD"])).unwrap()
    }

    /// The pack git would send for `new`.
    fn pack(&self, new: &str) -> File {
        let asked = format!("{new}\n^{}\n", self.base);
        let args = ["pack-objects", "--revs", "--thin", "--stdout", "-q"];
        self.file("pack", &plain_git_reading(&self.clone, &args, asked.as_bytes()))
    }

    fn file(&self, name: &str, content: &[u8]) -> File {
        std::fs::write(self.workshop.path(name), content).unwrap();
        File::open(self.workshop.path(name)).unwrap()
    }

    /// What a push of the clone's head is found to be.
    fn push(&self) -> Result<Examined, RefusedObjects> {
        let (old, new) = (self.landing.head().unwrap(), self.head());
        self.landing.receive(self.pack(new.as_str()), PACK_BYTES_MAX)?;
        self.landing.examine(old.as_ref(), &new, &|| true)
    }

    fn land(&self, reference: &str, old: Option<CommitId>) -> Result<(), PublishError> {
        let order = PushGit {
            run: RunId::from_entropy(1),
            repo: shop_name(),
            reference: reference.to_owned(),
            old,
            new: self.head(),
            commits: 1,
            pack_bytes: 0,
            paths: Vec::new(),
            automation: Vec::new(),
            secrets: Vec::new(),
        };
        self.landing.land(&permit(order)).map(drop)
    }
}

fn names(paths: &BTreeSet<selvedge_domain::RepoPath>) -> Vec<&str> {
    paths.iter().map(|path| path.as_str()).collect()
}

#[test]
fn a_pushed_branch_is_taken_over_as_one_change_and_pushed_again() {
    let scene = Scene::new();
    assert_eq!(scene.landing.changes().unwrap(), None, "nothing was pushed");
    commit_files(&scene.clone, &[("a", "two\n"), ("b/c", "new\n")]);
    plain_git(&scene.clone, &["rm", "-q", "gone"]);
    commit_files(&scene.clone, &[]);
    let seen = scene.push().unwrap();
    assert_eq!((seen.commits, names(&seen.paths)), (2, vec!["a", "b/c", "gone"]));
    assert!(seen.automation.is_empty() && seen.secrets.is_empty());
    assert_eq!(scene.landing.head().unwrap(), None, "what nobody permitted has no name");
    scene.land(&scene.landing.reference(), None).unwrap();
    let changes = scene.landing.changes().unwrap().unwrap();
    assert_eq!(changes.changes(), [write("a", "two\n"), write("b/c", "new\n"), remove("gone")]);
    // Again, on top of it; and landing what is landed is no error.
    let first = scene.head();
    scene.land(&scene.landing.reference(), None).unwrap();
    commit_files(&scene.clone, &[("a", "three\n")]);
    assert_eq!(names(&scene.push().unwrap().paths), ["a"]);
    scene.land(&scene.landing.reference(), Some(first)).unwrap();
    assert!(scene.landing.changes().unwrap().unwrap().changes().contains(&write("a", "three\n")));
}

#[test]
fn a_60_the_branch_only_grows_and_only_from_the_base() {
    let scene = Scene::new();
    commit_files(&scene.clone, &[("a", "two\n")]);
    scene.push().unwrap();
    scene.land(&scene.landing.reference(), None).unwrap();
    plain_git(&scene.clone, &["reset", "-q", "--hard", scene.base.as_str()]);
    commit_files(&scene.clone, &[("a", "another two\n")]);
    assert!(matches!(scene.push(), Err(RefusedObjects::Rewrites)));
    plain_git(&scene.clone, &["checkout", "-q", "--orphan", "elsewhere"]);
    commit_files(&scene.clone, &[("a", "no history\n")]);
    assert!(matches!(scene.push(), Err(RefusedObjects::Elsewhere)));
    // Nor does a second beginning come in through a merge.
    plain_git(&scene.clone, &["checkout", "-q", "-b", "both", "origin/main"]);
    plain_git(&scene.clone, &["merge", "-q", "--allow-unrelated-histories", "-s", "ours", "-m", "x", "elsewhere"]);
    let new = scene.head();
    scene.landing.receive(scene.pack(new.as_str()), PACK_BYTES_MAX).unwrap();
    assert!(matches!(scene.landing.examine(None, &new, &|| true), Err(RefusedObjects::Elsewhere)));
}

#[test]
fn a_60_what_was_seen_is_what_lands_and_only_on_the_run_s_branch() {
    let scene = Scene::new();
    commit_files(&scene.clone, &[("a", "two\n")]);
    scene.push().unwrap();
    for other in ["refs/heads/main", "refs/tags/x", "refs/heads/selvedge/r-0000000000002"] {
        assert!(matches!(scene.land(other, None), Err(PublishError::OtherRepository { .. })), "{other}");
    }
    let moved = scene.land(&scene.landing.reference(), Some(scene.base.clone()));
    assert!(matches!(moved, Err(PublishError::Moved { found: None, .. })));
    scene.land(&scene.landing.reference(), None).unwrap();
}

#[test]
fn a_66_a_108_workflows_and_secrets_show_in_every_commit_also_when_taken_back() {
    let scene = Scene::new();
    let key = format!("key = \"AKIA{}\"\n", "QWERTYUIOPASDFGH");
    commit_files(&scene.clone, &[("settings", &key), (".github/workflows/x.yml", "on: push\n")]);
    plain_git(&scene.clone, &["rm", "-q", "-r", "settings", ".github"]);
    commit_files(&scene.clone, &[("a", "two\n")]);
    let seen = scene.push().unwrap();
    assert_eq!(names(&seen.automation), [".github/workflows/x.yml"]);
    assert_eq!(seen.secrets.len(), 1, "{:?}", seen.secrets);
    assert!(seen.secrets.iter().all(|told| told.contains("settings line 1") && !told.contains("AKIA")));
    // What leaves is the tree at the end, in a commit of the factory's own.
    scene.land(&scene.landing.reference(), None).unwrap();
    assert_eq!(scene.landing.changes().unwrap().unwrap().changes(), [write("a", "two\n")]);
}

#[test]
fn a_66_submodules_links_outside_tags_and_broken_packs_are_refused() {
    let scene = Scene::new();
    let link = format!("160000,{},sub", scene.base);
    plain_git(&scene.clone, &["update-index", "--add", "--cacheinfo", &link]);
    plain_git(&scene.clone, &["commit", "-q", "-m", "x"]);
    assert!(matches!(scene.push(), Err(RefusedObjects::Tree(_))));
    plain_git(&scene.clone, &["reset", "-q", "--hard", scene.base.as_str()]);
    std::os::unix::fs::symlink("../../etc/passwd", scene.clone.join("link")).unwrap();
    commit_files(&scene.clone, &[]);
    assert!(matches!(scene.push(), Err(RefusedObjects::Leaves(_))));
    plain_git(&scene.clone, &["reset", "-q", "--hard", scene.base.as_str()]);
    plain_git(&scene.clone, &["tag", "-a", "-m", "x", "t"]);
    let tag = plain_git_line(&scene.clone, &["rev-parse", "t"]);
    scene.landing.receive(scene.pack(&tag), PACK_BYTES_MAX).unwrap();
    let tag = CommitId::parse(&tag).unwrap();
    assert!(matches!(scene.landing.examine(None, &tag, &|| true), Err(RefusedObjects::NotACommit)));
    assert!(matches!(scene.landing.receive(scene.file("x", b"PACK nonsense"), 100), Err(RefusedObjects::Pack)));
    commit_files(&scene.clone, &[("large", &"0123456789abcdef-".repeat(100))]);
    let new = scene.head();
    assert!(matches!(scene.landing.receive(scene.pack(new.as_str()), 32), Err(RefusedObjects::Pack)));
    scene.landing.receive(scene.pack(new.as_str()), PACK_BYTES_MAX).unwrap();
    scene.landing.examine(None, &new, &|| true).unwrap();
}

#[test]
fn a_push_of_too_many_commits_is_refused() {
    let scene = Scene::new();
    (0..101).for_each(|_| commit_files(&scene.clone, &[]));
    assert!(matches!(scene.push(), Err(RefusedObjects::TooManyCommits)));
    plain_git(&scene.clone, &["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(scene.push().unwrap().commits, 100);
}

#[test]
fn a_66_a_107_a_commit_with_more_parents_than_are_compared_is_refused() {
    let scene = Scene::new();
    commit_files(&scene.clone, &[("a", "two\n")]);
    let tree = plain_git_line(&scene.clone, &["rev-parse", "HEAD^{tree}"]);
    let commit = |parents: usize| {
        let parents = format!("parent {}\n", scene.base).repeat(parents);
        let who = "A <a@example.org> 1700000000 +0000";
        let text = format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\nx\n");
        let id = plain_git_reading(&scene.clone, &["hash-object", "-t", "commit", "-w", "--stdin"], text.as_bytes());
        String::from_utf8(id).unwrap().trim().to_owned()
    };
    let push = |id: String| {
        scene.landing.receive(scene.pack(&id), PACK_BYTES_MAX).unwrap();
        scene.landing.examine(None, &CommitId::parse(&id).unwrap(), &|| true)
    };
    assert!(matches!(push(commit(301)), Err(RefusedObjects::TooManyParents)));
    assert_eq!(names(&push(commit(3)).unwrap().paths), ["a"]);
}

#[test]
fn a_66_a_107_a_pack_that_holds_more_than_is_searched_is_refused() {
    let scene = Scene::new();
    // Much less than a megabyte of pack, and more than is searched, whose every file is within the limits.
    for file in ["b", "c", "d", "e", "f"] {
        commit_files(&scene.clone, &[(file, &file.repeat(60 << 20))]);
    }
    assert!(matches!(scene.push(), Err(RefusedObjects::TooMuchContent)));
}

#[test]
fn a_107_nothing_is_looked_at_for_a_run_that_ended() {
    let scene = Scene::new();
    commit_files(&scene.clone, &[("a", "two\n")]);
    scene.push().unwrap();
    assert!(matches!(scene.landing.examine(None, &scene.head(), &|| false), Err(RefusedObjects::Ended)));
}

#[test]
fn a_107_findings_of_a_push_are_counted_up_to_a_limit() {
    let scene = Scene::new();
    let keys: String = (0..90).map(|key| format!("key = \"AKIA{}{key:02}\"\n", "QWERTYUIOPASDF")).collect();
    commit_files(&scene.clone, &[("x", &keys), ("y", &keys)]);
    assert_eq!(scene.push().unwrap().secrets.len(), 100);
}

#[test]
fn a_107_a_thin_pack_is_counted_as_what_it_becomes() {
    let scene = Scene::new();
    let large = noise(1 << 20);
    commit_files(&scene.clone, &[("large", &large)]);
    scene.push().unwrap();
    let held = scene.landing.received_bytes().unwrap();
    assert!(held > 1 << 19, "{held}");
    scene.land(&scene.landing.reference(), None).unwrap();
    // A few hundred bytes that git completes with the whole of what they are based on.
    let base = scene.head();
    commit_files(&scene.clone, &[("large", &format!("{large}x"))]);
    let asked = format!("{}\n^{base}\n", scene.head());
    let pack =
        plain_git_reading(&scene.clone, &["pack-objects", "--revs", "--thin", "--stdout", "-q"], asked.as_bytes());
    assert!(pack.len() < 2000, "{}", pack.len());
    scene.landing.receive(scene.file("pack", &pack), PACK_BYTES_MAX).unwrap();
    assert!(scene.landing.received_bytes().unwrap() > held + (1 << 19));
}

#[test]
fn a_66_no_limit_is_not_what_a_limit_of_nothing_means() {
    let scene = Scene::new();
    commit_files(&scene.clone, &[("a", "two\n")]);
    let new = scene.head();
    assert!(matches!(scene.landing.receive(scene.pack(new.as_str()), 0), Err(RefusedObjects::Pack)));
}

/// Text that does not compress, the same each time.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(state >> 58).unwrap())
    };
    (0..bytes).map(|_| letter()).collect()
}

#[test]
fn a_108_a_landing_repository_holds_nothing_of_other_runs_or_branches() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a", "one\n")]);
    let base = CommitId::parse(&plain_git_line(&source, &["rev-parse", "HEAD"])).unwrap();
    plain_git(&source, &["checkout", "-q", "-b", "private"]);
    commit_files(&source, &[("b", "later\n")]);
    let other = plain_git_line(&source, &["rev-parse", "HEAD"]);
    let repository = workshop.import(&source);
    let (main, run) = (BranchName::parse("main").unwrap(), RunId::from_entropy(1));
    let at = workshop.path("landing.git");
    let landing = repository.landing(&at, &base, &main, &run).unwrap();
    assert!(plain_git_line(repository.dir(), &["cat-file", "-t", &other]) == "commit", "the factory has it");
    let has = |id: &str| {
        let mut git = std::process::Command::new("git");
        git.args(["--git-dir", at.to_str().unwrap(), "cat-file", "-e", id]).status().unwrap().success()
    };
    assert!(has(base.as_str()) && !has(&other));
    let mut said = Vec::new();
    landing.advertise(Service::UploadPack, &mut said).unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("001e# service=git-upload-pack\n0000"), "{said}");
    assert!(said.contains("refs/heads/main") && !said.contains(&other), "{said}");
    let request = fetching(&base);
    std::fs::write(workshop.path("request"), request).unwrap();
    let mut pack = Vec::new();
    landing.fetch(File::open(workshop.path("request")).unwrap(), &mut pack).unwrap();
    assert!(pack.windows(4).any(|bytes| bytes == b"PACK"));
}

/// What a client that has nothing asks for.
fn fetching(wanted: &CommitId) -> Vec<u8> {
    let want = format!("want {wanted} ofs-delta\n");
    format!("{:04x}{want}00000009done\n", want.len() + 4).into_bytes()
}
