//! The house stands: who may depend on whom, which crates may hold unsafe code, and that every invariant names a test
//! that exists.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may be blunt")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Crates of the house that each crate depends on, outside its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    let rooms = members.iter().map(|member| member.as_str().unwrap().to_owned());
    rooms
        .map(|room| {
            let text = std::fs::read_to_string(root().join(&room).join("Cargo.toml")).unwrap();
            let table: toml::Table = text.parse().unwrap();
            let named = table.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
            let ours = named.keys().filter_map(|name| name.strip_prefix("selvedge-")).map(str::to_owned).collect();
            (room, ours)
        })
        .collect()
}

/// What each room may look into. Nothing is listed twice: a room that needs more has to be argued for here.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("authority", &["domain"]),
    ("policy", &["domain", "authority"]),
    ("ledger", &["domain", "authority"]),
    ("credentials", &["domain", "authority"]),
    ("jail", &[]),
    ("prober", &[]),
    ("sandbox", &["domain", "authority", "jail"]),
    ("gateway", &["domain", "authority", "scripted"]),
    ("forge", &["domain", "authority"]),
    ("workers", &["domain", "authority"]),
    ("factory", &["domain", "authority"]),
    ("simulator", &["domain", "authority", "factory", "ledger"]),
    ("scripted", &[]),
    (
        "app",
        &[
            "domain",
            "authority",
            "policy",
            "ledger",
            "credentials",
            "jail",
            "prober",
            "sandbox",
            "gateway",
            "forge",
            "workers",
            "factory",
            "scripted",
        ],
    ),
];

#[test]
fn every_room_depends_only_on_what_it_may() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_DEPEND_ON.iter().map(|(room, may)| (*room, may.iter().copied().collect())).collect();
    for (room, needs) in dependencies() {
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("`{room}` is not in the plan of the house"));
        for need in needs {
            assert!(may.contains(need.as_str()), "`{room}` must not know `{need}`");
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_launcher_and_the_prober_only() {
    for (room, _) in MAY_DEPEND_ON {
        let manifest = std::fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        let forbids = manifest.contains("[lints]\nworkspace = true") || manifest.contains("unsafe_code = \"forbid\"");
        assert_eq!(forbids, !["jail", "prober"].contains(room), "`{room}`");
    }
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let invariants = architecture.split("## Invariants").nth(1).unwrap();
    let invariants = invariants.split("\n## ").next().unwrap();
    let named: Vec<(&str, &str)> =
        invariants.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::")).collect();
    assert!(named.len() >= 11, "each of the eleven invariants names at least one test");
    for (file, test) in named {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("no file `{file}`"));
        assert!(text.contains(&format!("fn {test}(")), "`{file}` has no test `{test}`");
    }
}

/// A target that nobody replays, or a corpus that no target reads, would be there to be looked at only.
#[test]
fn every_fuzz_target_has_a_corpus_and_a_crate_that_replays_it() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap().parse().unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    let targets: BTreeSet<String> = targets.collect();
    let names = |dir: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(root().join(dir)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
    };
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    assert_eq!(names("fuzz/corpus"), targets);
    let mut replayed = BTreeSet::new();
    for (room, _) in MAY_DEPEND_ON {
        let manifest = std::fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("\"fuzzing\""), "`{room}` is built as for a fuzzer");
        let Ok(promises) = std::fs::read_to_string(root().join(room).join("src/fuzz.rs")) else { continue };
        let list = promises.split("pub const TARGETS").nth(1).unwrap().split("];").next().unwrap();
        for target in list.split('"').skip(1).step_by(2) {
            let text = std::fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{target}.rs"))).unwrap();
            assert!(text.contains(&format!("selvedge_{room}::fuzz::run(\"{target}\", bytes)")), "`{target}`");
            replayed.insert(target.to_owned());
        }
    }
    assert_eq!(replayed, targets);
}

/// Git in a repository that is not the factory's own runs what that repository configures. So it is started in few places, each
/// of which says why it may: everything else asks the forge (A-28, S-28).
#[test]
fn git_is_started_only_where_it_is_known_to_be_safe() {
    let known = [
        // Asks where a repository is and what it is called, with nothing that could run.
        "app/src/cli/init.rs",
        // In repositories that the demonstration makes.
        "app/src/demo/scratch.rs",
        // In the operator's own directory of advisories.
        "app/src/wiring.rs",
        "forge/src/git/host.rs",
    ];
    let mut starters = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && name != ".git" && name != "tests" && name != "benches" {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains("Command::new(\"git\")") || path.ends_with("forge/src/git/host.rs") {
                    starters.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
                }
            }
        }
    }
    starters.sort();
    assert_eq!(starters, known);
}
