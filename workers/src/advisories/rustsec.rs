//! RustSec's own format, version 4: Markdown that begins with TOML in a fenced block.

use serde::Deserialize;

use super::range::{Affected, Interval};
use super::{Advisory, AdvisoryId, Content, Kind, Severity};
use crate::package::excerpt;
use crate::{PackageName, moment};

/// More ranges than this is no advisory anyone wrote; the largest has 15.
const RANGES_MAX: usize = 200;

#[derive(Deserialize)]
struct File {
    advisory: Head,
    versions: Versions,
}

// Unknown fields are let through: the format gains descriptive ones, and those that decide are required here.
#[derive(Deserialize)]
struct Head {
    id: String,
    package: String,
    date: String,
    withdrawn: Option<String>,
    informational: Option<String>,
    cvss: Option<String>,
}

#[derive(Deserialize)]
struct Versions {
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

/// Reads one file.
pub(super) fn parse(bytes: &[u8]) -> Result<Content, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let file: File =
        toml::from_str(front_matter(text)?).map_err(|cause| format!("its front matter: {}", cause.message()))?;
    let id = AdvisoryId::parse(&file.advisory.id)?;
    if file.advisory.withdrawn.is_some() {
        return Ok(Content::Withdrawn);
    }
    let date = moment::parse(&file.advisory.date)
        .ok_or_else(|| format!("`{}` is not a date", excerpt(&file.advisory.date)))?;
    let ranges = file.versions.patched.iter().chain(&file.versions.unaffected);
    if ranges.clone().count() > RANGES_MAX {
        return Err("it has more than 200 version ranges".to_owned());
    }
    Ok(Content::Advisories(vec![Advisory {
        id,
        package: PackageName::parse(&file.advisory.package).map_err(|bad| bad.to_string())?,
        kind: Kind::from_informational(file.advisory.informational.as_deref()),
        severity: file.advisory.cvss.as_deref().and_then(Severity::from_vector),
        affected: Affected::outside(ranges.map(|range| Interval::from_requirement(range)).collect::<Result<_, _>>()?),
        date,
    }]))
}

/// The TOML between the first line, which is the opening fence, and the closing fence.
fn front_matter(text: &str) -> Result<&str, String> {
    let rest = text
        .strip_prefix("```toml")
        .and_then(|rest| rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')))
        .ok_or_else(|| "it does not begin with a fenced block of TOML".to_owned())?;
    rest.split_once("\n```").map(|(toml, _)| toml).ok_or_else(|| "its front matter has no end".to_owned())
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;

    const WHOLE: &str = r#"```toml
[advisory]
id = "RUSTSEC-2025-0024"
package = "crossbeam-channel"
date = "2025-04-08"
cvss = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"

[versions]
patched = [">= 0.5.15"]
unaffected = ["<= 0.5.11"]
```

# crossbeam-channel: double free on Drop
"#;

    fn one(text: &str) -> Advisory {
        match parse(text.as_bytes()).unwrap() {
            Content::Advisories(mut all) => all.remove(0),
            Content::Withdrawn | Content::OtherEcosystem => panic!("not an advisory"),
        }
    }

    #[test]
    fn a_version_is_affected_unless_patched_or_unaffected() {
        let advisory = one(WHOLE);
        for (version, affected) in [
            ("0.5.11", false),
            ("0.5.12", true),
            ("0.5.14", true),
            ("0.5.15-rc.1", true),
            ("0.5.15", false),
            ("1.0.0", false),
        ] {
            assert_eq!(advisory.affected.covers(&Version::parse(version).unwrap()), affected, "{version}");
        }
        assert_eq!(advisory.kind, Kind::Vulnerability);
        assert_eq!(advisory.severity.unwrap().to_string(), "9.8");
    }

    #[test]
    fn nothing_patched_means_every_version() {
        let advisory = one(&WHOLE.replace(r#"[">= 0.5.15"]"#, "[]").replace(r#"["<= 0.5.11"]"#, "[]"));
        assert!(advisory.affected.covers(&Version::new(0, 0, 1)) && advisory.affected.covers(&Version::new(99, 0, 0)));
    }

    #[test]
    fn informational_and_withdrawn_are_told_apart() {
        for (line, kind) in [
            ("unsound", Kind::Unsound),
            ("unmaintained", Kind::Unmaintained),
            ("notice", Kind::Notice),
            ("new-word", Kind::Vulnerability),
        ] {
            let text = WHOLE.replace("date =", &format!("informational = \"{line}\"\ndate ="));
            assert_eq!(one(&text).kind, kind);
        }
        let text = WHOLE.replace("date =", "withdrawn = \"2025-05-01\"\ndate =");
        assert!(matches!(parse(text.as_bytes()), Ok(Content::Withdrawn)));
    }

    #[test]
    fn a_damaged_file_says_what_is_wrong() {
        for (text, because) in [
            ("", "does not begin"),
            ("# title", "does not begin"),
            ("```toml\n[advisory]", "has no end"),
            (&WHOLE.replace("patched", "patchde"), "front matter: missing field"),
            (&WHOLE.replace(">= 0.5.15", ">= 0.5.15.1"), "is not a version range"),
            (&WHOLE.replace("crossbeam-channel", "../../etc"), "is not a package name"),
            (&WHOLE.replace("2025-04-08", "yesterday"), "is not a date"),
            (&WHOLE.replace("RUSTSEC-2025-0024", "a b"), "is not an advisory's identifier"),
        ] {
            let error = parse(text.as_bytes()).err().unwrap();
            assert!(error.contains(because), "{error}");
        }
        assert!(parse(b"\xff").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_damage_is_read_without_panic(at in 0.0_f64..1.0, cut in 0_usize..40, with in proptest::collection::vec(proptest::num::u8::ANY, 0..12)) {
            let mut bytes = WHOLE.as_bytes().to_vec();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small length")]
            let at = (at * bytes.len() as f64) as usize;
            bytes.splice(at..(at + cut).min(bytes.len()), with);
            let _ = parse(&bytes);
        }
    }
}
