//! A GitHub App for a credential: which form has it made, and the key that comes of it. The browser is the command's to wait for.

use selvedge_authority::KeyChange;
use selvedge_credentials::{AppPlan, CreationError, ManifestCode, Organization};
use selvedge_domain::CredentialName;
use selvedge_factory::ports::Clock as _;
use serde_json::{Value, json};

use super::ask_credentials::{configured, own, record};
use super::hall::Keeper;
use super::message::SecretWord;
use crate::config::Source;
use crate::errors::{CliError, Kind};

/// The form that has an App made: where it is posted, and the manifest.
pub(super) fn plan(
    keeper: &Keeper,
    name: &str,
    organization: Option<&str>,
    redirect: &str,
    uid: u32,
) -> Result<Value, CliError> {
    let (_, plan) = planned(keeper, name, organization, uid)?;
    Ok(json!({ "action": plan.registration(), "manifest": plan.manifest(redirect) }))
}

/// Exchanges a code for an App's key, and keeps the key. It is recorded first: what cannot be recorded is not kept.
pub(super) fn make(
    keeper: &Keeper,
    name: &str,
    organization: Option<&str>,
    code: &SecretWord,
    uid: u32,
) -> Result<Value, CliError> {
    let (name, plan) = planned(keeper, name, organization, uid)?;
    let code = ManifestCode::parse(code.expose()).map_err(|error| {
        CliError::caused(Kind::Usage, &error).hint("it stands behind `code=` in the address where the browser ended")
    })?;
    let works = &keeper.works;
    let app = plan.exchange(&code, &*works.courier()).map_err(|error| {
        let owner = organization.map(|name| format!(" --organization {name}")).unwrap_or_default();
        not_made(&name, &plan, &format!("selvedge credentials create-app {name}{owner}"), &error)
    })?;
    let lost = |error: CliError| error.hint(of_no_use(&name, &plan));
    // Somebody may have stored one while the forge thought about it, and that is not overwritten unasked.
    has_no_key(keeper, &name).map_err(lost)?;
    record(keeper, &name, KeyChange::Made { app: app.id }, uid).map_err(lost)?;
    let put = works.lending.minting.put(&name, &app.key, works.now());
    put.map_err(|error| lost(CliError::caused(Kind::State, &error)))?;
    Ok(json!({
        "credential": name.as_str(),
        "app": app.id.to_string(),
        "owner": app.owner,
        "install": format!("{}/installations/new", app.page),
    }))
}

/// What is to be made, if it may be.
fn planned(
    keeper: &Keeper,
    name: &str,
    organization: Option<&str>,
    uid: u32,
) -> Result<(CredentialName, AppPlan), CliError> {
    own(uid)?;
    let (name, config) = configured(keeper, name)?;
    let Source::GithubApp(settings) = config.source else {
        return Err(CliError::new(Kind::Usage, format!("credential `{name}` is not made by a GitHub App"))
            .hint("`selvedge.toml` says of one that is: `kind = \"github-app\"`"));
    };
    has_no_key(keeper, &name)?;
    let organization = organization.map(Organization::parse).transpose();
    let organization = organization.map_err(|error| {
        CliError::caused(Kind::Usage, &error).hint("write its name as in its address: `--organization acme`")
    })?;
    let plan = AppPlan::new(settings, organization).map_err(|error| {
        CliError::caused(Kind::Config, &error)
            .hint(format!("mend `credential.{name}.github-app.url` in `selvedge.toml`"))
    })?;
    Ok((name, plan))
}

/// A key that is there is not overwritten: what it made may only end with it.
fn has_no_key(keeper: &Keeper, name: &CredentialName) -> Result<(), CliError> {
    let stored = keeper.works.lending.minting.stored_since(name);
    let Some(since) = stored.map_err(|error| CliError::caused(Kind::State, &error))? else { return Ok(()) };
    Err(CliError::new(Kind::Refused, format!("a key is stored for credential `{name}` since {since}"))
        .hint(format!("to have another App instead, forget this one's first: selvedge credentials remove {name}"))
        .hint(format!("to give the same App another key: selvedge credentials store {name} < private-key.pem")))
}

/// What went wrong, and what to do about the App that there may be now.
fn not_made(name: &CredentialName, plan: &AppPlan, anew: &str, error: &CreationError) -> CliError {
    let again = format!(
        "the code is good for an hour after it was given: `{anew} --code` takes it from the address where the browser ended"
    );
    match error {
        CreationError::NotAsked(_) | CreationError::NotGiven(_) => {
            CliError::caused(Kind::Unanswered, error).hint(again).hint("look whether the forge is in trouble")
        }
        CreationError::NoSuchCode => {
            CliError::caused(Kind::NotFound, error).hint(format!("begin anew: {anew}")).hint(of_no_use(name, plan))
        }
        CreationError::Lost(_) | CreationError::Malformed(_) => {
            CliError::caused(Kind::Unanswered, error).hint(of_no_use(name, plan))
        }
        CreationError::Wide => CliError::caused(Kind::Refused, error).hint(of_no_use(name, plan)),
        CreationError::OfAnother { owner, .. } => CliError::caused(Kind::Refused, error)
            .hint(format!("delete it in the settings of {owner}"))
            .hint("name the organization that is to own it with `--organization`, or none for your own account"),
    }
}

/// An App whose key nobody kept.
fn of_no_use(name: &CredentialName, plan: &AppPlan) -> String {
    format!(
        "if the App is listed at {}, delete it there; or make it a private key there, and store that: \
         selvedge credentials store {name} < private-key.pem",
        plan.apps()
    )
}
