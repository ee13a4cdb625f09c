//! The OSV schema (1.7), for the ecosystem crates.io.

use std::cmp::Ordering;

use selvedge_domain::Time;
use semver::{Prerelease, Version};
use serde::Deserialize;

use super::range::{Affected, Bound, Interval};
use super::{Advisory, AdvisoryId, Content, Kind, Severity};
use crate::package::{excerpt, parse_version};
use crate::{PackageName, moment};

/// How OSV names cargo's registry.
const ECOSYSTEM: &str = "crates.io";

/// Events and versions per file; exports list every published version, and the busiest package has a thousand.
const ENTRIES_MAX: usize = 20_000;

#[derive(Deserialize)]
struct File {
    id: String,
    modified: String,
    withdrawn: Option<String>,
    #[serde(default)]
    severity: Vec<Score>,
    #[serde(default)]
    affected: Vec<AffectedPackage>,
}

#[derive(Deserialize)]
struct Score {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

#[derive(Deserialize)]
struct AffectedPackage {
    package: Option<PackageKey>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    severity: Vec<Score>,
    database_specific: Option<Extra>,
}

#[derive(Deserialize)]
struct PackageKey {
    ecosystem: String,
    name: String,
}

/// What RustSec's own export adds.
#[derive(Deserialize)]
struct Extra {
    informational: Option<String>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

/// One turn of the line of versions. The order of the variants settles equal versions: what is introduced and fixed at
/// once is fixed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Introduced,
    Fixed,
    LastAffected,
}

/// Reads one file.
pub(super) fn parse(bytes: &[u8]) -> Result<Content, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|cause| format!("its JSON: {cause}"))?;
    let id = AdvisoryId::parse(&file.id)?;
    if file.withdrawn.is_some() {
        return Ok(Content::Withdrawn);
    }
    let date = moment::parse(&file.modified).ok_or_else(|| format!("`{}` is not a date", excerpt(&file.modified)))?;
    let entries: usize = file
        .affected
        .iter()
        .map(|one| one.versions.len() + one.ranges.iter().map(|range| range.events.len()).sum::<usize>())
        .sum();
    if entries > ENTRIES_MAX {
        return Err("it has more than 20,000 versions and events".to_owned());
    }
    let mut advisories = Vec::new();
    for affected in &file.affected {
        if let Some(key) = affected.package.as_ref().filter(|key| key.ecosystem == ECOSYSTEM) {
            advisories.push(advisory(&id, date, &key.name, affected, &file.severity)?);
        }
    }
    Ok(if advisories.is_empty() { Content::OtherEcosystem } else { Content::Advisories(advisories) })
}

fn advisory(
    id: &AdvisoryId,
    date: Time,
    name: &str,
    affected: &AffectedPackage,
    whole: &[Score],
) -> Result<Advisory, String> {
    let scores = affected.severity.iter().chain(whole);
    let informational = affected.database_specific.as_ref().and_then(|extra| extra.informational.as_deref());
    Ok(Advisory {
        id: id.clone(),
        package: PackageName::parse(name).map_err(|bad| bad.to_string())?,
        kind: Kind::from_informational(informational),
        severity: scores.filter(|score| score.kind == "CVSS_V3").find_map(|score| Severity::from_vector(&score.score)),
        affected: versions(affected)?,
        date,
    })
}

fn versions(affected: &AffectedPackage) -> Result<Affected, String> {
    let mut intervals = Vec::new();
    for range in &affected.ranges {
        match range.kind.as_str() {
            // crates.io orders its versions semantically, so both mean the same here.
            "SEMVER" | "ECOSYSTEM" => intervals.extend(intervals_of(&range.events)?),
            // Commits say nothing about published versions.
            "GIT" => {}
            other => return Err(format!("`{}` is not a type of range", excerpt(other))),
        }
    }
    let listed = affected
        .versions
        .iter()
        .map(|text| parse_version(text).map_err(|bad| bad.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    // An advisory about a package that names none of its versions is about all of them, as far as we can tell.
    if intervals.is_empty() && listed.is_empty() {
        return Ok(Affected::outside(Vec::new()));
    }
    Ok(Affected::within(intervals, listed))
}

/// Walks the events in the order of their versions, as the schema's evaluation algorithm does.
fn intervals_of(events: &[Event]) -> Result<Vec<Interval>, String> {
    let mut turns = Vec::new();
    let mut limit: Option<Version> = None;
    for event in events {
        let named = [&event.introduced, &event.fixed, &event.last_affected, &event.limit];
        if named.iter().all(|version| version.is_none()) {
            return Err("an event of its ranges names no version".to_owned());
        }
        // The schema allows one of them in each event; some writers put all in one, which means the same.
        if let Some(text) = &event.introduced {
            turns.push((introduced(text)?, Turn::Introduced));
        }
        if let Some(text) = &event.fixed {
            turns.push((version(text)?, Turn::Fixed));
        }
        if let Some(text) = &event.last_affected {
            turns.push((version(text)?, Turn::LastAffected));
        }
        // Several limits: a version before any of them is in range, so the furthest counts.
        if let Some(text) = event.limit.as_deref().filter(|text| *text != "*") {
            limit = limit.max(Some(version(text)?));
        }
    }
    turns.sort_by(|(a, a_turn), (b, b_turn)| a.cmp_precedence(b).then(a_turn.cmp(b_turn)));
    let mut intervals = Vec::new();
    let mut open: Option<Version> = None;
    for (version, turn) in turns {
        match (turn, open.take()) {
            (Turn::Introduced, since) => open = since.or(Some(version)),
            (Turn::Fixed, Some(since)) => intervals.push((since, Bound::Exclusive(version))),
            (Turn::LastAffected, Some(since)) => intervals.push((since, Bound::Inclusive(version))),
            (Turn::Fixed | Turn::LastAffected, None) => {}
        }
    }
    let end = limit.as_ref().map_or(Bound::Open, |limit| Bound::Exclusive(limit.clone()));
    intervals.extend(open.map(|since| (since, end)));
    Ok(intervals
        .into_iter()
        .map(|(since, to)| Interval::new(Bound::Inclusive(since), before(limit.as_ref(), to)))
        .collect())
}

/// The nearer of a bound and the limit.
fn before(limit: Option<&Version>, to: Bound) -> Bound {
    let (Some(limit), Bound::Exclusive(end) | Bound::Inclusive(end)) = (limit, &to) else { return to };
    if end.cmp_precedence(limit) == Ordering::Less { to } else { Bound::Exclusive(limit.clone()) }
}

/// `0` is before every version.
fn introduced(text: &str) -> Result<Version, String> {
    if text != "0" {
        return version(text);
    }
    let mut lowest = Version::new(0, 0, 0);
    lowest.pre = Prerelease::new("0").map_err(|cause| cause.to_string())?;
    Ok(lowest)
}

fn version(text: &str) -> Result<Version, String> {
    parse_version(text).map_err(|bad| bad.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affected(body: &str) -> Affected {
        let text = format!(
            r#"{{"id":"GHSA-x","modified":"2025-01-02T03:04:05Z","affected":[{{"package":{{"ecosystem":"crates.io","name":"a"}},{body}}}]}}"#
        );
        match parse(text.as_bytes()).unwrap() {
            Content::Advisories(mut all) => all.remove(0).affected,
            Content::Withdrawn | Content::OtherEcosystem => panic!("not an advisory"),
        }
    }

    fn ranges(events: &str) -> Affected {
        affected(&format!(r#""ranges":[{{"type":"SEMVER","events":[{events}]}}]"#))
    }

    fn assert_covers(affected: &Affected, within: &[&str], outside: &[&str]) {
        within.iter().for_each(|v| assert!(affected.covers(&Version::parse(v).unwrap()), "covers {v}: {affected:?}"));
        outside
            .iter()
            .for_each(|v| assert!(!affected.covers(&Version::parse(v).unwrap()), "does not cover {v}: {affected:?}"));
    }

    #[test]
    fn events_are_walked_in_the_order_of_versions() {
        let twice = ranges(r#"{"fixed":"2.0.3"},{"introduced":"2.0.0"},{"introduced":"0"},{"fixed":"1.4.0"}"#);
        assert_covers(
            &twice,
            &["0.0.0", "1.3.9", "1.4.0-rc", "2.0.0", "2.0.2"],
            &["1.4.0", "1.9.0", "2.0.0-rc", "2.0.3"],
        );
        let last = ranges(r#"{"introduced":"1.0.0"},{"last_affected":"1.2.0"}"#);
        assert_covers(&last, &["1.0.0", "1.2.0"], &["0.9.0", "1.2.1-0", "1.2.1"]);
        let unfixed = ranges(r#"{"introduced":"0.0.0-0"}"#);
        assert_covers(&unfixed, &["0.0.0", "99.0.0"], &[]);
        let at_once = ranges(r#"{"introduced":"1.0.0","fixed":"1.2.0"}"#);
        assert_covers(&at_once, &["1.0.0", "1.1.9"], &["0.9.0", "1.2.0"]);
        let limited = ranges(r#"{"introduced":"0"},{"limit":"2.0.0"}"#);
        assert_covers(&limited, &["1.9.9"], &["2.0.0", "3.0.0"]);
    }

    #[test]
    fn listed_versions_count_and_no_version_means_all() {
        assert_covers(&affected(r#""versions":["1.0.0","1.0.1"]"#), &["1.0.0", "1.0.1"], &["1.0.2"]);
        assert_covers(&affected(r#""versions":[]"#), &["0.0.1", "9.0.0"], &[]);
        assert_covers(&affected(r#""ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]"#), &["1.0.0"], &[]);
    }

    #[test]
    fn what_the_reference_exports_besides_is_read() {
        let text = r#"{"schema_version":null,"id":"RUSTSEC-2020-0001","modified":"2025-01-02T03:04:05Z","published":"2020-01-01T12:00:00Z",
            "severity":[{"type":"CVSS_V4","score":"CVSS:4.0/AV:N"},{"type":"CVSS_V3","score":"CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
            "affected":[{"package":{"ecosystem":"crates.io","name":"a","purl":"pkg:cargo/a"},"ecosystem_specific":{"affects":{"os":["linux"]}},
            "database_specific":{"cvss":null,"informational":"unmaintained"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0.0.0-0"}]}],"versions":[]}],
            "database_specific":{"license":"CC0-1.0"}}"#;
        let Ok(Content::Advisories(all)) = parse(text.as_bytes()) else { panic!("not an advisory") };
        assert_eq!((all[0].kind, all[0].severity.unwrap().to_string()), (Kind::Unmaintained, "6.2".to_owned()));
        assert!(all[0].date.to_string().starts_with("2025-01-02T03:04:05"));
    }

    #[test]
    fn other_ecosystems_and_withdrawn_are_no_advisories() {
        let npm = br#"{"id":"GHSA-x","modified":"2025-01-02T03:04:05Z","affected":[{"package":{"ecosystem":"npm","name":"@a/b"}}]}"#;
        assert!(matches!(parse(npm), Ok(Content::OtherEcosystem)));
        let withdrawn =
            br#"{"id":"GHSA-x","modified":"2025-01-02T03:04:05Z","withdrawn":"2025-01-03T00:00:00Z","affected":[]}"#;
        assert!(matches!(parse(withdrawn), Ok(Content::Withdrawn)));
    }

    #[test]
    fn a_damaged_file_says_what_is_wrong() {
        let head = r#""id":"X-1","modified":"2025-01-02T03:04:05Z""#;
        let package = r#""package":{"ecosystem":"crates.io","name":"a"}"#;
        for (text, because) in [
            ("{".to_owned(), "its JSON"),
            (r#"{"modified":"2025-01-02T03:04:05Z"}"#.to_owned(), "missing field `id`"),
            (format!(r#"{{{head},"affected":[{{{package},"versions":["one"]}}]}}"#), "is not a version"),
            (
                format!(r#"{{{head},"affected":[{{{package},"ranges":[{{"type":"SEMVER","events":[{{}}]}}]}}]}}"#),
                "names no version",
            ),
            (
                format!(r#"{{{head},"affected":[{{{package},"ranges":[{{"type":"MOON","events":[]}}]}}]}}"#),
                "type of range",
            ),
            (
                format!(r#"{{{head},"affected":[{{"package":{{"ecosystem":"crates.io","name":"../a"}}}}]}}"#),
                "package name",
            ),
        ] {
            let error = parse(text.as_bytes()).err().unwrap();
            assert!(error.contains(because), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_events_are_walked_without_panic(
            events in proptest::collection::vec((0_u8..4, "(0|\\*|[0-9]{1,20}\\.[0-9]\\.[0-9](-[a-z0-9.]{0,5})?)"), 0..8),
            version in (0_u64..3, 0_u64..10, 0_u64..10),
        ) {
            let names = ["introduced", "fixed", "last_affected", "limit"];
            let events: Vec<String> = events.iter().map(|(at, text)| format!(r#"{{"{}":"{text}"}}"#, names[usize::from(*at)])).collect();
            let text = format!(
                r#"{{"id":"X-1","modified":"2025-01-02T03:04:05Z","affected":[{{"package":{{"ecosystem":"crates.io","name":"a"}},"ranges":[{{"type":"SEMVER","events":[{}]}}]}}]}}"#,
                events.join(",")
            );
            if let Ok(Content::Advisories(all)) = parse(text.as_bytes()) {
                let _ = all[0].affected.covers(&Version::new(version.0, version.1, version.2));
            }
        }
    }
}
