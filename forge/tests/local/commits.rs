//! Building commits: the same inputs give the same commit, and no input leaves the tree.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use selvedge_domain::{Change, ChangeSet, FileMode, RepoPath, RunId};
use selvedge_forge::git::HostGit;
use selvedge_forge::local::{Author, CommitError, Draft, Expected, LocalForge, Repository};
use selvedge_forge::secret::Scanner;

use crate::permits::to_open;
use crate::support::{WHEN, Workshop, author, commit, link, path, plain_git, plain_git_line, remove, shop_name, write};

#[test]
fn a_commit_names_no_reference_and_is_the_same_when_built_again() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let before = plain_git_line(shop.dir(), &["for-each-ref"]);
    let made = commit(&shop, &base, [write("b", "2")]).unwrap();
    assert_eq!(commit(&shop, &base, [write("b", "2")]).unwrap(), made);
    assert_eq!(plain_git_line(shop.dir(), &["for-each-ref"]), before);
    let text = String::from_utf8(plain_git(shop.dir(), &["cat-file", "-p", made.commit.as_str()])).unwrap();
    let expected = format!(
        "tree {}\nparent {base}\nauthor Selvedge <factory@example.org> 1795000000 +0000\n\
         committer Selvedge <factory@example.org> 1795000000 +0000\n\nfix: it\n",
        made.tree
    );
    assert_eq!(text, expected);
    plain_git(shop.dir(), &["fsck", "--strict"]);
}

#[test]
fn changes_that_change_nothing_give_the_base_s_tree() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let made = commit(&shop, &base, [write("a", "1"), remove("never/there")]).unwrap();
    assert_eq!(made.tree, made.base_tree);
    let empty = commit(&shop, &base, [remove("a")]).unwrap();
    assert_eq!(empty.tree.as_str(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
}

#[test]
fn names_git_could_misread_arrive_as_they_are() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let names = [
        "-rf",
        "--help",
        "a b",
        "\"quoted\"",
        "back\\slash",
        "$(id)",
        ":!x",
        "*",
        "données/é",
        "done",
        "from main",
        "#x",
        " lead",
    ];
    let made = commit(&shop, &base, names.iter().map(|name| write(name, name))).unwrap();
    for name in names {
        let file = shop.file(&path(name), &made.commit, 100).unwrap().unwrap();
        assert_eq!(file.content, name.as_bytes(), "{name}");
    }
    assert_eq!(shop.diff(&made.base_tree, &made.tree).unwrap().len(), names.len());
}

#[test]
fn content_that_looks_like_commands_is_content() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let text = format!("done\nreset refs/heads/main\nfrom {base}\nM 100644 inline .git/config\ndata <<X\nx\nX\n");
    let made = commit(&shop, &base, [write("f", &text)]).unwrap();
    assert_eq!(shop.file(&path("f"), &made.commit, 1000).unwrap().unwrap().content, text.as_bytes());
    let changes = ChangeSet::new([write("f", "x")]);
    let message = format!("title\nfrom {base}\nD a\n");
    let draft = Draft { base: &base, changes: &changes, message: &message, author: &author(), when: WHEN };
    let made = shop.commit_tree(&draft).unwrap();
    assert!(shop.file(&path("a"), &made.commit, 10).unwrap().is_some());
    let told = String::from_utf8(plain_git(shop.dir(), &["log", "-1", "--format=%B", made.commit.as_str()])).unwrap();
    assert_eq!(told.trim_end(), message.trim_end());
}

#[test]
fn files_and_directories_replace_each_other_but_not_within_one_change() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("f", "1"), ("d/x", "2")]);
    let made = commit(&shop, &base, [remove("f"), write("f/inner", "3"), remove("d"), write("d", "4")]).unwrap();
    assert_eq!(plain_git_line(shop.dir(), &["ls-tree", "-r", "--name-only", made.tree.as_str()]), "d\nf/inner");
    for second in ["f/inner", "f/deep/er"] {
        let error = commit(&shop, &base, [link("f", "/etc"), write("f-", "between"), write(second, "3")]).unwrap_err();
        assert!(matches!(error, CommitError::FileAndDirectory { .. }), "{error}");
    }
}

#[test]
fn s_28_paths_that_differ_only_in_case_are_refused_when_the_change_brings_them() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("README", "1"), ("dir/x", "2"), ("Make", "3"), ("make", "4")]);
    for (at, existing) in [("readme", "README"), ("Dir/y", "dir"), ("DIR", "dir")] {
        let error = commit(&shop, &base, [link(at, "/etc")]).unwrap_err();
        assert!(matches!(&error, CommitError::Case(pair) if pair.existing == existing), "{at}: {error}");
    }
    let both = commit(&shop, &base, [write("new", "1"), write("New", "2")]).unwrap_err();
    assert!(matches!(both, CommitError::Case(_)));
    // A rename in case alone leaves one of them; what the base holds is the base's affair.
    commit(&shop, &base, [remove("README"), write("readme", "1")]).unwrap();
    commit(&shop, &base, [write("Make", "5"), write("other", "6")]).unwrap();
}

#[test]
fn links_no_one_can_follow_and_links_git_would_read_are_refused() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let long = "x".repeat(5000);
    for (at, target) in
        [("l", ""), ("l", "a\0b"), ("l", long.as_str()), (".gitmodules", "x"), ("sub/.GitAttributes", "/etc/x")]
    {
        let error = commit(&shop, &base, [link(at, target)]).unwrap_err();
        assert!(matches!(error, CommitError::Symlink { .. }), "{at}: {error}");
    }
    commit(&shop, &base, [link("l", "../../etc/passwd")]).unwrap();
}

#[test]
fn authors_and_messages_that_would_forge_a_header_are_refused() {
    for (name, email) in
        [("", "a@x"), ("A\nparent 0", "a@x"), ("A <evil@x>", "a@x"), ("A", "a>x"), ("A", " "), ("A\0", "a@x")]
    {
        assert!(Author::new(name, email).is_err(), "{name:?} {email:?}");
    }
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let changes = ChangeSet::new([write("b", "2")]);
    for message in ["a\0b".to_owned(), "x".repeat(70_000)] {
        let draft = Draft { base: &base, changes: &changes, message: &message, author: &author(), when: WHEN };
        assert!(matches!(shop.commit_tree(&draft), Err(CommitError::Message)));
    }
}

#[test]
fn a_base_that_is_not_here_is_an_error() {
    let workshop = Workshop::new();
    let (shop, _) = workshop.shop(&[("a", "1")]);
    let nowhere = selvedge_domain::CommitId::parse(&"1".repeat(40)).unwrap();
    assert!(commit(&shop, &nowhere, [write("b", "2")]).is_err());
    LocalForge::open(&workshop.path("forge"), git()).unwrap();
    let left = std::fs::read_dir(shop.dir())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("fast_import_crash"));
    assert_eq!(left.count(), 0, "opening the forge clears crash reports");
}

#[test]
fn executables_and_many_files_survive_the_trip() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let files = (0..1000).map(|n| write(&format!("d{}/f{n}", n % 7), &n.to_string()));
    let script = Change::Write { path: path("run"), mode: FileMode::Executable, content: b"#!/bin/sh\n".to_vec() };
    let made = commit(&shop, &base, files.chain([script])).unwrap();
    let dir = shop.materialise(&made.tree, Default::default()).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("d5/f999")).unwrap(), "999");
    assert_eq!(dir.join("run").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_crash_between_commit_and_reference_loses_nothing_and_repeats_nothing() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let run = RunId::from_entropy(1);
    let made = commit(&shop, &base, [write("b", "2")]).unwrap();
    // The keeper dies here, git's lock on the branch and half a pack with it.
    let lock = shop.dir().join(format!("refs/heads/selvedge/{run}.lock"));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    std::fs::write(shop.dir().join("objects/pack/tmp_pack_x"), "half").unwrap();
    std::fs::write(shop.dir().join("packed-refs.lock"), "").unwrap();
    for pack in packs(&shop) {
        std::fs::write(pack.with_extension("keep"), "fast-import").unwrap();
    }
    // Even before anyone clears up, building the same commit again works.
    assert_eq!(commit(&shop, &base, [write("b", "2")]).unwrap(), made);
    for unfinished in ["forge/.unfinished-9", "forge/acme+shop.trees/.unfinished-9"] {
        std::fs::create_dir_all(workshop.path(unfinished)).unwrap();
    }

    let forge = LocalForge::open(&workshop.path("forge"), git()).unwrap();
    let shop = forge.repository(&shop_name()).unwrap();
    let again = commit(&shop, &base, [write("b", "2")]).unwrap();
    assert_eq!(again, made);
    let permit = to_open(&shop_name(), &run, &again.commit, &again.tree);
    shop.publish(&permit, &Expected::Absent).unwrap();
    assert_eq!(shop.published(&run).unwrap(), Some(made.commit));
    for gone in ["objects/pack/tmp_pack_x", "packed-refs.lock"] {
        assert!(!shop.dir().join(gone).exists(), "{gone}");
    }
    assert!(packs(&shop).iter().all(|pack| !pack.with_extension("keep").exists()));
    assert!(!workshop.path("forge/.unfinished-9").exists());
    assert!(!workshop.path("forge/acme+shop.trees/.unfinished-9").exists());
}

#[test]
fn upkeep_gathers_packs_and_loses_nothing_not_even_what_has_no_name() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1")]);
    let unnamed: Vec<_> = (0..8).map(|n| commit(&shop, &base, [write("b", &n.to_string())]).unwrap()).collect();
    let run = RunId::from_entropy(1);
    let permit = to_open(&shop_name(), &run, &unnamed[0].commit, &unnamed[0].tree);
    shop.publish(&permit, &Expected::Absent).unwrap();
    let before = packs(&shop).len();
    assert!(!shop.tidy(100).unwrap(), "few packs are left alone");
    assert!(shop.tidy(2).unwrap());
    assert!(packs(&shop).len() < before, "{} packs before", before);
    assert!(!shop.dir().join(format!("refs/heads/selvedge/{run}")).exists(), "references are packed too");
    assert_eq!(shop.published(&run).unwrap().as_ref(), Some(&unnamed[0].commit));
    shop.close(&run).unwrap();
    assert_eq!(shop.published(&run).unwrap(), None);
    for made in unnamed {
        assert_eq!(shop.tree_of(&made.commit).unwrap(), made.tree);
    }
    plain_git(shop.dir(), &["fsck", "--strict"]);
}

#[test]
fn a_108_credentials_a_change_adds_are_found_wherever_they_are() {
    let workshop = Workshop::new();
    let token = |tail: &str| format!("ghp_{}{tail}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cD");
    let known = token("0000");
    let (shop, base) = workshop.shop(&[("fixture", known.as_str()), ("a", "1"), ("gone", token("9999").as_str())]);
    let canary = b"canary-5b1e-never-leaves".as_slice();
    let changes = [
        write("fixture", &format!("moved\n{known}")),
        write("a", &format!("one\ntwo\n{}", token("1111"))),
        write(&token("2222"), &token("3333")),
        link("l", "/tmp/canary-5b1e-never-leaves"),
        remove("gone"),
    ];
    let made = commit(&shop, &base, changes).unwrap();
    let leaks = shop.leaks(&made.base_tree, &made.tree, &Scanner::with_canaries([canary])).unwrap();
    let mut told: Vec<_> = leaks.iter().map(|l| (l.place.as_str(), l.finding.kind, l.finding.line)).collect();
    told.sort_unstable();
    assert_eq!(told[..2], [("(a path)", "GitHub token", 1); 2]);
    assert_eq!(told[2..], [("a", "GitHub token", 3), ("l", "planted canary", 1)]);
}

#[test]
fn a_27_links_that_lead_outside_are_listed() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1"), ("d/x", "2")]);
    let base = commit(&shop, &base, [link("old", "/already/there"), link("moved", "a")]).unwrap().commit;
    let changes = [link("abs", "/etc/passwd"), link("d/up", "../../x"), link("d/fine", "../a"), link("moved", "../x")];
    let made = commit(&shop, &base, changes).unwrap();
    let outside = shop.links_outside(&made.base_tree, &made.tree).unwrap();
    assert_eq!(outside, [path("abs"), path("d/up"), path("moved")]);
}

#[test]
fn a_patch_is_cut_at_the_limit_and_says_so() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a", "1\n")]);
    let made = commit(&shop, &base, [write("a", &"line\n".repeat(10_000))]).unwrap();
    let patch = shop.patch(&made.base_tree, &made.tree, 1000).unwrap();
    assert_eq!((patch.text.len(), patch.cut), (1000, true));
    assert!(!shop.patch(&made.base_tree, &made.tree, 1 << 20).unwrap().cut);
}

#[test]
fn a_change_set_keeps_path_order_so_that_a_parent_comes_first() {
    // `refuse_contradictions` and the stream rest on this.
    let parse = |text: &str| RepoPath::parse(text.as_bytes()).unwrap();
    assert!(parse("a") < parse("a-b") && parse("a") < parse("a/b"));
}

fn git() -> Arc<HostGit> {
    Arc::new(HostGit::find(&std::env::var_os("PATH").unwrap()).unwrap())
}

fn packs(shop: &Repository) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(shop.dir().join("objects/pack")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "pack")).collect()
}
