//! What comes out of a workspace, and what must not: collection (S-29, S-30), binds and made files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use selvedge_domain::{Change, FileMode};
use selvedge_sandbox::{Access, Bind, ChangeSet, CollectError, CollectLimits, File, Place, Workspace};

use crate::stage::{Stage, wait};

/// A tree as a checkout would be: owned by the keeper, closed to everyone else, beneath a directory of the same kind.
fn pristine(stage: &Stage) -> std::path::PathBuf {
    let tree = stage.dir.path().join("closed/tree");
    fs::create_dir_all(tree.join("src/deep")).unwrap();
    for (name, content) in [("README", "hello\n"), ("src/a.rs", "a\n"), ("src/b.rs", "b\n"), ("src/deep/c.rs", "c\n")] {
        fs::write(tree.join(name), content).unwrap();
    }
    fs::write(tree.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("README", tree.join("link")).unwrap();
    fs::set_permissions(stage.dir.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    tree
}

fn collect(script: &str) -> Result<ChangeSet, CollectError> {
    collect_within(script, &CollectLimits::default())
}

fn collect_within(script: &str, limits: &CollectLimits) -> Result<ChangeSet, CollectError> {
    let stage = Stage::full();
    let tree = pristine(&stage);
    let before = fingerprint(&tree);
    let place = Place { workspace: Some(Workspace { pristine: tree.clone() }), ..Place::new(["bash", "-ec", script]) };
    let mut sandbox = stage.start(&place);
    assert!(matches!(sandbox.collect(limits, &|_| false), Err(CollectError::Alive)), "collected from a live sandbox");
    let ran = wait(&mut sandbox);
    assert!(ran.exit.success(), "{ran:?}");
    let collected = sandbox.collect(limits, &|path| path.starts_with(b"target"));
    sandbox.destroy().unwrap();
    assert_eq!(fingerprint(&tree), before, "the pristine tree was written to");
    collected
}

fn fingerprint(tree: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(tree).unwrap().flatten() {
        let metadata = entry.path().symlink_metadata().unwrap();
        if metadata.is_dir() {
            found.extend(fingerprint(&entry.path()));
        } else {
            let content = if metadata.is_symlink() { Vec::new() } else { fs::read(entry.path()).unwrap() };
            found.push((entry.path().display().to_string(), metadata.mode(), content));
        }
    }
    found.sort();
    found
}

fn by_path(changes: &ChangeSet) -> BTreeMap<String, Change> {
    changes.changes().iter().map(|change| (change.path().to_string(), change.clone())).collect()
}

#[test]
fn a_sandbox_that_changes_nothing_yields_nothing() {
    let changes = collect("touch README; cp src/a.rs /tmp/a; cp /tmp/a src/a.rs; mkdir empty").unwrap();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn writes_removals_modes_and_links_come_out() {
    let script = "echo changed > README; rm src/a.rs; chmod +x src/b.rs; mkdir -p new/deep; echo n > new/deep/file; \
                  ln -s ../README new/link; mv src/deep/c.rs src/deep/d.rs; ls -ln run.sh; test -w run.sh; test -O src";
    let changes = by_path(&collect(script).unwrap());
    let write = |path: &str| match &changes[path] {
        Change::Write { mode, content, .. } => (*mode, String::from_utf8(content.clone()).unwrap()),
        Change::Remove { .. } => panic!("{path} was removed"),
    };
    assert_eq!(write("README"), (FileMode::Regular, "changed\n".into()));
    assert_eq!(write("src/b.rs"), (FileMode::Executable, "b\n".into()));
    assert_eq!(write("new/deep/file"), (FileMode::Regular, "n\n".into()));
    assert_eq!(write("new/link"), (FileMode::Symlink, "../README".into()));
    assert_eq!(write("src/deep/d.rs").1, "c\n");
    assert!(matches!(changes["src/a.rs"], Change::Remove { .. }));
    assert!(matches!(changes["src/deep/c.rs"], Change::Remove { .. }));
    assert_eq!(changes.len(), 7, "{changes:?}");
}

#[test]
fn a_directory_made_anew_hides_what_was_in_it() {
    let changes = by_path(&collect("rm -r src; mkdir src; echo z > src/z.rs").unwrap());
    assert!(matches!(changes["src"], Change::Remove { .. }), "{changes:?}");
    assert!(matches!(changes["src/z.rs"], Change::Write { .. }));
    assert_eq!(changes.len(), 2);
    let changes = by_path(&collect("rm -r src; echo file > src").unwrap());
    assert!(matches!(changes["src"], Change::Write { .. }), "{changes:?}");
    assert!(
        matches!(changes["src/a.rs"], Change::Remove { .. }) && matches!(changes["src/deep"], Change::Remove { .. })
    );
    let changes = by_path(&collect("rm README; mkdir README; echo x > README/x").unwrap());
    assert!(matches!(changes["README"], Change::Remove { .. }) && matches!(changes["README/x"], Change::Write { .. }));
}

#[test]
fn build_output_and_the_agent_s_own_repository_are_left_out() {
    let changes = collect("mkdir -p target/debug .git; echo x > target/debug/x; echo '[core]' > .git/config").unwrap();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn s_29_links_that_lead_out_are_neither_followed_nor_proposed() {
    for script in [
        "ln -s /etc/shadow x",
        "ln -s ../../etc/shadow x",
        "ln -s / d",
        "mkdir a; ln -s ../../x a/y",
        // Each stays inside by its text; together they would not.
        "mkdir -p a/b/c; ln -s ../.. a/b/c/up; ln -s a/b/c/up/../.. out",
        "rm -r src; ln -s /root src",
    ] {
        let error = collect(script).unwrap_err();
        assert!(matches!(error, CollectError::Leaves { .. }), "{script}: {error}");
    }
    assert!(collect("mkdir -p a/b; ln -s ../../README a/b/ok; ln -s .. a/up").is_ok());
}

#[test]
fn s_29_what_is_no_file_is_refused_and_blocks_nobody() {
    for script in [
        "mkfifo pipe",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")' || perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local=>\"s\",Listen=>1)'",
    ] {
        let error = collect(script).unwrap_err();
        assert!(matches!(error, CollectError::Special { .. }), "{script}: {error}");
    }
}

#[test]
fn s_29_names_that_git_or_a_terminal_would_misread_are_refused() {
    for script in [
        "touch $'a\\nb'",
        "touch $'a\\xffb'",
        "mkdir -p sub/.git; touch sub/.git/config",
        "mkdir .GIT; touch .GIT/config",
        "touch 'git~1'",
        "mkdir -p a/.git; touch a/.git/HEAD",
        "touch sub.git .g; ln -s x src/.git",
    ] {
        let error = collect(script).unwrap_err();
        assert!(matches!(error, CollectError::Path(_)), "{script}: {error}");
    }
}

#[test]
fn s_29_bombs_are_refused_before_they_go_off() {
    let small = CollectLimits { files: 100, bytes: 1 << 20, file_bytes: 512 << 10, depth: 8, path_bytes: 4 << 10 };
    for (script, what) in [
        ("truncate -s 1G sparse", "the size of a file"),
        ("for i in $(seq 200); do touch f$i; done", "the number of files"),
        ("mkdir -p a/b/c/d/e/f/g/h/i/j", "depth"),
        // Empty files with long names: every path is repeated in orders, approvals and the log.
        ("for i in $(seq 50); do touch $(printf %0200d $i); done", "all paths"),
        // One inode under many names costs its writer nothing and us a copy for each.
        ("head -c 400000 /dev/zero > f; for i in 1 2 3; do ln f g$i; done", "all content"),
    ] {
        let error = collect_within(script, &small).unwrap_err();
        assert!(matches!(error, CollectError::TooMuch { what: seen, .. } if seen == what), "{script}: {error}");
    }
}

#[test]
fn s_29_the_overlay_s_own_marks_cannot_be_forged() {
    // As attribute or as device, in a directory that has files below it; each is refused or means nothing.
    let script = "python3 -c 'import os; os.setxattr(\"src\", \"user.overlay.opaque\", b\"y\")' || true; \
                  python3 -c 'import os; os.setxattr(\"README\", \"user.overlay.whiteout\", b\"\")' || true; \
                  python3 -c 'import os; os.mknod(\"src/a.rs\" + \"x\", 0o20600, 0)' || true; ls src/a.rs README > /dev/null";
    let changes = collect(script).unwrap();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn s_29_a_hard_link_to_a_host_file_cannot_be_made() {
    let stage = Stage::full();
    let ran = stage.shell("ln /usr/bin/true /tmp/x; ln /etc/passwd /tmp/y; ls -A /tmp");
    assert_eq!(ran.output.trim(), "", "{ran:?}");
}

#[test]
fn s_30_a_made_file_cannot_be_replaced_or_written() {
    let stage = Stage::full();
    let file = File { target: "/home/agent/.cargo/config.toml".into(), content: b"[net]\n".to_vec(), mode: 0o644 };
    let script = "cd ~/.cargo; echo x > config.toml; rm -f config.toml; mv config.toml y; chmod 777 config.toml; cat ~/.cargo/config.toml; umount config.toml";
    let ran = stage.run(&Place { files: vec![file], ..Place::new(["sh", "-c", script]) });
    assert_eq!(ran.output, "[net]\n", "{ran:?}");
}

#[test]
fn a_made_file_covers_one_of_a_system_directory() {
    let stage = Stage::full();
    let target = "/etc/ssl/certs/ca-certificates.crt";
    let file = File { target: target.into(), content: b"ours\n".to_vec(), mode: 0o444 };
    let ran = stage.run(&Place { files: vec![file], ..Place::new(["cat", target]) });
    assert_eq!(ran.output, "ours\n", "{ran:?}");
}

#[test]
fn binds_are_read_only_private_or_writable_as_asked() {
    let stage = Stage::full();
    let host = stage.dir.path().join("closed/host");
    fs::create_dir_all(&host).unwrap();
    fs::set_permissions(stage.dir.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(host.join("file"), "host\n").unwrap();
    let place = |access| Place {
        binds: vec![Bind { source: host.clone(), target: "/opt/bound".into(), access }],
        ..Place::new([
            "sh",
            "-c",
            "cat /opt/bound/file; echo inside > /opt/bound/file; echo new > /opt/bound/new; cat /opt/bound/file",
        ])
    };
    let read = || fs::read_to_string(host.join("file")).unwrap();
    assert_eq!(stage.run(&place(Access::ReadOnly)).output, "host\nhost\n");
    assert_eq!(stage.run(&place(Access::PrivateCopy)).output, "host\ninside\n");
    assert_eq!((read().as_str(), host.join("new").exists()), ("host\n", false));
    assert_eq!(stage.run(&place(Access::ReadWrite)).output, "host\ninside\n");
    assert_eq!(read(), "inside\n");
    assert_eq!(
        fs::metadata(host.join("new")).unwrap().uid(),
        0,
        "what a sandbox writes for the keeper is the keeper's"
    );
}

#[test]
fn a_mount_point_in_the_workspace_follows_no_link() {
    let stage = Stage::full();
    let tree = pristine(&stage);
    symlink("/etc", tree.join("cache")).unwrap();
    let place = Place {
        workspace: Some(Workspace { pristine: tree }),
        binds: vec![Bind {
            source: stage.dir.path().into(),
            target: "/workspace/cache/x".into(),
            access: Access::ReadOnly,
        }],
        ..Place::new(["true"])
    };
    let refused = stage.driver.start("t-link", &place).unwrap_err();
    assert!(refused.reason.contains("Too many levels of symbolic links"), "{refused}");
}
