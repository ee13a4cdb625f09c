//! Which versions an advisory is about, by semantic version precedence.
//!
//! Not cargo's requirement matching: a requirement such as `>= 1.0.0` does not match `1.1.0-beta` for cargo, but that
//! version does come after the fix. RustSec and OSV both define their ranges by precedence (SemVer 2.0.0, section 11),
//! so requirements are read as intervals on that order.

use std::cmp::Ordering;

use semver::{Comparator, Op, Prerelease, Version, VersionReq};

/// The versions an advisory is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected(Rule);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Every version outside these intervals (RustSec: `patched` and `unaffected`).
    Outside(Vec<Interval>),
    /// Every version within one of these intervals, or listed (OSV).
    Within {
        /// The intervals.
        intervals: Vec<Interval>,
        /// The versions listed by name.
        listed: Vec<Version>,
    },
}

/// Versions between two bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interval {
    from: Bound,
    to: Bound,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Open,
    Inclusive(Version),
    Exclusive(Version),
}

impl Affected {
    pub(super) fn outside(intervals: Vec<Interval>) -> Self {
        Self(Rule::Outside(intervals))
    }

    pub(super) fn within(intervals: Vec<Interval>, listed: Vec<Version>) -> Self {
        Self(Rule::Within { intervals, listed })
    }

    /// Whether the advisory is about `version`.
    pub fn covers(&self, version: &Version) -> bool {
        match &self.0 {
            Rule::Outside(intervals) => !intervals.iter().any(|interval| interval.holds(version)),
            Rule::Within { intervals, listed } => {
                intervals.iter().any(|interval| interval.holds(version))
                    || listed.iter().any(|one| one.cmp_precedence(version) == Ordering::Equal)
            }
        }
    }
}

impl Interval {
    pub(super) fn new(from: Bound, to: Bound) -> Self {
        Self { from, to }
    }

    /// Reads a requirement as RustSec writes them: at most one lower and one upper bound, or one of `=`, `^`, `~`.
    pub(super) fn from_requirement(text: &str) -> Result<Self, String> {
        let requirement =
            VersionReq::parse(text).map_err(|cause| format!("`{text}` is not a version range: {cause}"))?;
        let [first, rest @ ..] = requirement.comparators.as_slice() else {
            return Err(format!("the version range `{text}` has no bound"));
        };
        if rest.is_empty() && matches!(first.op, Op::Exact | Op::Caret | Op::Tilde) {
            return Self::both_bounds(first).ok_or_else(|| format!("the version range `{text}` is out of bounds"));
        }
        let mut interval = Self { from: Bound::Open, to: Bound::Open };
        for comparator in &requirement.comparators {
            let version = lowest(comparator);
            let (end, bound) = match comparator.op {
                Op::Greater => (&mut interval.from, Bound::Exclusive(version)),
                Op::GreaterEq => (&mut interval.from, Bound::Inclusive(version)),
                Op::Less => (&mut interval.to, Bound::Exclusive(version)),
                Op::LessEq => (&mut interval.to, Bound::Inclusive(version)),
                _ => return Err(format!("the version range `{text}` mixes kinds of bound")),
            };
            if *end != Bound::Open {
                return Err(format!("the version range `{text}` gives one bound twice"));
            }
            *end = bound;
        }
        Ok(interval)
    }

    /// `=`, `^` and `~` bound both ends. The upper end is the lowest pre-release of the first version beyond, so that
    /// `^1.2` does not take in `2.0.0-alpha`.
    fn both_bounds(comparator: &Comparator) -> Option<Self> {
        let from = lowest(comparator);
        let (major, minor, patch) = (comparator.major, comparator.minor, comparator.patch);
        let beyond = match (comparator.op, major, minor, patch) {
            (Op::Exact, ..) => return Some(Self { from: Bound::Inclusive(from.clone()), to: Bound::Inclusive(from) }),
            (Op::Tilde, _, Some(minor), _) => (major, minor.checked_add(1)?, 0),
            (Op::Caret, 0, Some(0), Some(patch)) => (0, 0, patch.checked_add(1)?),
            (Op::Caret, 0, Some(minor), _) => (0, minor.checked_add(1)?, 0),
            _ => (major.checked_add(1)?, 0, 0),
        };
        let mut to = Version::new(beyond.0, beyond.1, beyond.2);
        to.pre = Prerelease::new("0").ok()?;
        Some(Self { from: Bound::Inclusive(from), to: Bound::Exclusive(to) })
    }

    fn holds(&self, version: &Version) -> bool {
        let from = match &self.from {
            Bound::Open => true,
            Bound::Inclusive(bound) => version.cmp_precedence(bound) != Ordering::Less,
            Bound::Exclusive(bound) => version.cmp_precedence(bound) == Ordering::Greater,
        };
        let to = match &self.to {
            Bound::Open => true,
            Bound::Inclusive(bound) => version.cmp_precedence(bound) != Ordering::Greater,
            Bound::Exclusive(bound) => version.cmp_precedence(bound) == Ordering::Less,
        };
        from && to
    }
}

/// The version a comparator names, absent parts being zero.
fn lowest(comparator: &Comparator) -> Version {
    let mut version = Version::new(comparator.major, comparator.minor.unwrap_or(0), comparator.patch.unwrap_or(0));
    version.pre = comparator.pre.clone();
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(requirement: &str, version: &str) -> bool {
        Interval::from_requirement(requirement).unwrap().holds(&Version::parse(version).unwrap())
    }

    #[test]
    fn bounds_follow_precedence() {
        for (requirement, within, outside) in [
            (">= 1.0.0", &["1.0.0", "1.0.1-alpha", "2.0.0", "1.0.0+build"][..], &["1.0.0-rc.1", "0.9.9"][..]),
            ("> 1.0.0", &["1.0.1", "1.0.1-0"], &["1.0.0", "1.0.0+build"]),
            ("< 0.3.0", &["0.2.9", "0.3.0-alpha", "0.0.0"], &["0.3.0"]),
            ("<= 0.5.11", &["0.5.11", "0.5.11-rc"], &["0.5.12-0"]),
            (">= 1.18.4, < 1.19.0", &["1.18.4", "1.18.9"], &["1.18.3", "1.19.0"]),
            ("< 1.19.0, >= 1.18.4", &["1.18.4"], &["1.19.0"]),
            ("^1.2", &["1.2.0", "1.9.0"], &["1.1.9", "2.0.0-alpha", "2.0.0"]),
            ("0.3.1", &["0.3.1", "0.3.9"], &["0.4.0-0", "0.4.0", "0.3.0"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4", "0.0.2"]),
            ("^0", &["0.0.1", "0.99.0"], &["1.0.0"]),
            ("~1.2.3", &["1.2.9"], &["1.3.0-0", "1.2.2"]),
            ("=0.2.0", &["0.2.0"], &["0.2.1", "0.2.0-rc"]),
        ] {
            within.iter().for_each(|v| assert!(holds(requirement, v), "{requirement} holds {v}"));
            outside.iter().for_each(|v| assert!(!holds(requirement, v), "{requirement} does not hold {v}"));
        }
    }

    #[test]
    fn a_range_we_cannot_be_sure_of_is_refused() {
        for text in ["", "*", "1.*", "x", ">= 1, >= 2", ">= 1, ^2", "=1.0.0, =2.0.0", "^18446744073709551615"] {
            assert!(Interval::from_requirement(text).is_err(), "{text:?}");
        }
    }
}
