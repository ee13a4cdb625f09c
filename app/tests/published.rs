//! Published programs with the lock files they shipped, remediated for real: the operator's own registry through the door, their
//! own tests in clean rooms, and a second scan of what is proposed. Minutes each, and nothing without a registry, so it is
//! run by hand and nightly:
//!
//! ```console
//! $ SELVEDGE_ADVISORIES=~/advisory-db cargo nextest run -p selvedge --test published --run-ignored only --no-capture
//! ```

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Said, Scene, text};
use serde_json::Value;

#[test]
#[ignore = "compiles a published program four times, from a registry"]
fn hexyl_0_9_0_gets_a_regex_that_cannot_be_made_to_hang() {
    proposed("hexyl", "0.9.0", &["RUSTSEC-2022-0013"]);
}

#[test]
#[ignore = "compiles a published program four times, from a registry"]
fn titlecase_1_1_0_gets_a_regex_that_cannot_be_made_to_hang() {
    proposed("titlecase", "1.1.0", &["RUSTSEC-2022-0013"]);
}

#[test]
#[ignore = "compiles a published program four times, from a registry"]
fn choose_1_3_3_is_rid_of_a_race_in_thread_local_too() {
    proposed("choose", "1.3.3", &["RUSTSEC-2022-0013"]);
}

#[test]
#[ignore = "asks a registry"]
fn checkexec_0_2_0_needs_a_fix_that_is_not_compatible_and_is_held_for_it() {
    let runs = Published::new("checkexec", "0.2.0").scan();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["outcome"], "held", "{runs:?}");
    let because = text(&runs[0], "because");
    for word in ["remove_dir_all 0.5.3", "RUSTSEC-2023-0018", "0.8.0", "tempdir", "^0.5"] {
        assert!(because.contains(word), "{because}");
    }
}

#[test]
#[ignore = "asks a registry"]
fn csview_1_1_0_is_clean() {
    let runs = Published::new("csview", "1.1.0").scan();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["outcome"], "nothing_to_do", "{runs:?}");
}

#[test]
#[ignore = "compiles a published program twice, from a registry"]
fn a_fix_that_breaks_the_tests_is_not_proposed() {
    let published = Published::new("hexyl", "0.9.0");
    // Somebody relied on exactly what was locked.
    published.scene.commit(
        "tests/pinned.rs",
        "#[test]\nfn the_lock_file_is_as_it_was() {\n    assert!(include_str!(\"../Cargo.lock\").contains(\"name = \\\"regex\\\"\\nversion = \\\"1.5.4\\\"\"));\n}\n",
    );
    let runs = published.scan();
    assert_eq!(runs[0]["outcome"], "held", "{runs:?}");
    assert!(text(&runs[0], "because").contains("a check fails on the change"), "{runs:?}");
    assert_eq!(published.scene.json(&["proposals"])["proposals"], Value::Array(Vec::new()));
}

/// Every one of these advisories is gone from what the last proposal offers, and its tests pass there.
fn proposed(name: &str, version: &str, advisories: &[&str]) {
    let published = Published::new(name, version);
    let runs = published.scan();
    assert!(runs.iter().all(|run| run["outcome"] == "proposed"), "{runs:?}");
    let proposals = published.scene.json(&["proposals"])["proposals"].as_array().unwrap().clone();
    assert_eq!(proposals.len(), runs.len());
    for advisory in advisories {
        assert!(
            proposals.iter().any(|proposal| text(proposal, "body").contains(advisory)),
            "{advisory}: {proposals:?}"
        );
    }
    // Merged one after the other, what is then on the branch is scanned anew and found clean.
    for proposal in &proposals {
        published.scene.run(&["merge", &proposal["number"].to_string()]).ok();
    }
    published.scene.git(&["fetch", "--quiet", "selvedge"]);
    published.scene.git(&["merge", "--quiet", "--ff-only", "selvedge/main"]);
    let again = published.scan();
    assert_eq!(again[0]["outcome"], "nothing_to_do", "{again:?}");
    println!("{name} {version}: {} proposals, clean afterwards", runs.len());
}

/// A published program as somebody's repository, set up as `init` proposes.
struct Published {
    scene: Scene,
    advisories: PathBuf,
}

impl Published {
    fn new(name: &str, version: &str) -> Self {
        let advisories = std::env::var_os("SELVEDGE_ADVISORIES")
            .map(PathBuf::from)
            .unwrap_or_else(|| panic!("set SELVEDGE_ADVISORIES to a directory in RustSec or OSV form"));
        let scene = Scene::new();
        scene.git(&["rm", "-r", "--quiet", "."]);
        unpack(name, version, &scene.repo());
        scene.git(&["add", "--all", "--force"]);
        scene.git(&["commit", "--quiet", "--message", &format!("{name} {version}")]);
        // `init` asks the operator's own tools, so it sees the operator's own home.
        let mut init = scene.command(&["init", "--yes"]);
        init.env("HOME", std::env::var_os("HOME").unwrap());
        Said::of(&init.output().unwrap()).ok();
        Self { scene, advisories }
    }

    /// Scans and remediates, and everything that follows from it.
    fn scan(&self) -> Vec<Value> {
        let advisories = self.advisories.to_string_lossy();
        let said = self.scene.run(&["scan", "--advisories", &advisories, "--wait", "--json"]);
        said.document()["runs"].as_array().unwrap_or_else(|| panic!("{said:?}")).clone()
    }
}

/// Takes the archive from where the operator's cargo keeps it, having asked cargo about the release.
fn unpack(name: &str, version: &str, target: &Path) {
    let release = format!("{name}@{version}");
    let asked = Command::new("cargo").args(["info", "--quiet", &release]).current_dir("/").output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"));
    let caches = std::fs::read_dir(home.join("registry/cache")).unwrap().flatten();
    let archive = caches.map(|cache| cache.path().join(format!("{name}-{version}.crate"))).find(|path| path.exists());
    let archive = archive.unwrap_or_else(|| panic!("cargo kept no archive of {release}"));
    let mut tar = Command::new("tar");
    assert!(tar.args(["--strip-components=1", "-xzf"]).arg(archive).arg("-C").arg(target).status().unwrap().success());
}
