//! `credentials create-app`: a browser has a GitHub App made, and its key is stored. The command waits for the browser; the keeper
//! exchanges what it brings.

use std::time::Duration;

use clap::Args;
use selvedge_credentials::ManifestCode;
use serde_json::json;

use super::Common;
use super::callback::Callback;
use super::credentials::secret_from_input;
use super::people::{ask, text};
use crate::errors::{CliError, Kind};
use crate::keeper::{Request, SecretWord, State, connect};
use crate::output::Output;

/// Longest that a browser is waited for, in seconds. A person reads and names the App meanwhile; who needs longer begins anew.
const WITHIN_SECONDS_MAX: u64 = 600;

/// Have a GitHub App made.
#[derive(Debug, Args)]
pub(crate) struct CreateApp {
    /// The credential, as `selvedge.toml` names it.
    name: String,
    /// The organization that is to own the App; else the account of whoever uses the browser.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Wait for no browser: one has had the App made, and the code it came back with is read from standard input. The whole
    /// address where it ended will do. Until it is used the code is worth the key, so it is no argument.
    #[arg(long, conflicts_with = "within")]
    code: bool,
    /// How many seconds the browser is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = WITHIN_SECONDS_MAX,
          value_parser = clap::value_parser!(u64).range(1..=WITHIN_SECONDS_MAX))]
    within: u64,
}

impl CreateApp {
    pub(crate) fn run(&self, common: &Common, output: &Output) -> Result<u8, CliError> {
        let code = if self.code { code_from_input(output)? } else { self.wait(common, output)? };
        let (name, organization) = (self.name.clone(), self.organization.clone());
        let value = ask(common, output, &Request::MakeApp { name, organization, code })?;
        let (name, app, owner) = (&self.name, text(&value, "app"), text(&value, "owner"));
        output.heading(&format!("App {app} of {owner} is made; its key is stored, sealed, and lent to nobody"));
        output.line(format!("1. install it, on the repositories of `{name}` only: {}", text(&value, "install")));
        output.line(
            "2. the address where that ends has the installation's number last; write both into `selvedge.toml`:",
        );
        output.line(format!("     [credential.{name}.github-app]"));
        output.line(format!("     app          = \"{app}\""));
        output.line("     installation = <that number>");
        output.line(format!("3. give `{name}` a `probe` if it has none, and try it: selvedge doctor {name}"));
        Ok(0)
    }

    /// Waits for the browser that has the App made, and takes the code it comes back with. Meanwhile this process is nobody's keeper.
    fn wait(&self, common: &Common, output: &Output) -> Result<SecretWord, CliError> {
        let callback = Callback::open()?;
        let (name, organization) = (self.name.clone(), self.organization.clone());
        let session = connect(&State::locate(common.state.as_deref())?)?;
        let request = Request::PlanApp { name, organization, redirect: callback.redirect() };
        let form = session.ask(&request, &mut |_| ())?;
        output.document(&json!({ "page": callback.page(), "within_seconds": self.within }));
        output.line(format!("open this page, and have the App made there: {}", callback.page()));
        output.line("the browser may be on another machine if it can reach this port: from there,");
        output.line(format!("  ssh -L {port}:127.0.0.1:{port} <this machine>", port = callback.port()));
        output.line(format!("waiting for {} seconds; nothing is kept until the browser comes back", self.within));
        let (action, manifest) = (text(&form, "action"), text(&form, "manifest"));
        let code = callback.wait(action, manifest, Duration::from_secs(self.within), &|told| output.progress(told));
        code.map_err(|error| {
            let again = self.again();
            error.hint(format!("begin anew: {again}")).hint(format!(
                "if the App was made and only the browser did not get here, its code is in the address where it ended: \
                 {again} --code"
            ))
        })
    }

    /// What to type to do this again.
    fn again(&self) -> String {
        let owner = self.organization.as_ref().map(|name| format!(" --organization {name}"));
        format!("selvedge credentials create-app {}{}", self.name, owner.unwrap_or_default())
    }
}

/// The code, or the address it stands in.
fn code_from_input(output: &Output) -> Result<SecretWord, CliError> {
    let said = secret_from_input(output, "code")?;
    let query = said.expose().split_once('?').map_or("", |(_, query)| query);
    let in_address = query.split('&').find_map(|pair| pair.strip_prefix("code="));
    let code = in_address.unwrap_or(said.expose());
    // Looked at before anybody is asked for anything.
    ManifestCode::parse(code).map_err(|error| {
        CliError::caused(Kind::Usage, &error).hint("it stands behind `code=` in the address where the browser ended")
    })?;
    Ok(SecretWord::new(code.to_owned()))
}
