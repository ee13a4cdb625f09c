//! Looking for credentials in what a change adds (attack A-108).
//!
//! Finds well-known token shapes and planted canaries. A fence it is not: an encoding nobody thought of passes. A
//! finding never holds the secret itself.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

mod shapes;

use shapes::{Ends, PRIVATE_KEY, SHAPES};

/// A credential, or what looks like one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it looks like.
    pub kind: &'static str,
    /// The line it begins on, counted from 1.
    pub line: usize,
}

/// A text to be looked through by itself.
#[derive(Debug, Clone, Copy)]
pub enum Text<'t> {
    /// All of it.
    Whole(&'t str),
    /// Its beginning: a token that goes on to where it ends may be as long as it likes.
    Cut(&'t str),
}

/// Every credential in a text, with its kind: for whoever writes the text down without it. A private key goes on to its last line, or as
/// far as the text does.
pub fn found(text: Text<'_>) -> impl Iterator<Item = (&'static str, &str)> {
    let (text, ends) = match text {
        Text::Whole(text) => (text, Ends::Whole),
        Text::Cut(text) => (text, Ends::Cut),
    };
    let tokens = SHAPES
        .iter()
        .flat_map(move |shape| shape.ending_in(text.as_bytes(), ends).map(|(at, token)| (shape.kind, at, token.len())));
    tokens.filter_map(move |(kind, at, length)| {
        let rest = text.get(at..)?;
        let length = if kind == PRIVATE_KEY { length_of_key(rest, length) } else { length };
        Some((kind, rest.get(..length)?))
    })
}

/// How long a private key is that begins with so many bytes of its first line.
fn length_of_key(text: &str, first: usize) -> usize {
    let end = text.get(first..).and_then(|rest| rest.find(KEY_ENDS));
    let end = end.and_then(|end| {
        let after = first + end + KEY_ENDS.len();
        Some(after + text.get(after..)?.find(DASHES)? + DASHES.len())
    });
    end.unwrap_or(text.len())
}

/// How the last line of a private key begins, and ends.
const KEY_ENDS: &str = "-----END ";
const DASHES: &str = "-----";

/// Looks for credentials in added bytes.
#[derive(Default)]
pub struct Scanner {
    canaries: Vec<Vec<u8>>,
}

/// The kind of a finding of a planted secret.
pub const CANARY: &str = "planted canary";
/// A shorter canary, or a shorter piece of its encoding, would be found everywhere.
const CANARY_BYTES_MIN: usize = 12;
/// Enough to hold a change; more would only be a longer list.
const FINDINGS_MAX: usize = 100;

impl Scanner {
    /// Also looks for these planted secrets: as they are, in hexadecimal and in Base64. Short ones are left out.
    pub fn with_canaries<'a>(canaries: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let long_enough = canaries.into_iter().filter(|canary| canary.len() >= CANARY_BYTES_MIN);
        Self { canaries: long_enough.flat_map(spellings).collect() }
    }

    /// Credentials in `new` that `old`, the same file before the change, does not hold.
    pub fn added(&self, old: &[u8], new: &[u8]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for canary in &self.canaries {
            if let Some(at) = find(new, canary).filter(|_| find(old, canary).is_none()) {
                findings.push(Finding { kind: CANARY, line: line_of(new, at) });
            }
        }
        for shape in SHAPES {
            let known: BTreeSet<&[u8]> = shape.all_in(old).map(|(_, token)| token).collect();
            for (at, _) in shape.all_in(new).filter(|(_, token)| !known.contains(token)) {
                if findings.len() >= FINDINGS_MAX {
                    break;
                }
                findings.push(Finding { kind: shape.kind, line: line_of(new, at) });
            }
        }
        findings.sort();
        findings.dedup();
        findings
    }
}

impl std::fmt::Debug for Scanner {
    /// Canaries are secrets; only their number is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("spellings", &self.canaries.len()).finish()
    }
}

/// A canary as written, in both cases of hexadecimal, reversed, and as each Base64 alphabet would hold it at each alignment.
fn spellings(canary: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut spellings = vec![
        canary.to_vec(),
        canary.iter().rev().copied().collect(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ];
    for skipped in 0..3 {
        // Dropping bytes until the rest is a whole number of triples gives the part whose encoding does not depend on
        // what surrounds it.
        let rest = canary.get(skipped..).unwrap_or_default();
        let whole = rest.get(..rest.len() - rest.len() % 3).unwrap_or_default();
        let encoded = STANDARD_NO_PAD.encode(whole);
        spellings.push(encoded.replace('+', "-").replace('/', "_").into_bytes());
        spellings.push(encoded.into_bytes());
    }
    spellings
}

fn line_of(text: &[u8], at: usize) -> usize {
    text.iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// Where `needle` first lies in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let rest = hay.get(from..)?;
        let at = from + rest.iter().position(|byte| *byte == first)?;
        if hay.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.kind).collect()
    }

    /// Put together here so that this file is not itself a finding.
    fn token(prefix: &str, letters: usize) -> String {
        let body: String = "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cD".chars().cycle().take(letters).collect();
        format!("{prefix}{body}")
    }

    #[test]
    fn a_108_known_tokens_are_found_with_their_line_and_not_shown() {
        for (prefix, letters, kind) in [
            ("ghp_", 36, "GitHub token"),
            ("github_pat_", 82, "GitHub token"),
            ("glpat-", 20, "GitLab token"),
            ("sk-ant-api03-", 90, "Anthropic key"),
            ("xoxb-", 40, "Slack token"),
            ("AIza", 35, "Google API key"),
            ("npm_", 36, "npm token"),
            ("hf_", 34, "Hugging Face token"),
            ("hvs.", 40, "Vault token"),
        ] {
            let secret = token(prefix, letters);
            let text = format!("first\nkey = \"{secret}\"\n");
            let findings = Scanner::default().added(b"", text.as_bytes());
            assert_eq!(findings, [Finding { kind, line: 2 }], "{prefix}");
            assert!(!format!("{findings:?}").contains(&secret));
        }
        let aws = format!("{}{}", "AKIA", "ABCDEFGHIJKLMNOP");
        assert_eq!(kinds(&Scanner::default().added(b"", aws.as_bytes())), ["AWS access key id"]);
        let pem = format!("-----BEGIN RSA {}-----\nMIIE", "PRIVATE KEY");
        assert_eq!(kinds(&Scanner::default().added(b"", pem.as_bytes())), ["private key"]);
    }

    #[test]
    fn a93_what_is_found_in_a_text_can_be_taken_out_of_it() {
        let (whole, key) = (token("ghp_", 36), "PRIVATE KEY");
        let text = format!("export T={whole}; echo done");
        assert_eq!(found(Text::Whole(&text)).collect::<Vec<_>>(), [("GitHub token", whole.as_str())]);
        let pem = format!("-----BEGIN RSA {key}-----\nMIIE\n-----END RSA {key}-----");
        let text = format!("echo '{pem}' > key; ls");
        assert_eq!(found(Text::Whole(&text)).collect::<Vec<_>>(), [("private key", pem.as_str())]);
        let open = format!("-----BEGIN RSA {key}-----\nMIIE and so on");
        assert_eq!(found(Text::Whole(&format!("x {open}"))).collect::<Vec<_>>(), [("private key", open.as_str())]);
        // Of a text that goes on, nobody knows how long its last word is.
        let begun = token("ghp_", 5);
        assert_eq!(found(Text::Whole(&begun)).count(), 0);
        assert_eq!(found(Text::Cut(&begun)).collect::<Vec<_>>(), [("GitHub token", begun.as_str())]);
        assert_eq!(found(Text::Cut(&format!("{begun} and more"))).count(), 0);
        assert_eq!(found(Text::Whole("ghp_ and \u{e9} \u{1f600} sk-")).count(), 0);
    }

    #[test]
    fn what_was_there_before_is_not_added() {
        let secret = token("ghp_", 36);
        let (old, new) = (format!("a {secret}"), format!("b\nc {secret}"));
        assert_eq!(Scanner::default().added(old.as_bytes(), new.as_bytes()), []);
        assert_eq!(Scanner::default().added(b"a", new.as_bytes()).len(), 1);
        let canary = b"canary-7f3a91c0".as_slice();
        assert_eq!(Scanner::with_canaries([canary]).added(canary, b"more canary-7f3a91c0"), []);
    }

    #[test]
    fn prose_about_tokens_is_not_a_token() {
        let text = b"tokens begin with ghp_ or glpat-; see sk-ant-... and AKIA. risk-antique npm_config_registry_and_more_words hf_hub";
        assert_eq!(Scanner::default().added(b"", text), []);
    }

    #[test]
    fn a_51_a_canary_is_found_in_the_usual_spellings() {
        let canary = b"canary-7f3a91c0-do-not-use";
        let scanner = Scanner::with_canaries([canary.as_slice()]);
        let hex: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut texts = vec![canary.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
        for padding in ["", "x", "xy", "xyz"] {
            let surrounded = [padding.as_bytes(), canary, b"tail"].concat();
            texts.push(base64::engine::general_purpose::STANDARD.encode(&surrounded).into_bytes());
            texts.push(base64::engine::general_purpose::URL_SAFE.encode(&surrounded).into_bytes());
        }
        for text in texts {
            assert_eq!(kinds(&scanner.added(b"", &text)), [CANARY], "{}", String::from_utf8_lossy(&text));
        }
        assert!(!format!("{scanner:?}").contains("canary-7f"));
        assert_eq!(scanner.added(b"", b"nothing planted here"), []);
    }

    #[test]
    fn hostile_bytes_are_read_to_the_end() {
        let many = token("ghp_", 36) + "\n";
        assert!(Scanner::default().added(b"", many.repeat(10_000).as_bytes()).len() <= FINDINGS_MAX);
        // Prefixes within prefixes: each shape passes over a byte a bounded number of times, so this ends.
        for bait in ["eyJ", "AKIA", "sk-", "sk-ant-", "-----BEGIN RSA PRIVATE KEY"] {
            let _ = Scanner::default()
                .added(bait.repeat(20_000).as_bytes(), format!("x{}", bait.repeat(100_000)).as_bytes());
        }
        for end in 0..40 {
            let cut: String = token("github_pat_", 82).chars().take(end).collect();
            let _ = Scanner::default().added(b"", cut.as_bytes());
        }
    }
}
