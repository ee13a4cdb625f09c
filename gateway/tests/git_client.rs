//! What a real git puts on the wire for every way to write a push (attack A-60), judged as the door judges it. Git is
//! talking to a repository that takes anything, so each form is first seen to work.

#![expect(clippy::unwrap_used, reason = "a test may be blunt")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use selvedge_gateway::git::push::{Head, Own, RefusedPush};

const OWN: &str = "refs/heads/selvedge/r1";

/// A clone whose pushes are written down on their way to a repository without rules.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.git(world.path(), &["init", "-q", "--bare", "-b", "main", "open.git"]);
        world.git(world.path(), &["-C", "open.git", "config", "receive.advertisePushOptions", "true"]);
        let tee = world.path().join("tee");
        let script = format!("#!/bin/sh\ntee '{}' | git-receive-pack \"$1\"\n", world.path().join("wire").display());
        std::fs::write(&tee, script).unwrap();
        std::fs::set_permissions(&tee, std::fs::Permissions::from_mode(0o755)).unwrap();
        world.git(world.path(), &["clone", "-q", "open.git", "clone"]);
        let clone = world.path().join("clone");
        world.git(&clone, &["checkout", "-q", "-b", "main"]);
        world.commit();
        world.git(&clone, &["push", "-q", "origin", "main"]);
        world.git(&clone, &["config", "remote.origin.receivepack", tee.to_str().unwrap()]);
        world.git(&clone, &["checkout", "-q", "-b", "selvedge/r1"]);
        world
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn commit(&self) {
        self.git(&self.path().join("clone"), &["commit", "-q", "--allow-empty", "-m", "x"]);
    }

    fn git(&self, at: &Path, args: &[&str]) {
        let mut git = Command::new("git");
        git.args(args).current_dir(at).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example");
        }
        let output = git.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Pushes in this form and judges what git wrote; git itself succeeds.
    fn judged(&self, args: &[&str]) -> Result<(), RefusedPush> {
        self.git(&self.path().join("clone"), args);
        let wire = std::fs::read(self.path().join("wire")).unwrap();
        let head = Head::take(&mut wire.as_slice()).unwrap().unwrap();
        let at = head.commands.iter().find(|command| command.reference == OWN).and_then(|command| command.old.clone());
        head.judge(&Own { reference: OWN.to_owned(), at }).map(drop)
    }
}

#[test]
fn a_60_a_65_however_a_push_is_written_only_one_s_own_branch_passes() {
    let world = World::new();
    let clone = world.path().join("clone");
    for own in [
        &["push", "origin", "HEAD"][..],
        &["push", "origin", "@"],
        &["push", "origin", "HEAD:refs/heads/selvedge/r1"],
        &["push", "origin", "refs/heads/selvedge/*:refs/heads/selvedge/*"],
        &["-c", "alias.x=push origin selvedge/r1", "x"],
    ] {
        world.commit();
        assert_eq!(world.judged(own), Ok(()), "{own:?}");
    }
    for (form, why) in [
        (&["push", "origin", "HEAD:refs/heads/main"][..], RefusedPush::NotOwn),
        (&["push", "origin", "+HEAD:main"], RefusedPush::NotOwn),
        (&["push", "origin", "HEAD:refs/pull/1/head"], RefusedPush::NotOwn),
        (&["push", "--atomic", "origin", "HEAD", "HEAD:main"], RefusedPush::NotOwn),
        (&["-c", "alias.x=push origin HEAD:main", "x"], RefusedPush::NotOwn),
        (&["-c", "remote.origin.push=HEAD:main", "push", "origin"], RefusedPush::NotOwn),
        (&["push", "-o", "ci.skip", "origin", "HEAD"], RefusedPush::Options),
    ] {
        world.commit();
        assert_eq!(world.judged(form), Err(why), "{form:?}");
    }
    // These push every branch, so that main is among them once it has moved as well.
    for form in [
        &["push", "origin", "refs/heads/*:refs/heads/*"][..],
        &["push", "origin", "refs/heads/ma*:refs/heads/ma*"],
        &["push", "origin", ":"],
        &["push", "--all", "origin"],
        &["push", "--al", "origin"],
        &["push", "--mirror", "origin"],
        &["push", "--force", "origin", "main"],
    ] {
        world.commit();
        world.git(&clone, &["branch", "-f", "main", "HEAD"]);
        assert_eq!(world.judged(form), Err(RefusedPush::NotOwn), "{form:?}");
    }
    world.git(&clone, &["tag", "v1"]);
    assert_eq!(world.judged(&["push", "--tags", "origin"]), Err(RefusedPush::NotOwn));
    assert_eq!(world.judged(&["push", "origin", "--delete", "v1"]), Err(RefusedPush::NotOwn));
    assert_eq!(world.judged(&["push", "origin", "--delete", "selvedge/r1"]), Err(RefusedPush::Deletes));
}
