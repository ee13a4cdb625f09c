//! The remediation worker with the real cargo and a registry on loopback.

use crate::support::{Bench, NOW, Registry};
use selvedge_domain::Time;
use selvedge_workers::PackageName;
use selvedge_workers::remediate::{Outcome, Report, Status, run};

const OLD: &str = "2020-01-01T00:00:00Z";
/// One day before the moment of the tests.
const YESTERDAY: &str = "2026-11-19T00:00:00Z";

fn locks(lock: &str, package: &str, version: &str) -> bool {
    lock.contains(&format!("name = \"{package}\"\nversion = \"{version}\"\n"))
}

fn held_reason(report: &Report) -> &str {
    assert_eq!((report.status, report.outcome), (Status::Vulnerable, Outcome::Held), "{report:#?}");
    report.reason.as_deref().unwrap()
}

/// A direct dependency with a vulnerable release, a fix, and something newer.
fn simple() -> (Registry, Bench) {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "1.0.1", &[], OLD).release("leaf", "1.1.0", &[], OLD);
    let bench = Bench::new(&registry, &[("leaf", "\"1\"")], &[("leaf", "1.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"");
    (registry, bench)
}

#[test]
fn a_published_package_is_moved_to_the_smallest_fixed_release_and_its_tests_pass() {
    let registry = Registry::demo();
    let bench = Bench::demo(&registry);
    let before = bench.files();
    let mut arguments = bench.arguments();
    arguments.database_age_days_max = 365;
    let report = run(&arguments);
    let bump = &report.bumps[0];
    assert_eq!(
        (report.status, report.outcome, report.bumps.len()),
        (Status::Vulnerable, Outcome::Bumped, 1),
        "{report:#?}"
    );
    // 0.3.46 is newer and vulnerable, 0.3.48 was taken back, 0.3.49 is further than needed.
    assert_eq!((bump.package.as_str(), bump.from.as_str(), bump.to.as_str()), ("time", "0.3.17", "0.3.47"));
    assert_eq!(
        (bump.advisories_fixed.as_slice(), bump.release_age_days),
        (&["RUSTSEC-2026-0009".to_owned()][..], Some(287))
    );
    assert!(bump.also_changed.iter().any(|moved| moved.package == "deranged" && moved.release_age_days.is_some()));
    assert_eq!((report.remaining, report.held), (vec![], vec![]));
    let changed: Vec<_> =
        bench.files().into_iter().filter(|(path, content)| before.get(path) != Some(content)).collect();
    assert_eq!(changed.len(), 1, "only the lock file changes");
    assert_eq!(run(&arguments).status, Status::Clean, "a second look finds nothing");
    let tests = bench.cargo(&["test", "--locked", "--features", "std,time,bit-vec"]);
    let counted = selvedge_workers::checks::parse(tests.as_bytes()).unwrap();
    assert_eq!((counted.len(), counted.values().all(|passed| *passed)), (182, true));
}

#[test]
fn a112_a_fix_that_is_too_young_is_held() {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "1.0.1", &[], YESTERDAY).release(
        "leaf",
        "1.0.2",
        &[],
        "",
    );
    let bench = Bench::new(&registry, &[("leaf", "\"1\"")], &[("leaf", "1.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"");
    let before = bench.files();
    let report = run(&bench.arguments());
    assert!(
        held_reason(&report).contains("the fixed release 1.0.1 is 1 days old and the minimum release age is 3 days"),
        "{report:#?}"
    );
    assert_eq!((bench.files(), report.remaining[0].package.as_str()), (before, "leaf"));
    let mut unfenced = bench.arguments();
    unfenced.release_age_days_min = 0;
    assert_eq!(run(&unfenced).bumps[0].to, "1.0.1", "without the rule the day-old release is taken");
}

#[test]
fn what_was_taken_back_and_what_is_not_released_yet_is_no_fix() {
    let registry = Registry::start();
    for version in ["1.0.0", "1.0.1", "1.0.2-rc.1", "1.0.2"] {
        registry.release("leaf", version, &[], OLD);
    }
    let bench = Bench::new(&registry, &[("leaf", "\"1\"")], &[("leaf", "1.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"");
    let lock = bench.lock();
    assert_eq!(run(&bench.arguments()).bumps[0].to, "1.0.1", "while it is there it is the smallest");
    std::fs::write(bench.workspace.path().join("Cargo.lock"), lock).unwrap();
    registry.yank("leaf", "1.0.1");
    assert_eq!(run(&bench.arguments()).bumps[0].to, "1.0.2");
}

#[test]
fn a112_a_release_of_unknown_age_is_not_old_enough() {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "1.0.1", &[], "");
    let bench = Bench::new(&registry, &[("leaf", "\"1\"")], &[("leaf", "1.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"");
    assert!(held_reason(&run(&bench.arguments())).contains("the age of the fixed release 1.0.1 is unknown"));
}

/// A fix that needs a package which the old release did not need.
fn with_newcomer(newcomers: &[(&str, &str)]) -> (Registry, Bench) {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "1.0.1", &[("newcomer", "^2")], OLD);
    for (version, published) in newcomers {
        registry.release("newcomer", version, &[], published);
    }
    let bench = Bench::new(&registry, &[("leaf", "\"1\"")], &[("leaf", "1.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"");
    (registry, bench)
}

#[test]
fn a112_what_a_fix_brings_in_is_moved_back_to_a_release_that_is_old_enough() {
    let (_registry, bench) = with_newcomer(&[("2.0.0", OLD), ("2.0.1", OLD), ("2.0.2", YESTERDAY)]);
    let mut unfenced = bench.arguments();
    unfenced.release_age_days_min = 0;
    let lock = bench.lock();
    assert_eq!(
        run(&unfenced).bumps[0].also_changed[0].to.as_deref(),
        Some("2.0.2"),
        "cargo by itself takes the youngest"
    );
    std::fs::write(bench.workspace.path().join("Cargo.lock"), lock).unwrap();
    let report = run(&bench.arguments());
    assert_eq!(report.bumps[0].also_changed[0].to.as_deref(), Some("2.0.1"), "{report:#?}");
}

#[test]
fn a112_a_fix_that_can_only_bring_in_something_young_is_held() {
    let (_registry, bench) = with_newcomer(&[("1.0.0", OLD), ("2.0.2", YESTERDAY)]);
    let before = bench.files();
    let report = run(&bench.arguments());
    assert!(held_reason(&report).contains("would bring in `newcomer@2.0.2`, which is 1 days old"), "{report:#?}");
    assert_eq!(bench.files(), before);
}

#[test]
fn a_fix_that_brings_in_another_vulnerability_is_held() {
    let (_registry, bench) = with_newcomer(&[("2.0.2", OLD)]);
    bench.advisory("RUSTSEC-2026-9002", "newcomer", "\">= 3\"");
    assert!(
        held_reason(&run(&bench.arguments()))
            .contains("would bring in `newcomer@2.0.2`, which RUSTSEC-2026-9002 is about")
    );
}

#[test]
fn a_requirement_that_shuts_the_fix_out_is_named() {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "2.0.0", &[], OLD);
    registry.release("middle", "1.2.0", &[("leaf", "^1.0")], OLD);
    for (needs, because) in [
        (&[("leaf", "\"1\"")], "the first fixed release is 2.0.0, but `app@0.1.0` requires `^1`"),
        (&[("middle", "\"1\"")], "the first fixed release is 2.0.0, but `middle@1.2.0` requires `^1.0`"),
    ] {
        let bench = Bench::new(&registry, needs, &[]);
        bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 2.0.0\"");
        let report = run(&bench.arguments());
        assert!(held_reason(&report).contains(because), "{report:#?}");
    }
}

#[test]
fn a_package_that_keeps_another_from_its_fix_is_moved_by_the_same_rules() {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "2.0.0", &[], OLD);
    registry.release("middle", "1.2.0", &[("leaf", "^1.0")], OLD);
    registry.release("middle", "1.3.0", &[("leaf", "^1.0")], OLD).release("middle", "1.4.0", &[("leaf", "^2.0")], OLD);
    registry.release("middle", "1.5.0", &[], OLD);
    let bench = Bench::new(&registry, &[("middle", "\"1\"")], &[("middle", "1.2.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 2.0.0\"");
    let lock = bench.lock();
    let report = run(&bench.arguments());
    let bump = &report.bumps[0];
    assert_eq!((bump.package.as_str(), bump.to.as_str()), ("middle", "1.4.0"), "{report:#?}");
    assert_eq!(bump.advisories_fixed, ["RUSTSEC-2026-9001"]);
    assert_eq!(
        (bump.also_changed[0].from.as_deref(), bump.also_changed[0].to.as_deref()),
        (Some("1.0.0"), Some("2.0.0"))
    );
    assert_eq!(report.remaining, []);

    // The same release of the middle one, known to be vulnerable itself: then the next.
    std::fs::write(bench.workspace.path().join("Cargo.lock"), &lock).unwrap();
    bench.advisory("RUSTSEC-2026-9002", "middle", "\"< 1.4.0\", \"> 1.4.0\"");
    assert_eq!(run(&bench.arguments()).bumps[0].to, "1.5.0");

    // A112: and when all that would do are too young, nothing.
    std::fs::write(bench.workspace.path().join("Cargo.lock"), &lock).unwrap();
    let mut strict = bench.arguments();
    strict.release_age_days_min = 100_000;
    assert!(held_reason(&run(&strict)).contains("but `middle@1.2.0` requires `^1.0`"));
    assert_eq!(bench.lock(), lock);
}

#[test]
fn a_package_without_a_fix_does_not_hide_one_that_has() {
    let (registry, bench) = simple();
    registry.release("abandoned", "1.0.0", &[], OLD);
    let bench_two = Bench::new(&registry, &[("abandoned", "\"1\""), ("leaf", "\"1\"")], &[("leaf", "1.0.0")]);
    bench_two.advisory("RUSTSEC-2025-0001", "abandoned", "").advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"");
    let report = run(&bench_two.arguments());
    assert_eq!((report.outcome, report.bumps[0].package.as_str()), (Outcome::Bumped, "leaf"));
    assert!(report.held[0].reason.contains("no newer release is free of known vulnerabilities"));
    assert_eq!(report.remaining.iter().map(|f| f.package.as_str()).collect::<Vec<_>>(), ["abandoned"]);
    drop(bench);
}

#[test]
fn every_vulnerable_version_of_a_package_is_moved() {
    let registry = Registry::start();
    for version in ["1.0.0", "1.0.1", "2.0.0", "2.0.1"] {
        registry.release("leaf", version, &[], OLD);
    }
    let needs = [("leaf", "\"1\""), ("leaf2", "{ package = \"leaf\", version = \"2\" }")];
    let bench = Bench::new(&registry, &needs, &[("leaf@1.0.1", "1.0.0"), ("leaf@2.0.1", "2.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\"^1.0.1\", \">= 2.0.1\"");
    let report = run(&bench.arguments());
    let moved: Vec<_> = report.bumps.iter().map(|bump| (bump.from.as_str(), bump.to.as_str())).collect();
    assert_eq!(moved, [("1.0.0", "1.0.1"), ("2.0.0", "2.0.1")], "{report:#?}");
    assert_eq!(report.remaining, []);
}

#[test]
fn only_the_named_package_is_moved() {
    let registry = Registry::start();
    registry.release("leaf", "1.0.0", &[], OLD).release("leaf", "1.0.1", &[], OLD);
    registry.release("twig", "1.0.0", &[], OLD).release("twig", "1.0.1", &[], OLD);
    let bench = Bench::new(&registry, &[("leaf", "\"1\""), ("twig", "\"1\"")], &[("leaf", "1.0.0"), ("twig", "1.0.0")]);
    bench.advisory("RUSTSEC-2026-9001", "leaf", "\">= 1.0.1\"").advisory("RUSTSEC-2026-9002", "twig", "\">= 1.0.1\"");
    let mut arguments = bench.arguments();
    arguments.only = Some(PackageName::parse("twig").unwrap());
    let report = run(&arguments);
    assert_eq!((report.bumps[0].package.as_str(), report.remaining[0].package.as_str()), ("twig", "leaf"));
    assert!(locks(&bench.lock(), "leaf", "1.0.0") && locks(&bench.lock(), "twig", "1.0.1"));
    let report = run(&arguments);
    assert!(held_reason(&report).contains("`twig` has no known vulnerability here; other packages have"));
}

#[test]
fn a105_a_repository_cannot_bring_its_own_registry() {
    let (_registry, bench) = simple();
    let planted = Registry::start();
    planted.release("leaf", "1.0.0", &[], OLD).release("leaf", "1.0.9", &[], OLD);
    planted.configure_repository(bench.workspace.path());
    let lock = bench.lock();
    bench.cargo(&["update", "--package", "leaf"]);
    assert!(locks(&bench.lock(), "leaf", "1.0.9"), "without the fence the planted release is taken");
    std::fs::write(bench.workspace.path().join("Cargo.lock"), lock).unwrap();
    assert_eq!(run(&bench.arguments()).bumps[0].to, "1.0.1");
}

#[test]
fn a_registry_that_cannot_be_reached_is_told_and_nothing_changes() {
    let (registry, bench) = simple();
    let before = bench.files();
    drop(registry);
    assert!(held_reason(&run(&bench.arguments())).contains("cargo refused: error:"));
    assert_eq!(bench.files(), before);
}

#[test]
fn clean_is_said_only_of_what_was_judged() {
    let (_registry, bench) = simple();
    bench.cargo(&["update", "--package", "leaf", "--precise", "1.1.0"]);
    let mut arguments = bench.arguments();
    let report = run(&arguments);
    assert_eq!((report.status, report.outcome, report.reason), (Status::Clean, Outcome::NothingToDo, None));

    arguments.now = Time::from_millis(NOW + 60 * 86_400_000);
    let report = run(&arguments);
    assert_eq!((report.status, report.outcome), (Status::Unknown, Outcome::Held), "the database is too old");
    assert!(report.reason.unwrap().contains("too old a database") && report.database.unwrap().too_old);

    arguments.now = Time::from_millis(NOW);
    let git = bench.lock()
        + "\n[[package]]\nname = \"other\"\nversion = \"1.0.0\"\nsource = \"git+https://forge.example/other#1\"\n";
    std::fs::write(bench.workspace.path().join("Cargo.lock"), git).unwrap();
    let report = run(&arguments);
    assert_eq!(report.status, Status::Unknown, "a package from git cannot be judged");
    assert_eq!((report.not_judged.len(), report.reason.unwrap().contains("`other@1.0.0`")), (1, true));
}

#[test]
fn without_a_database_or_a_lock_file_nothing_is_known() {
    let (_registry, bench) = simple();
    let arguments = bench.arguments();
    let damaged = bench.advisories.path().join("crates/leaf/RUSTSEC-2026-9003.md");
    std::fs::write(&damaged, "not an advisory").unwrap();
    let report = run(&arguments);
    assert_eq!((report.status, report.outcome, report.database), (Status::Unknown, Outcome::Held, None));
    assert!(report.reason.unwrap().contains("RUSTSEC-2026-9003.md` is not an advisory"));
    std::fs::remove_file(&damaged).unwrap();

    std::fs::write(bench.workspace.path().join("Cargo.lock"), "version = 9").unwrap();
    assert!(run(&arguments).reason.unwrap().contains("the lock file has version 9"));
    std::fs::remove_file(bench.workspace.path().join("Cargo.lock")).unwrap();
    assert!(run(&arguments).reason.unwrap().contains("cannot use the lock file"));
}
