//! A source repository after an agent touched it (attacks A-28, S-28, S-35): each payload fires under plain git and
//! never under ours.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_domain::RunId;
use selvedge_forge::local::{Expected, Merge, MergeKind, Source, TreeLimits};

use crate::permits::to_open;
use crate::support::{
    WHEN, Workshop, author, commit, commit_files, plain_git, plain_git_line, repo_name, shop_name, write,
};

/// One way in: what is planted, and the plain git command that shows it is live.
struct Trap {
    name: &'static str,
    plant: fn(source: &Path, payload: &str),
    control: &'static [&'static str],
}

fn config(source: &Path, key: &str, value: &str) {
    plain_git(source, &["config", key, value]);
}

fn attributes(source: &Path, line: &str) {
    std::fs::write(source.join(".gitattributes"), format!("{line}\n")).unwrap();
}

fn hook(source: &Path, name: &str, payload: &str) {
    let path = source.join(".git/hooks").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{payload}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const TRAPS: &[Trap] = &[
    Trap { name: "core.fsmonitor", plant: |s, p| config(s, "core.fsmonitor", p), control: &["status"] },
    Trap { name: "diff.external", plant: |s, p| config(s, "diff.external", p), control: &["diff"] },
    Trap {
        name: "textconv",
        plant: |s, p| {
            attributes(s, "*.txt diff=evil");
            config(s, "diff.evil.textconv", p);
        },
        control: &["diff"],
    },
    Trap {
        name: "clean filter",
        plant: |s, p| {
            attributes(s, "*.txt filter=evil");
            config(s, "filter.evil.clean", p);
        },
        control: &["add", "-A"],
    },
    Trap {
        name: "smudge filter",
        plant: |s, p| {
            attributes(s, "*.txt filter=evil");
            config(s, "filter.evil.smudge", p);
        },
        control: &["checkout", "-f", "HEAD", "--", "."],
    },
    Trap { name: "hook post-index-change", plant: |s, p| hook(s, "post-index-change", p), control: &["add", "-A"] },
    Trap { name: "hook pre-commit", plant: |s, p| hook(s, "pre-commit", p), control: &["commit", "-q", "-am", "x"] },
    Trap {
        name: "core.hooksPath",
        plant: |s, p| {
            hook(s, "post-checkout", p);
            config(s, "core.hooksPath", s.join(".git/hooks").to_str().unwrap());
        },
        control: &["checkout", "-q", "-b", "other"],
    },
    Trap { name: "alias", plant: |s, p| config(s, "alias.look", &format!("!{p}")), control: &["look"] },
    Trap { name: "core.editor", plant: |s, p| config(s, "core.editor", p), control: &["commit", "--allow-empty"] },
    Trap {
        name: "core.sshCommand",
        plant: |s, p| config(s, "core.sshCommand", p),
        control: &["ls-remote", "ssh://example.invalid/x"],
    },
    Trap {
        name: "gpg.program",
        plant: |s, p| {
            config(s, "gpg.program", p);
            config(s, "commit.gpgSign", "true");
        },
        control: &["commit", "-q", "--allow-empty", "-m", "x"],
    },
    Trap {
        name: "include.path",
        plant: |s, p| {
            std::fs::write(s.join("more.config"), format!("[core]\n\tfsmonitor = {p}\n")).unwrap();
            config(s, "include.path", "../more.config");
        },
        control: &["status"],
    },
    Trap {
        name: "merge driver",
        plant: |s, p| {
            attributes(s, "*.txt merge=evil");
            config(s, "merge.evil.driver", p);
            plain_git(s, &["add", "-A"]);
            plain_git(s, &["commit", "-q", "-m", "attributes"]);
            plain_git(s, &["checkout", "-q", "-b", "side"]);
            commit_files(s, &[("a.txt", "side\n")]);
            plain_git(s, &["checkout", "-q", "main"]);
            commit_files(s, &[("a.txt", "main\n")]);
        },
        control: &["merge", "side"],
    },
    Trap {
        name: "submodule update command",
        plant: |s, p| {
            let head = plain_git_line(s, &["rev-parse", "HEAD"]);
            plain_git(s, &["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub")]);
            std::fs::write(s.join(".gitmodules"), "[submodule \"sub\"]\n\tpath = sub\n\turl = ./\n").unwrap();
            std::fs::create_dir_all(s.join("sub")).unwrap();
            plain_git(&s.join("sub"), &["init", "-q"]);
            plain_git(&s.join("sub"), &["pull", "-q", s.to_str().unwrap(), "main"]);
            plain_git(&s.join("sub"), &["commit", "-q", "--allow-empty", "-m", "moved"]);
            config(s, "submodule.sub.url", "./");
            config(s, "submodule.sub.update", &format!("!{p}"));
        },
        control: &["submodule", "update"],
    },
    Trap {
        name: "nested repository",
        plant: |s, p| {
            std::fs::create_dir(s.join("nested")).unwrap();
            plain_git(&s.join("nested"), &["init", "-q"]);
            commit_files(&s.join("nested"), &[("x", "y")]);
            plain_git(s, &["add", "nested"]);
            config(&s.join("nested"), "core.fsmonitor", p);
        },
        control: &["status"],
    },
];

/// A command that leaves a mark and otherwise does nothing harmful.
fn payload(workshop: &Workshop) -> (String, PathBuf) {
    let (script, mark) = (workshop.path("payload.sh"), workshop.path("it-ran"));
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\nexit 0\n", mark.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script.to_str().unwrap().to_owned(), mark)
}

/// Plain git, whatever it answers.
fn run_plainly(source: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(args)
        .current_dir(source)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@x"), ("GIT_COMMITTER_NAME", "A")])
        .env("GIT_COMMITTER_EMAIL", "a@x")
        .output();
    drop(status.unwrap());
}

/// Everything the forge does, against a source that may hold a trap.
fn walk_the_whole_forge(workshop: &Workshop, source: &Path) {
    let source_there = Source::parse(source.to_str().unwrap()).unwrap();
    let (shop, _) = workshop.forge.import(&source_there, &repo_name("acme/shop")).unwrap();
    let main = shop.default_branch().unwrap();
    let base = shop.head(&main).unwrap().unwrap();
    let tree = shop.tree_of(&base).unwrap();
    shop.materialise(&tree, TreeLimits::default()).unwrap();
    let ours = commit(&shop, &base, [write("b.txt", "ours\n"), write("a.txt", "changed\n")]).unwrap();
    let theirs = commit(&shop, &base, [write("c.txt", "theirs\n")]).unwrap();
    shop.diff(&tree, &ours.tree).unwrap();
    shop.patch(&tree, &ours.tree, 1 << 20).unwrap();
    let plan = Merge {
        target: &main,
        expected: &ours.commit,
        commit: &theirs.commit,
        message: "merge",
        author: &author(),
        when: WHEN,
    };
    assert_eq!(shop.plan_merge(&plan).unwrap().kind(), MergeKind::ThreeWay);
    shop.sync(&source_there).unwrap();
}

#[test]
fn a_28_s_28_nothing_a_source_configures_ever_runs() {
    for trap in TRAPS {
        let workshop = Workshop::new();
        let source = workshop.stranger("source", &[("a.txt", "one\n")]);
        let (payload, mark) = payload(&workshop);
        (trap.plant)(&source, &payload);
        drop(std::fs::remove_file(&mark));
        walk_the_whole_forge(&workshop, &source);
        assert!(!mark.exists(), "{}: our git ran the payload", trap.name);

        std::fs::write(source.join("a.txt"), "two\n").unwrap();
        run_plainly(&source, trap.control);
        assert!(mark.exists(), "{}: the control did not fire, so this row proves nothing", trap.name);
    }
}

#[test]
fn s_28_hooks_in_our_own_repository_do_not_run_either() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a.txt", "one\n")]);
    let (payload, mark) = payload(&workshop);
    let hooks = shop.dir().join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    std::fs::copy(payload, hooks.join("reference-transaction")).unwrap();
    let made = commit(&shop, &base, [write("b.txt", "two\n")]).unwrap();
    let run = RunId::from_entropy(1);
    shop.publish(&to_open(&shop_name(), &run, &made.commit, &made.tree), &Expected::Absent).unwrap();
    assert!(!mark.exists());

    plain_git(shop.dir(), &["update-ref", "refs/heads/x", base.as_str()]);
    assert!(mark.exists(), "the control did not fire");
}

#[test]
fn s_28_a_source_s_own_upload_pack_settings_run_nothing() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a.txt", "one\n")]);
    let (payload, mark) = payload(&workshop);
    config(&source, "uploadpack.packObjectsHook", &payload);
    config(&source, "remote.origin.url", &format!("ext::{payload}"));
    config(&source, "remote.origin.promisor", "true");
    config(&source, "extensions.partialClone", "origin");
    walk_the_whole_forge(&workshop, &source);
    assert!(!mark.exists());
}

#[test]
fn s_28_a_promisor_source_with_missing_objects_fetches_nothing() {
    let workshop = Workshop::new();
    let source = workshop.stranger("source", &[("a.txt", "one\n")]);
    let (payload, mark) = payload(&workshop);
    let blob = plain_git_line(&source, &["rev-parse", "HEAD:a.txt"]);
    let object = source.join(".git/objects").join(blob.split_at(2).0).join(blob.split_at(2).1);
    std::fs::remove_file(object).unwrap();
    config(&source, "core.repositoryFormatVersion", "1");
    config(&source, "extensions.partialClone", "origin");
    config(&source, "remote.origin.promisor", "true");
    config(&source, "remote.origin.url", &format!("ext::{payload} %S"));
    config(&source, "protocol.ext.allow", "always");
    let there = Source::parse(source.to_str().unwrap()).unwrap();
    assert!(workshop.forge.import(&there, &repo_name("acme/shop")).is_err());
    assert!(!mark.exists(), "the missing object was fetched by running a command");

    run_plainly(&source, &["cat-file", "-p", &blob]);
    assert!(mark.exists(), "the control did not fire");
}

#[test]
fn s_35_variables_of_the_caller_s_environment_do_not_reach_git() {
    // The call's environment is a list, and it is the whole list.
    let workshop = Workshop::new();
    let (shop, _) = workshop.shop(&[("a.txt", "one\n")]);
    let call = selvedge_forge::git::GitCall {
        repo: shop.dir(),
        args: &["var", "-l"],
        stdin: b"",
        source: None,
        limits: selvedge_forge::git::GitLimits { stdout_bytes_max: 1, time_max: std::time::Duration::from_secs(1) },
    };
    let names: Vec<_> = call.environment().iter().map(|(name, _)| *name).collect();
    assert!(["HOME", "GIT_DIR", "GIT_EXEC_PATH", "GIT_SSH_COMMAND", "LD_PRELOAD"].iter().all(|n| !names.contains(n)));
    assert!(call.environment().contains(&("GIT_ALLOW_PROTOCOL", "none")));
}

#[test]
fn attributes_a_tree_sets_hide_nothing_from_a_patch_and_steer_no_merge() {
    let workshop = Workshop::new();
    let (shop, base) = workshop.shop(&[("a.txt", "one\n"), (".gitattributes", "*.txt -diff merge=union\n")]);
    let base_tree = shop.tree_of(&base).unwrap();
    let changed = commit(&shop, &base, [write("a.txt", "two\n")]).unwrap();
    let from_tree = format!("--attr-source={base}");
    let control = plain_git(shop.dir(), &[&from_tree, "diff-tree", "-p", base_tree.as_str(), changed.tree.as_str()]);
    let control = String::from_utf8(control).unwrap();
    let patch = String::from_utf8(shop.patch(&base_tree, &changed.tree, 1 << 20).unwrap().text).unwrap();
    assert!(patch.contains("-one\n+two\n"), "{patch}");
    // Our `info/attributes` wins even over a git that reads attributes from a tree.
    assert!(control.contains("-one\n+two\n"), "{control}");
    std::fs::remove_file(shop.dir().join("info/attributes")).unwrap();
    let hidden = plain_git(shop.dir(), &[&from_tree, "diff-tree", "-p", base_tree.as_str(), changed.tree.as_str()]);
    assert!(String::from_utf8(hidden).unwrap().contains("Binary files"), "without it the attribute hides the change");
}
