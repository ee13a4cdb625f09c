//! Versions of a protocol that a request asks for in its head (`anthropic-beta`, `openai-beta`). Owns that one nobody listed does not
//! leave, and that one which has the vendor act on its side is a way out like what it is about.

use std::collections::BTreeSet;

use super::Egress;
use super::hosting::Hosting;
use super::shape::named;

/// What may be asked for, by the field: how it begins, before a date, and what of the vendor's it widens. Not listed, and so left out: what
/// has a price of its own (`fast-mode`, `context-1m`), and what puts content into answers that this door does not know (`compact`).
const LISTED: &[(&str, &str, Option<Egress>)] = &[
    ("anthropic-beta", "adaptive-thinking", None),
    ("anthropic-beta", "claude-code", None),
    ("anthropic-beta", "context-management", None),
    ("anthropic-beta", "effort", None),
    ("anthropic-beta", "extended-cache-ttl", None),
    ("anthropic-beta", "fine-grained-tool-streaming", None),
    ("anthropic-beta", "interleaved-thinking", None),
    ("anthropic-beta", "model-context-window-exceeded", None),
    ("anthropic-beta", "oauth", None),
    ("anthropic-beta", "output-128k", None),
    ("anthropic-beta", "prompt-caching", None),
    ("anthropic-beta", "prompt-caching-scope", None),
    ("anthropic-beta", "redact-thinking", None),
    ("anthropic-beta", "structured-outputs", None),
    ("anthropic-beta", "token-efficient-tools", None),
    ("anthropic-beta", "tool-examples", None),
    ("anthropic-beta", "advanced-tool-use", Some(Egress::VendorTools)),
    ("anthropic-beta", "code-execution", Some(Egress::VendorTools)),
    ("anthropic-beta", "computer-use", Some(Egress::VendorTools)),
    ("anthropic-beta", "skills", Some(Egress::VendorTools)),
    ("anthropic-beta", "tool-search-tool", Some(Egress::VendorTools)),
    ("anthropic-beta", "web-fetch", Some(Egress::VendorTools)),
    ("anthropic-beta", "web-search", Some(Egress::VendorTools)),
    ("anthropic-beta", "mcp-client", Some(Egress::Connectors)),
    ("anthropic-beta", "mcp-servers", Some(Egress::Connectors)),
    ("anthropic-beta", "files-api", Some(Egress::StoredState)),
    ("openai-beta", "responses=experimental", None),
];

/// The fields that ask for versions.
pub const FIELDS: [&str; 2] = ["anthropic-beta", "openai-beta"];

/// The values of a field that go upstream, in their order, and those that do not, as they are named in the record. Whoever runs the model
/// would refuse a request for one that it does not know.
pub fn kept<'a>(
    field: &str,
    values: impl IntoIterator<Item = &'a [u8]>,
    granted: &BTreeSet<Egress>,
    hosting: &Hosting,
) -> (Vec<String>, BTreeSet<String>) {
    let (mut kept, mut left_out) = (Vec::new(), BTreeSet::new());
    for value in values.into_iter().flat_map(|values| values.split(|byte| *byte == b',')) {
        let value = String::from_utf8_lossy(value.trim_ascii());
        let passes = |(of, name, egress): &(&str, &str, Option<Egress>)| {
            *of == field && is_version_of(name, &value) && egress.is_none_or(|egress| granted.contains(&egress))
        };
        match LISTED.iter().any(passes) && hosting.knows(&value) {
            true => kept.push(value.into_owned()),
            false if value.is_empty() => {}
            false => drop(left_out.insert(format!("{field}.{}", named(&value)))),
        }
    }
    (kept, left_out)
}

/// Whether a value is this name, with a date behind it where there is one.
pub(super) fn is_version_of(name: &str, value: &str) -> bool {
    let is_date = |date: &str| {
        let digits = date.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    let date = value.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    value == name || date.is_some_and(is_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str, values: &[&str], granted: &[Egress]) -> (String, Vec<String>) {
        let granted = granted.iter().copied().collect();
        let (kept, left_out) = kept(field, values.iter().map(|value| value.as_bytes()), &granted, &Hosting::Vendor);
        (kept.join(","), left_out.into_iter().collect())
    }

    #[test]
    fn a20_what_widens_what_the_vendor_does_needs_its_grant_and_the_rest_is_named() {
        let asked =
            ["claude-code-20250219, interleaved-thinking-2025-05-14", "mcp-client-2025-04-04,fast-mode-2026-02-01,,"];
        let plain = "claude-code-20250219,interleaved-thinking-2025-05-14";
        let named = |values: &[&str]| values.iter().map(|value| format!("anthropic-beta.{value}")).collect::<Vec<_>>();
        assert_eq!(
            of("anthropic-beta", &asked, &[]),
            (plain.to_owned(), named(&["fast-mode-2026-02-01", "mcp-client-2025-04-04"]))
        );
        assert_eq!(
            of("anthropic-beta", &asked, &[Egress::Connectors]),
            (format!("{plain},mcp-client-2025-04-04"), named(&["fast-mode-2026-02-01"]))
        );
        assert_eq!(of("openai-beta", &["responses=experimental"], &[]).0, "responses=experimental");
    }

    #[test]
    fn a20_what_a_host_does_not_know_is_left_out_and_named_and_what_it_knows_needs_its_grant_all_the_same() {
        let asked: [&[u8]; 1] = [b"claude-code-20250219,effort-2025-11-24,computer-use-2025-01-24"];
        let (kept, left_out) = kept("anthropic-beta", asked, &BTreeSet::new(), &Hosting::Bedrock);
        assert_eq!(kept, ["effort-2025-11-24"]);
        let named = ["anthropic-beta.claude-code-20250219", "anthropic-beta.computer-use-2025-01-24"];
        assert_eq!(left_out, named.map(str::to_owned).into());
    }

    #[test]
    fn a20_what_only_begins_like_a_listed_one_is_another() {
        for value in [
            "effort-and-tools-2025-11-24",
            "effort-",
            "effort-2025",
            "Effort-2025-11-24",
            "effort-2025-11-24 x",
            "\u{e9}",
        ] {
            assert_eq!(of("anthropic-beta", &[value], &[]).0, "", "{value}");
        }
        assert_eq!(of("openai-beta", &["effort-2025-11-24"], &[]).0, "", "of the other field");
    }
}
