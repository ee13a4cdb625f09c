//! The remediation worker for Cargo: a vulnerable dependency is moved to the smallest release that is known to be well.
//! Where a single package asks for the vulnerable release, that package is moved instead, by the same rules.
//!
//! A deterministic program without a model. It runs inside the sandbox, as the main executable called by another name,
//! changes nothing but `Cargo.lock`, and prints one JSON document ([`Report`]). Owns: the choice of package and release.
//! Never knows: runs, leases, proposals; and nothing it says is believed without a second look from outside.

mod arguments;
mod attempt;
mod cargo;
mod plan;
mod report;
mod scan;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

pub use arguments::{Arguments, ArgumentsError};
use attempt::Workshop;
pub use report::{Bump, DatabaseInfo, Finding, Held, Moved, Outcome, Report, ReportError, Status, Unjudged};

use crate::advisories::{Database, Snapshot};
use crate::lockfile::Lockfile;
use crate::moment;

/// The name under which the main executable is this program.
pub const PROGRAM: &str = "selvedge-remediate";

/// Exit status for arguments that cannot be understood, as of `EX_USAGE`.
const EXIT_USAGE: u8 = 64;

/// Vulnerable packages that are looked at until one can be moved.
const PACKAGES_MAX: usize = 20;

/// Runs the program: arguments without the program's name in, one JSON document on standard output.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Standard error is all there is to say it on; if that is closed nobody listens.
            let _ = writeln!(std::io::stderr(), "{PROGRAM}: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let written = serde_json::to_string(&run(&arguments)).map_err(std::io::Error::other);
    match written.and_then(|document| writeln!(std::io::stdout(), "{document}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Scans the workspace, moves what it can, scans again.
pub fn run(arguments: &Arguments) -> Report {
    let database = match Database::read(&arguments.advisories) {
        Ok(database) => database,
        Err(error) => return Report::unknown(error.to_string()),
    };
    let info = database_info(database.snapshot(), arguments);
    let lock_path = arguments.workspace.join("Cargo.lock");
    let lock = match read_lock(&lock_path) {
        Ok(lock) => lock,
        Err(reason) => return Report { database: Some(info), ..Report::unknown(reason) },
    };
    let mut report = match scan::vulnerable(&lock, &database).is_empty() {
        true => not_vulnerable(&lock, &info),
        false => Report::new(Status::Vulnerable, Outcome::Held),
    };
    if report.status == Status::Vulnerable {
        let workshop = Workshop {
            cargo: cargo::Cargo::new(&arguments.workspace, &arguments.cargo_home),
            lock_path: lock_path.clone(),
            database: &database,
            rules: plan::Rules { now: arguments.now, release_age_days_min: arguments.release_age_days_min },
        };
        repair(&workshop, &lock, arguments, &mut report);
    }
    let after = match read_lock(&lock_path) {
        Ok(after) => after,
        Err(reason) => return Report { database: Some(info), ..Report::unknown(reason) },
    };
    report.remaining = scan::findings(&after, &database);
    report.informational = scan::informational(&after, &database);
    report.not_judged = scan::not_judged(&after);
    report.database = Some(info);
    report
}

/// Moves the worst package that can be moved, in each of its vulnerable versions.
fn repair(workshop: &Workshop<'_>, lock: &Lockfile, arguments: &Arguments, report: &mut Report) {
    let vulnerable = scan::vulnerable(lock, workshop.database);
    let mut names: Vec<_> = Vec::new();
    for (package, _) in &vulnerable {
        let wanted = arguments.only.as_ref().is_none_or(|only| *only == package.name);
        if wanted && !names.contains(&&package.name) {
            names.push(&package.name);
        }
    }
    if names.is_empty() {
        report.reason = arguments
            .only
            .as_ref()
            .map(|only| format!("`{only}` has no known vulnerability here; other packages have"));
        return;
    }
    for name in names.into_iter().take(PACKAGES_MAX) {
        for (package, advisories) in vulnerable.iter().filter(|(package, _)| package.name == *name) {
            match workshop.fix(package, advisories) {
                Ok(bump) => report.bumps.push(bump),
                Err(stays) => report.held.push(Held {
                    package: package.name.to_string(),
                    version: package.version.to_string(),
                    advisories: scan::ids(advisories),
                    reason: stays.to_string(),
                }),
            }
        }
        if !report.bumps.is_empty() {
            report.outcome = Outcome::Bumped;
            return;
        }
    }
    report.reason = report.held.first().map(|held| format!("`{}@{}`: {}", held.package, held.version, held.reason));
}

/// No vulnerability is known. Whether that means "clean" depends on who was asked.
fn not_vulnerable(lock: &Lockfile, info: &DatabaseInfo) -> Report {
    if info.too_old {
        return Report::unknown(format!(
            "the newest advisory is {} days old, too old a database to call anything clean",
            info.age_days
        ));
    }
    match scan::not_judged(lock).first() {
        Some(package) => Report::unknown(format!(
            "`{}@{}` is not from the public registry, and advisories say nothing about it",
            package.package, package.version
        )),
        None => Report::new(Status::Clean, Outcome::NothingToDo),
    }
}

fn read_lock(path: &std::path::Path) -> Result<Lockfile, String> {
    let bytes = attempt::read_lock(path).map_err(|stays| stays.to_string())?;
    Lockfile::parse(&bytes).map_err(|error| error.to_string())
}

fn database_info(snapshot: &Snapshot, arguments: &Arguments) -> DatabaseInfo {
    let age_days = moment::days_between(snapshot.newest, arguments.now);
    DatabaseInfo {
        advisories: snapshot.advisories,
        withdrawn: snapshot.withdrawn,
        newest: snapshot.newest.to_string(),
        age_days,
        too_old: age_days > arguments.database_age_days_max,
    }
}
