//! The remediation worker's arguments.

use std::ffi::OsString;
use std::path::PathBuf;

use selvedge_domain::Time;

use crate::PackageName;

/// Arguments that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Not one of ours.
    #[error(
        "`{0}` is not an option; expected --advisories, --workspace, --now, --only, --minimum-release-age-days or --maximum-database-age-days"
    )]
    Unknown(String),
    /// An option without its value.
    #[error("`{0}` needs a value")]
    Valueless(String),
    /// A value that will not do.
    #[error("`{value}` is not a value for `{option}`")]
    Value {
        /// Which option.
        option: String,
        /// What it was given.
        value: String,
    },
    /// Something that has no default.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// Nowhere to find cargo's index cache.
    #[error("neither `CARGO_HOME` nor `HOME` is set to an absolute path, so cargo's home is not known")]
    NoCargoHome,
}

/// How long a release must have been out when nobody says: Renovate's recommendation for packages anyone may publish.
/// Malicious releases are mostly taken back within a day.
const RELEASE_AGE_DAYS_MIN: u64 = 3;

/// How old the newest advisory may be when nobody says. RustSec has published several a month for years.
const DATABASE_AGE_DAYS_MAX: u64 = 30;

/// What to do, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// `--advisories`: the directory of the advisory database.
    pub advisories: PathBuf,
    /// `--workspace`: the directory of `Cargo.toml` and `Cargo.lock`.
    pub workspace: PathBuf,
    /// `--only`: the one package to move.
    pub only: Option<PackageName>,
    /// `--minimum-release-age-days`.
    pub release_age_days_min: u64,
    /// `--maximum-database-age-days`: a database whose newest advisory is older calls nothing clean.
    pub database_age_days_max: u64,
    /// `--now`: milliseconds since the epoch; given, so that a run can be repeated.
    pub now: Time,
    /// cargo's home, from the environment as cargo itself finds it.
    pub cargo_home: PathBuf,
}

impl Arguments {
    /// Reads arguments, the program's name not among them.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentsError> {
        let (mut advisories, mut workspace, mut only, mut now) = (None, None, None, None);
        let (mut release_age, mut database_age) = (RELEASE_AGE_DAYS_MIN, DATABASE_AGE_DAYS_MAX);
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            let option = option.to_string_lossy().into_owned();
            let value = arguments.next().ok_or_else(|| ArgumentsError::Valueless(option.clone()))?;
            let text = value.to_string_lossy().into_owned();
            let bad = || ArgumentsError::Value { option: option.clone(), value: text.clone() };
            let number = || text.parse::<u64>().map_err(|_| bad());
            match option.as_str() {
                "--advisories" => advisories = Some(PathBuf::from(value)),
                "--workspace" => workspace = Some(PathBuf::from(value)),
                "--only" => only = Some(PackageName::parse(&text).map_err(|_| bad())?),
                "--now" => now = Some(Time::from_millis(number()?)),
                "--minimum-release-age-days" => release_age = number()?,
                "--maximum-database-age-days" => database_age = number()?,
                _ => return Err(ArgumentsError::Unknown(option)),
            }
        }
        let workspace = workspace.ok_or(ArgumentsError::Missing("--workspace"))?;
        Ok(Self {
            advisories: advisories.ok_or(ArgumentsError::Missing("--advisories"))?,
            // cargo is started elsewhere and given this path, so it must not depend on where we are.
            workspace: std::path::absolute(&workspace).map_err(|_| ArgumentsError::Value {
                option: "--workspace".to_owned(),
                value: workspace.display().to_string(),
            })?,
            only,
            release_age_days_min: release_age,
            database_age_days_max: database_age,
            now: now.ok_or(ArgumentsError::Missing("--now"))?,
            cargo_home: cargo_home().ok_or(ArgumentsError::NoCargoHome)?,
        })
    }
}

fn cargo_home() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("CARGO_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cargo")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Arguments, ArgumentsError> {
        Arguments::parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn arguments_read_with_their_defaults() {
        let arguments = parse("--advisories /db --workspace /w --now 1000").unwrap();
        assert_eq!(
            (arguments.release_age_days_min, arguments.database_age_days_max),
            (RELEASE_AGE_DAYS_MIN, DATABASE_AGE_DAYS_MAX)
        );
        assert_eq!((arguments.only, arguments.now), (None, Time::from_millis(1000)));
        let arguments =
            parse("--advisories /db --workspace /w --now 1000 --only time --minimum-release-age-days 14").unwrap();
        assert_eq!((arguments.only.unwrap().as_str(), arguments.release_age_days_min), ("time", 14));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for (text, because) in [
            ("--workspace /w --now 1", "`--advisories` is required"),
            ("--advisories /db --now 1", "`--workspace` is required"),
            ("--advisories /db --workspace /w", "`--now` is required"),
            ("--advisories", "needs a value"),
            ("--advisories /db --workspace /w --now yesterday", "`yesterday` is not a value for `--now`"),
            ("--advisories /db --workspace /w --now 1 --only ../x", "is not a value for `--only`"),
            ("--force yes", "is not an option"),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(because), "{text}");
        }
    }
}
