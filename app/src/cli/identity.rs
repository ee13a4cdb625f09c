//! `identity`: what others need to verify the factory's identities, as the documents they read.

use clap::Subcommand;

use super::Common;
use super::people::ask;
use crate::errors::CliError;
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
}

impl Identity {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        let document = match self {
            Self::Jwks => Document::Jwks,
            Self::Bundle => Document::Bundle,
            Self::Discovery => Document::Discovery,
        };
        let value = ask(common, output, &Request::Published(document))?;
        // With `--json` that was said already; it is JSON without, too.
        output.line(value.to_string());
        Ok(0)
    }
}
