//! `init`: what it proposes for which repository, how it explains that, and how a second repository is added.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Said, Scene};

#[test]
fn init_in_another_repository_adds_it_and_keeps_what_the_operator_wrote() {
    let scene = Scene::ready();
    let before = std::fs::read_to_string(scene.config()).unwrap().trim_end().to_owned() + "\n# a word of my own";
    std::fs::write(scene.config(), &before).unwrap();
    let other = another(&scene, "other", &[("notes", "noted\n")]);
    init_in(&scene, &other, &[]).refused(100, &["nobody is there to agree", "--yes"]);
    assert_eq!(std::fs::read_to_string(scene.config()).unwrap(), before);

    let said = init_in(&scene, &other, &["--yes"]).ok();
    assert!(said.out.contains("[repo.other]") && said.out.contains("selvedge.toml"), "{said:?}");
    let after = std::fs::read_to_string(scene.config()).unwrap();
    let added = after.strip_prefix(&before).unwrap();
    let tables: Vec<&str> = added.lines().filter(|line| line.starts_with('[')).collect();
    assert!(tables.iter().all(|table| table.starts_with("[repo.other")), "only what is missing: {tables:?}");
    let run = ["run", "--command", "--wait", "--repo", "other", "--", "cat", "notes"];
    assert_eq!(scene.run(&run).ok().out, "noted\n");
    assert!(!git_in(&other, &["ls-remote", "selvedge", "refs/heads/trunk"]).is_empty(), "its remote is the bare clone");
    init_in(&scene, &other, &["--yes"]).refused(101, &["is set up already", "as `other`"]);
}

#[test]
fn a_repository_added_under_a_taken_name_or_beside_a_keeper_is_refused_and_nothing_is_written() {
    let scene = Scene::ready();
    let before = std::fs::read(scene.config()).unwrap();
    let other = another(&scene, "other", &[("notes", "noted\n")]);
    init_in(&scene, &other, &["--yes", "--name", "repo"]).refused(101, &["is the name of", "--name"]);
    let keeper = scene.serve();
    init_in(&scene, &other, &["--yes"]).refused(104, &["another process keeps", "selvedge serve"]);
    drop(keeper);
    assert_eq!(std::fs::read(scene.config()).unwrap(), before);
    assert_eq!(git_in(&other, &["remote"]), "");
}

#[test]
fn a_cargo_repository_brings_the_worker_and_the_registry_that_are_missing() {
    let scene = Scene::ready();
    let other = another(&scene, "other", &[("Cargo.toml", "[package]\nname = \"other\"\nversion = \"1.0.0\"\n")]);
    init_in(&scene, &other, &["--yes"]).ok();
    let after = std::fs::read_to_string(scene.config()).unwrap();
    assert!(after.contains("[agent.remediate]") && after.contains("[registry.cargo]"), "{after}");
    scene.run(&["can", "remediate"]).ok();
    let third = another(&scene, "third", &[("Cargo.toml", "[package]\nname = \"third\"\nversion = \"1.0.0\"\n")]);
    init_in(&scene, &third, &["--yes"]).ok();
    scene.run(&["can", "remediate"]).ok();
}

#[test]
fn init_explains_every_part_and_proposes_nothing_that_could_only_fail() {
    let scene = Scene::new();
    let said = scene.run(&["init", "--yes"]).ok();
    let path = scene.config().to_str().unwrap().to_owned();
    for words in [
        &path,
        "`[repo.repo]`: ",
        "`checks`: empty",
        "no `[agent]` is proposed: ",
        "selvedge run --command --repo repo",
    ] {
        assert!(said.out.contains(words), "`{words}` is not in {said:?}");
    }
    let text = std::fs::read_to_string(scene.config()).unwrap();
    assert!(!text.contains("[agent") && !text.contains("when"), "{text}");

    let scene = Scene::new();
    scene.commit("Cargo.toml", "[package]\nname = \"repo\"\nversion = \"1.0.0\"\n");
    let said = scene.run(&["init", "--yes"]).ok();
    for words in [
        "`checks`: `cargo test",
        "`setup`: ",
        "`[agent.remediate]`: ",
        "`[registry.cargo]`: ",
        "no `[[when]]` is proposed: ",
    ] {
        assert!(said.out.contains(words), "`{words}` is not in {said:?}");
    }
    let text = std::fs::read_to_string(scene.config()).unwrap();
    assert!(text.contains("[agent.remediate]") && !text.contains("when"), "a scheduled scan has no advisories: {text}");
    let when = "[[when]]\nevery = \"24h\"\nrun = \"remediate\"\nrepo = \"repo\"\n";
    std::fs::write(scene.config(), format!("{text}\n{when}")).unwrap();
    scene.run(&["ps"]).ok();
}

#[test]
fn a_remote_that_points_elsewhere_is_left_and_told() {
    let scene = Scene::new();
    scene.git(&["remote", "add", "selvedge", "/elsewhere.git"]);
    let said = scene.run(&["init", "--yes"]).ok();
    let remedy = format!("git remote set-url selvedge {}", scene.state().join("repos/repo.git").display());
    assert!(said.out.contains("points at `/elsewhere.git`") && said.out.contains(&remedy), "{said:?}");
    assert_eq!(scene.git(&["remote", "get-url", "selvedge"]), "/elsewhere.git");
}

/// A repository of the same user beside the scene's own.
fn another(scene: &Scene, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = scene.path(name);
    std::fs::create_dir(&dir).unwrap();
    for (path, text) in files {
        std::fs::write(dir.join(path), text).unwrap();
    }
    git_in(&dir, &["init", "--quiet", "--initial-branch=trunk"]);
    git_in(&dir, &["add", "."]);
    git_in(&dir, &["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message=first"]);
    dir
}

fn git_in(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn init_in(scene: &Scene, dir: &Path, more: &[&str]) -> Said {
    Said::of(&scene.command(&[&["init"], more].concat()).current_dir(dir).output().unwrap())
}
