//! `identity`: what others need to verify the factory's identities, as the documents they read.

use clap::Subcommand;
use serde_json::Value;

use super::Common;
use super::credentials::secret_from_input;
use super::people::ask;
use crate::errors::{CliError, Kind};
use crate::keeper::{Document, Request};
use crate::output::Output;

/// Print what relying parties need to verify the identities of runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// The keys of identity tokens (JWKS, RFC 7517).
    Jwks,
    /// The keys of tokens and certificates (SPIFFE bundle).
    Bundle,
    /// Where the keys are, for OpenID Connect (discovery document).
    Discovery,
    /// Say whether a token lives (RFC 7662), for the service it was shown to: `selvedge identity introspect --audience
    /// https://cloud.example < token`. Ends with 102 when it does not.
    Introspect {
        /// The service that was shown it, as the token names it.
        #[arg(long)]
        audience: String,
    },
}

impl Identity {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let document = match self {
            Self::Jwks => Document::Jwks,
            Self::Bundle => Document::Bundle,
            Self::Discovery => Document::Discovery,
            Self::Introspect { audience } => return introspect(common, output, audience),
        };
        let value = ask(common, output, &Request::Published(document))?;
        // With `--json` that was said already; it is JSON without, too.
        output.line(value.to_string());
        Ok(0)
    }
}

fn introspect(common: &Common, output: &mut Output, audience: &str) -> Result<u8, CliError> {
    let token = secret_from_input(output, "token")?;
    let value = ask(common, output, &Request::Introspect { audience: audience.to_owned(), token })?;
    output.line(value.to_string());
    let is_active = value.get("active").and_then(Value::as_bool) == Some(true);
    Ok(if is_active { 0 } else { Kind::Refused as u8 })
}
