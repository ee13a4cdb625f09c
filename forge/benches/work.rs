//! What the forge adds to a run over 1,000 files, beside plain git doing the same by itself. Reported, never a gate.
//! `cargo bench -p selvedge-forge`.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench is run by hand and may be blunt")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_domain::{Change, ChangeSet, FileMode, RepoName, RepoPath, Time};
use selvedge_forge::git::HostGit;
use selvedge_forge::local::{Author, Commit, Draft, LocalForge, Repository, Source, TreeLimits};
use selvedge_forge::secret::Scanner;

/// The size that our budgets are stated for.
const FILES: usize = 1_000;
const ROUNDS: usize = 20;

fn main() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let source = dir.path().join("source");
    plant(&source);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let git = Arc::new(HostGit::find(&path).expect("git 2.40 or later"));
    let forge = LocalForge::open(&dir.path().join("forge"), git).expect("a forge");
    let from = Source::parse(source.to_str().expect("UTF-8")).expect("a source");
    let (shop, _) = forge.import(&from, &RepoName::parse("acme/shop").expect("a name")).expect("an import");

    let base = shop.head(&shop.default_branch().expect("a branch")).expect("an answer").expect("a head");
    let made: Vec<Commit> = (0..ROUNDS).map(|round| commit(&shop, &base, round)).collect();
    report("commit 5 changed files", &measure(|round| drop(commit(&shop, &base, ROUNDS + round))));
    report("  floor: git add && git commit", &measure(|round| commit_plainly(&source, round)));
    report("diff", &measure_each(&made, |made| drop(shop.diff(&made.base_tree, &made.tree).expect("a diff"))));
    let scanner = Scanner::default();
    report(
        "search for credentials",
        &measure_each(&made, |made| {
            drop(shop.leaks(&made.base_tree, &made.tree, &scanner).expect("findings"));
        }),
    );
    let write = |made: &Commit| drop(shop.materialise(&made.tree, TreeLimits::default()).expect("a tree"));
    report("materialise, first time", &measure_each(&made, write));
    report("materialise, again", &measure_each(&made, write));
    report(
        "  floor: git archive | tar",
        &measure(|round| archive_plainly(&source, &dir.path().join(round.to_string()))),
    );
}

fn plant(source: &Path) {
    for file in 0..FILES {
        let path = source.join(format!("d{}/f{file}.rs", file % 40));
        std::fs::create_dir_all(path.parent().unwrap_or(source)).expect("a directory");
        std::fs::write(path, format!("fn f{file}() {{}}\n").repeat(100)).expect("a file");
    }
    shell(source, "git init -q -b main && git add -A && git commit -q -m base");
}

fn commit(shop: &Repository, base: &selvedge_domain::CommitId, round: usize) -> Commit {
    let changes = ChangeSet::new((0..5).map(|file| Change::Write {
        path: RepoPath::parse(format!("d{file}/f{file}.rs").as_bytes()).expect("a path"),
        mode: FileMode::Regular,
        content: format!("changed in {round}\n").into_bytes(),
    }));
    let author = Author::new("Selvedge", "factory@example.org").expect("an author");
    let when = Time::from_millis(1_795_000_000_000);
    shop.commit_tree(&Draft { base, changes: &changes, message: "fix", author: &author, when }).expect("a commit")
}

fn commit_plainly(source: &Path, round: usize) {
    for file in 0..5 {
        std::fs::write(source.join(format!("d{file}/f{file}.rs")), format!("changed in {round}\n")).expect("a file");
    }
    shell(source, "git add -A && git commit -q -m fix");
}

fn archive_plainly(source: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    shell(source, &format!("git archive HEAD | tar -x -C {}", to.display()));
}

fn shell(dir: &Path, line: &str) {
    let who = [
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@x"),
        ("GIT_COMMITTER_NAME", "A"),
        ("GIT_COMMITTER_EMAIL", "a@x"),
    ];
    let status = Command::new("sh").args(["-c", line]).current_dir(dir).envs(who).status().expect("a shell");
    assert!(status.success(), "{line}");
}

fn measure(mut act: impl FnMut(usize)) -> Vec<Duration> {
    let timed = |round| {
        let started = Instant::now();
        act(round);
        started.elapsed()
    };
    (0..ROUNDS).map(timed).collect()
}

fn measure_each(made: &[Commit], act: impl Fn(&Commit)) -> Vec<Duration> {
    let mut rounds = made.iter();
    measure(|_| rounds.next().into_iter().for_each(&act))
}

fn report(what: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    println!("{what:32} p50 {median:>10.2?}  max {worst:>10.2?}");
}
