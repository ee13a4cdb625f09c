//! Trees no honest git would write, brought in past git's own checks (attacks S-28, S-29, A-66).

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use selvedge_domain::TreeId;
use selvedge_forge::local::{ImportError, MaterialiseError, Repository, Source, TreeError, TreeLimits};

use crate::support::{Workshop, plain_git, plain_git_line, plain_git_reading, repo_name};

/// One raw tree entry: mode, name, object.
type RawEntry<'a> = (&'a str, &'a [u8], &'a str);

/// Writes a tree object byte by byte, without git's opinion of it.
fn raw_tree(dir: &std::path::Path, entries: &[RawEntry<'_>]) -> TreeId {
    let mut object = Vec::new();
    for (mode, name, id) in entries {
        object.extend([mode.as_bytes(), b" ", name, b"\0"].concat());
        let digits: Vec<u32> = id.chars().map(|c| c.to_digit(16).unwrap()).collect();
        object.extend(digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()));
    }
    let id = plain_git_reading(dir, &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &object);
    TreeId::parse(String::from_utf8(id).unwrap().trim()).unwrap()
}

fn blob(dir: &std::path::Path, content: &str) -> String {
    String::from_utf8(plain_git_reading(dir, &["hash-object", "-w", "--stdin"], content.as_bytes()))
        .unwrap()
        .trim()
        .to_owned()
}

fn materialise(shop: &Repository, tree: &TreeId) -> Result<std::path::PathBuf, MaterialiseError> {
    shop.materialise(tree, TreeLimits::default())
}

fn nothing_was_written(workshop: &Workshop) -> bool {
    std::fs::read_dir(workshop.path("forge/acme+shop.trees")).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn s_29_paths_that_leave_or_pose_as_git_s_own_are_never_written() {
    let workshop = Workshop::new();
    let (shop, _) = workshop.shop(&[("a", "1")]);
    let evil = blob(shop.dir(), "evil");
    let inner = raw_tree(shop.dir(), &[("100644", b"x", &evil)]);
    let names: &[&[u8]] = &[
        b"..",
        b".",
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b".git ",
        b".git.",
        b".git::$INDEX_ALLOCATION",
        ".g\u{200c}it".as_bytes(),
        b"a\nb",
        b"\x1b[2J",
        b"\xff\xfe",
        b"../../escape",
        b"/etc/cron.d/x",
        b"a//b",
        b".git\\config",
    ];
    for name in names {
        for (mode, id) in [("100644", evil.as_str()), ("40000", inner.as_str()), ("120000", evil.as_str())] {
            let tree = raw_tree(shop.dir(), &[(mode, name, id)]);
            let error = materialise(&shop, &tree).expect_err(&String::from_utf8_lossy(name));
            assert!(
                matches!(error, MaterialiseError::Tree(TreeError::Path(_) | TreeError::Git(_))),
                "{}: {error}",
                String::from_utf8_lossy(name)
            );
            assert!(nothing_was_written(&workshop), "{}", String::from_utf8_lossy(name));
            assert!(!error.to_string().contains(['\x1b', '\n']), "{error}");
        }
    }
}

#[test]
fn s_29_a_link_and_a_directory_of_one_name_do_not_write_through_the_link() {
    let workshop = Workshop::new();
    let (shop, _) = workshop.shop(&[("a", "1")]);
    let outside = workshop.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let target = blob(shop.dir(), outside.to_str().unwrap());
    let evil = blob(shop.dir(), "evil");
    let inner = raw_tree(shop.dir(), &[("100644", b"planted", &evil)]);
    for entries in [
        vec![("120000", &b"d"[..], target.as_str()), ("40000", b"d", inner.as_str())],
        vec![("40000", b"d", inner.as_str()), ("120000", b"d", target.as_str())],
        vec![("100644", b"d", evil.as_str()), ("100644", b"d", evil.as_str())],
    ] {
        let tree = raw_tree(shop.dir(), &entries);
        let error = materialise(&shop, &tree).unwrap_err();
        assert!(matches!(error, MaterialiseError::Tree(TreeError::Twice { .. })), "{error}");
        assert!(nothing_was_written(&workshop));
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_66_submodules_and_unknown_modes_are_refused_by_name() {
    let workshop = Workshop::new();
    let (shop, head) = workshop.shop(&[("a", "1")]);
    let tree = raw_tree(shop.dir(), &[("160000", b"vendored", head.as_str())]);
    let error = materialise(&shop, &tree).unwrap_err();
    assert_eq!(error.to_string(), "`vendored` is a submodule, and submodules are not supported");
    let empty = plain_git_line(shop.dir(), &["mktree"]);
    let error = shop.diff(&TreeId::parse(&empty).unwrap(), &tree).unwrap_err();
    assert!(matches!(error, TreeError::Gitlink { .. }), "a change that adds one is refused as well: {error}");
    let file = blob(shop.dir(), "x");
    let device = raw_tree(shop.dir(), &[("60644", b"sda", &file)]);
    assert!(materialise(&shop, &device).is_err());
    assert!(nothing_was_written(&workshop));
}

#[test]
fn s_29_links_are_data_and_are_not_followed() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("dir/file", "x")]);
    for (name, target) in
        [("abs", "/etc/passwd"), ("up", "../../../outside"), ("to-dir", "dir"), ("dangling", "no/where")]
    {
        std::os::unix::fs::symlink(target, source.join(name)).unwrap();
    }
    plain_git(&source, &["add", "-A"]);
    plain_git(&source, &["commit", "-q", "-m", "links"]);
    let shop = workshop.import(&source);
    let head = shop.head(&shop.default_branch().unwrap()).unwrap().unwrap();
    let dir = materialise(&shop, &shop.tree_of(&head).unwrap()).unwrap();
    assert_eq!(std::fs::read_link(dir.join("abs")).unwrap().to_str(), Some("/etc/passwd"));
    assert_eq!(std::fs::read_link(dir.join("up")).unwrap().to_str(), Some("../../../outside"));
    assert!(dir.join("to-dir").symlink_metadata().unwrap().is_symlink());
    assert!(!dir.join("dir/file").metadata().unwrap().file_type().is_fifo());
}

#[test]
fn content_comes_out_byte_for_byte_whatever_attributes_say() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("plain", "x")]);
    std::fs::write(source.join("crlf.txt"), b"one\r\ntwo\r\n").unwrap();
    std::fs::write(source.join("ident.txt"), b"$Id$ $Format:%H$\n").unwrap();
    std::fs::write(source.join("binary"), [0u8, 255, 10, 13, 0]).unwrap();
    std::fs::write(source.join("run.sh"), b"#!/bin/sh\n").unwrap();
    std::fs::set_permissions(source.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    plain_git(&source, &["add", "-A"]);
    std::fs::write(source.join(".gitattributes"), "* text eol=crlf ident export-subst\nplain export-ignore\n").unwrap();
    plain_git(&source, &["add", ".gitattributes"]);
    plain_git(&source, &["commit", "-q", "-m", "bytes"]);
    let shop = workshop.import(&source);
    let head = shop.head(&shop.default_branch().unwrap()).unwrap().unwrap();
    let dir = materialise(&shop, &shop.tree_of(&head).unwrap()).unwrap();
    assert_eq!(std::fs::read(dir.join("crlf.txt")).unwrap(), b"one\r\ntwo\r\n");
    assert_eq!(std::fs::read(dir.join("ident.txt")).unwrap(), b"$Id$ $Format:%H$\n");
    assert_eq!(std::fs::read(dir.join("binary")).unwrap(), [0u8, 255, 10, 13, 0]);
    let mode = |name: &str| dir.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("run.sh"), mode("plain")), (0o755, 0o644));
}

#[test]
fn one_tree_written_by_many_at_once_is_written_once() {
    let workshop = Workshop::new();
    let (shop, head) = workshop.shop(&[("a", "1"), ("d/b", "2")]);
    let tree = shop.tree_of(&head).unwrap();
    let dirs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| materialise(&shop, &tree).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(dirs.iter().all(|dir| *dir == dirs[0]));
    let left = std::fs::read_dir(workshop.path("forge/acme+shop.trees")).unwrap().count();
    assert_eq!((left, std::fs::read_dir(&dirs[0]).unwrap().count()), (1, 2));
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    // The umask belongs to the whole process, so the test above runs once more in one of its own.
    let other = "hostile_trees::content_comes_out_byte_for_byte_whatever_attributes_say";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$0\" --exact \"$1\""]).arg(std::env::current_exe().unwrap()).arg(other);
    let output = shell.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[test]
fn s_29_limits_hold_before_anything_is_written() {
    let workshop = Workshop::new();
    let (shop, head) = workshop.shop(&[("a", "12345"), ("b", "12345"), ("c", "12345")]);
    let tree = shop.tree_of(&head).unwrap();
    let few = TreeLimits { files_max: 2, file_bytes_max: 5, bytes_max: 100 };
    let small = TreeLimits { files_max: 10, file_bytes_max: 5, bytes_max: 14 };
    let exact = TreeLimits { files_max: 3, file_bytes_max: 5, bytes_max: 15 };
    let narrow = TreeLimits { file_bytes_max: 4, ..exact };
    let tree_error = |limits| match shop.materialise(&tree, limits) {
        Err(MaterialiseError::Tree(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(tree_error(few), TreeError::TooManyFiles { files_max: 2 }));
    assert!(matches!(tree_error(narrow), TreeError::TooLarge { bytes_max: 4, .. }));
    assert!(matches!(tree_error(small), TreeError::TooManyBytes { bytes_max: 14 }));
    assert!(nothing_was_written(&workshop));
    let dir = shop.materialise(&tree, exact).unwrap();
    // Once per tree: the second call answers from the first, whatever the limits.
    assert_eq!(shop.materialise(&tree, few).unwrap(), dir);
    shop.discard(&tree).unwrap();
    assert!(nothing_was_written(&workshop));
    shop.discard(&tree).unwrap();
    assert_eq!(shop.materialise(&tree, exact).unwrap(), dir);
}

#[test]
fn s_29_a_bomb_of_repeated_trees_is_cut_short() {
    let workshop = Workshop::new();
    let (shop, _) = workshop.shop(&[("a", "1")]);
    let file = blob(shop.dir(), "x");
    let mut level = raw_tree(shop.dir(), &[("100644", b"f", &file)]);
    // Ten levels of ten: 10^10 paths out of eleven objects.
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for _ in 0..10 {
        let entries: Vec<RawEntry<'_>> = names.iter().map(|name| ("40000", name.as_bytes(), level.as_str())).collect();
        level = raw_tree(shop.dir(), &entries);
    }
    let limits = TreeLimits { files_max: 1000, ..TreeLimits::default() };
    let error = shop.materialise(&level, limits).unwrap_err();
    assert!(matches!(error, MaterialiseError::Tree(TreeError::TooManyFiles { files_max: 1000 })), "{error}");
    assert!(nothing_was_written(&workshop));
}

#[test]
fn s_28_malformed_objects_do_not_come_in() {
    for name in [&b".."[..], b".git", b".GIT", b"git~1"] {
        let workshop = Workshop::new();
        let source = workshop.stranger("source", &[("a", "1")]);
        let evil = blob(&source, "evil");
        let tree = raw_tree(&source, &[("100644", name, &evil)]);
        let commit = plain_git_line(&source, &["commit-tree", tree.as_str(), "-m", "evil"]);
        plain_git(&source, &["update-ref", "refs/heads/evil", &commit]);
        let there = Source::parse(source.to_str().unwrap()).unwrap();
        let error = workshop.forge.import(&there, &repo_name("x")).unwrap_err();
        assert!(matches!(error, ImportError::Git(_)), "{error}");
        // The control: the same source without that branch is taken in.
        plain_git(&source, &["update-ref", "-d", "refs/heads/evil"]);
        workshop.forge.import(&there, &repo_name("x")).unwrap();
    }
}
