//! The shapes of well-known tokens, as their issuers document them. Adding one is one line.

/// A fixed prefix and what must follow it.
pub(super) struct Shape {
    pub(super) kind: &'static str,
    prefix: &'static str,
    body: fn(u8) -> bool,
    body_bytes_min: usize,
}

/// The kind of what is no token, but a file.
pub(super) const PRIVATE_KEY: &str = "private key";

/// What stands behind the last byte of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Nothing.
    Whole,
    /// Something that is not known.
    Cut,
}

/// Far longer than any token; bounds one match.
const TOKEN_BYTES_MAX: usize = 4096;

pub(super) const SHAPES: &[Shape] = &[
    shape("AWS access key id", "AKIA", upper, 16),
    shape("AWS access key id", "ASIA", upper, 16),
    shape("GitHub token", "ghp_", alphanumeric, 36),
    shape("GitHub token", "gho_", alphanumeric, 36),
    shape("GitHub token", "ghu_", alphanumeric, 36),
    shape("GitHub token", "ghs_", alphanumeric, 36),
    shape("GitHub token", "ghr_", alphanumeric, 36),
    shape("GitHub token", "github_pat_", word, 50),
    shape("GitLab token", "glpat-", url_safe, 20),
    shape("GitLab token", "gldt-", url_safe, 20),
    shape("GitLab token", "glrt-", url_safe, 20),
    shape("Anthropic key", "sk-ant-", url_safe, 40),
    shape("OpenAI key", "sk-proj-", url_safe, 40),
    shape("OpenAI key", "sk-svcacct-", url_safe, 40),
    shape("OpenAI key", "sk-", alphanumeric, 48),
    shape("Google API key", "AIza", url_safe, 35),
    shape("Slack token", "xoxb-", url_safe, 30),
    shape("Slack token", "xoxp-", url_safe, 30),
    shape("Slack token", "xoxa-", url_safe, 30),
    shape("Slack token", "xapp-", url_safe, 30),
    shape("Stripe key", "sk_live_", alphanumeric, 24),
    shape("Stripe key", "rk_live_", alphanumeric, 24),
    shape("npm token", "npm_", alphanumeric, 36),
    shape("PyPI token", "pypi-AgE", url_safe, 50),
    shape("crates.io token", "cio", alphanumeric, 32),
    shape("Hugging Face token", "hf_", alphanumeric, 30),
    shape("Vault token", "hvs.", url_safe, 24),
    shape("Vault token", "hvb.", url_safe, 24),
    shape("DigitalOcean token", "dop_v1_", alphanumeric, 64),
    shape("SendGrid key", "SG.", dotted, 60),
    shape("age secret key", "AGE-SECRET-KEY-1", upper, 58),
    shape("JSON web token", "eyJ", dotted, 80),
    shape(PRIVATE_KEY, "-----BEGIN PRIVATE KEY", dash, 5),
    shape(PRIVATE_KEY, "-----BEGIN RSA PRIVATE KEY", dash, 5),
    shape(PRIVATE_KEY, "-----BEGIN EC PRIVATE KEY", dash, 5),
    shape(PRIVATE_KEY, "-----BEGIN DSA PRIVATE KEY", dash, 5),
    shape(PRIVATE_KEY, "-----BEGIN OPENSSH PRIVATE KEY", dash, 5),
    shape(PRIVATE_KEY, "-----BEGIN ENCRYPTED PRIVATE KEY", dash, 5),
    shape(PRIVATE_KEY, "-----BEGIN PGP PRIVATE KEY BLOCK", dash, 5),
];

const fn shape(kind: &'static str, prefix: &'static str, body: fn(u8) -> bool, body_bytes_min: usize) -> Shape {
    Shape { kind, prefix, body, body_bytes_min }
}

impl Shape {
    /// Every token of this shape, with its place.
    pub(super) fn all_in<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = (usize, &'t [u8])> {
        self.ending_in(text, Ends::Whole)
    }

    /// The same; where the text was cut, what may go on behind its end is one as well.
    pub(super) fn ending_in<'t>(&self, text: &'t [u8], ends: Ends) -> impl Iterator<Item = (usize, &'t [u8])> {
        let mut from = 0;
        std::iter::from_fn(move || {
            loop {
                let at = from + super::find(text.get(from..)?, self.prefix.as_bytes())?;
                let after = at + self.prefix.len();
                from = after;
                if self.continues_a_word(text, at) {
                    continue;
                }
                let body =
                    text.get(after..)?.iter().take(TOKEN_BYTES_MAX).take_while(|byte| (self.body)(**byte)).count();
                let goes_on = ends == Ends::Cut && after + body == text.len();
                if body < self.body_bytes_min && !goes_on {
                    continue;
                }
                // Never back into a long body: a file of nothing but prefixes would be read once per prefix.
                from = after + body;
                let token = text.get(at..from)?;
                if goes_on || self.is_whole(token) {
                    return Some((at, token));
                }
            }
        })
    }

    /// Whether the prefix is the middle of a longer word, as in `risk-ant-`.
    fn continues_a_word(&self, text: &[u8], at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        before.is_some_and(|byte| byte.is_ascii_alphanumeric()) && !self.prefix.starts_with('-')
    }

    /// A web token has three parts of which the second is JSON too; other shapes need no second look.
    fn is_whole(&self, token: &[u8]) -> bool {
        self.prefix != "eyJ" || super::find(token, b".eyJ").is_some()
    }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    url_safe(byte) || byte == b'.'
}

fn dash(byte: u8) -> bool {
    byte == b'-'
}
