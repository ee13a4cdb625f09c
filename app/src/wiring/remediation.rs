//! The remediation worker: how it is called, what it came to, and the second scan of what it left. Its report is a claim; nothing of it
//! is believed that the scan does not find.

use selvedge_authority::ActError;
use selvedge_domain::orders::StartWork;
use selvedge_domain::{ChangeSet, Effect, Task, TreeId, TriggerId};
use selvedge_factory::ports::{Clock as _, Doorkeeper};
use selvedge_sandbox::{Access, Bind, Place, Workspace};
use selvedge_workers::remediate::{Outcome, Report};

use super::Works;
use super::behalf::{Behalf, HasIdentity};
use super::effect::{CameTo, Left};
use super::inside::{Inside, told};
use super::place::WORKER_DIR;
use super::repositories::{permanent, transient};
use crate::config::AgentConfig;

/// Where the advisories lie inside.
const ADVISORIES: &str = "/opt/advisories";

/// How long a second scan may take: it reads one file and some thousand small ones.
const SCAN_AT_MOST: std::time::Duration = std::time::Duration::from_secs(300);

/// How a follow-up of the remediation worker begins; the rest is a package's name.
const FOLLOW_UP: &str = "remediate ";

impl Works {
    /// How it is called.
    pub(super) fn remediation(&self, agent: &AgentConfig, package: Option<&str>) -> Vec<String> {
        let mut argv = vec![
            format!("{WORKER_DIR}/{}", selvedge_workers::remediate::PROGRAM),
            "--advisories".to_owned(),
            ADVISORIES.to_owned(),
            "--workspace".to_owned(),
            "/workspace".to_owned(),
            "--minimum-release-age-days".to_owned(),
            agent.minimum_release_age_days.to_string(),
            "--maximum-database-age-days".to_owned(),
            self.database_age_days_max.to_string(),
            "--now".to_owned(),
            self.now().as_millis().to_string(),
        ];
        if let Some(package) = package {
            argv.extend(["--only".to_owned(), package.to_owned()]);
        }
        argv
    }

    /// Itself and its advisories.
    pub(super) fn binds_for_remediation(&self, trigger: &TriggerId) -> Result<[Bind; 2], ActError> {
        let missing = || permanent("no advisory database is configured; use `selvedge scan --advisories DIR`");
        let advisories = self.advisories_of(trigger).ok_or_else(missing)?;
        Ok([
            self.bind_executable(selvedge_workers::remediate::PROGRAM),
            Bind { source: advisories, target: ADVISORIES.to_owned(), access: Access::ReadOnly },
        ])
    }

    /// What the remediation worker came to. Its report is a claim: the lock file it left is scanned again without it.
    pub(super) fn remediated(
        &self,
        left: &Left<'_>,
        doors: &dyn Doorkeeper,
    ) -> Result<(CameTo, Vec<String>), ActError> {
        let Left { order, tree, exit, output, changes, .. } = *left;
        let report = match Report::parse(output) {
            Ok(report) => report,
            Err(error) => return Ok((Err(format!("{error}; it ended with {}", told(exit))), Vec::new())),
        };
        let follow_ups = next_package(&report).map(|package| format!("{FOLLOW_UP}{package}")).into_iter().collect();
        let because = report.reason.clone().unwrap_or_default();
        let effect = match report.outcome {
            Outcome::NothingToDo => {
                Ok(Effect::Nothing { because: "no known vulnerability in the lock file".to_owned() })
            }
            Outcome::Held => Ok(Effect::Unresolved { because: held(&report, because) }),
            Outcome::Bumped if !only_lock_files(changes) => {
                Err("the remediation worker changed something else than lock files".to_owned())
            }
            Outcome::Bumped => match self.committed(order, tree, changes, &summary(&report))? {
                Ok(Effect::Tree { tree, commit, summary }) => match self.scan_again(order, &tree, &report, doors)? {
                    None => Ok(Effect::Tree { tree, commit, summary }),
                    Some(because) => Ok(Effect::Unresolved { because }),
                },
                other => other,
            },
        };
        Ok((effect, follow_ups))
    }

    /// Scans the tree the worker left, in a sandbox without network that the worker never saw. Says what is still wrong.
    fn scan_again(
        &self,
        order: &StartWork,
        tree: &TreeId,
        claimed: &Report,
        doors: &dyn Doorkeeper,
    ) -> Result<Option<String>, ActError> {
        let config = self.config();
        let agent = config.agents.get(&order.agent).ok_or_else(|| permanent("the agent is no longer configured"))?;
        let mut place = self.furnished(Place::new(self.remediation(agent, None))).with_env("CARGO_NET_OFFLINE", "true");
        place.workspace = Some(Workspace { pristine: self.pristine(&order.repo, tree)? });
        let trigger = self.run(&order.run).map_err(transient)?.trigger().id.clone();
        place.binds.extend(self.binds_for_remediation(&trigger)?);
        place.limits.wall = SCAN_AT_MOST;
        let id = format!("{}-s{}", order.run, order.attempt);
        let behalf = Behalf::of(order, HasIdentity::No);
        let (sandbox, exit, output) =
            self.run_inside(&id, place, &behalf, Inside { purpose: "scan", ..Inside::default() }, doors)?;
        sandbox.destroy().map_err(transient)?;
        self.refuse_when_killed(&exit)?;
        let report = match Report::parse(&output) {
            Ok(report) if report.database.is_some() => report,
            _ => {
                return Ok(Some(
                    "the result could not be scanned again, so nobody knows whether it is fixed".to_owned(),
                ));
            }
        };
        let fixed: Vec<&String> = claimed.bumps.iter().flat_map(|bump| &bump.advisories_fixed).collect();
        let still =
            report.remaining.iter().flat_map(|finding| &finding.advisories).find(|advisory| fixed.contains(advisory));
        Ok(still.map(|advisory| format!("the worker says {advisory} is fixed, and a second scan still finds it")))
    }
}

/// Whether a change is what remediation may come to.
fn only_lock_files(changes: &ChangeSet) -> bool {
    changes.changes().iter().all(|change| change.path().file_name() == "Cargo.lock")
}

/// The package a task names, when it names one.
pub(super) fn package_of(task: &Task) -> Option<&str> {
    task.trigger.text.strip_prefix(FOLLOW_UP).filter(|package| !package.contains(char::is_whitespace))
}

/// The package a follow-up should look at: one that is vulnerable and was neither fixed nor held by this run.
fn next_package(report: &Report) -> Option<&str> {
    let done = |package: &str| {
        report.held.iter().any(|held| held.package == package)
            || report.bumps.iter().any(|bump| bump.package == package)
    };
    report.remaining.iter().map(|finding| finding.package.as_str()).find(|package| !done(package))
}

fn held(report: &Report, because: String) -> String {
    let each = report
        .held
        .iter()
        .map(|held| format!("{} {} ({}): {}", held.package, held.version, held.advisories.join(", "), held.reason));
    let all: Vec<String> = each.collect();
    if all.is_empty() { because } else { all.join("; ") }
}

fn summary(report: &Report) -> String {
    let bumps = report.bumps.iter().map(|bump| {
        let age = bump.release_age_days.map_or("unknown age".to_owned(), |days| format!("released {days} days ago"));
        format!("{} {} to {} ({age}), fixes {}", bump.package, bump.from, bump.to, bump.advisories_fixed.join(", "))
    });
    bumps.collect::<Vec<_>>().join("\n")
}
