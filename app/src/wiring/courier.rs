//! Who asks the providers of credentials: a courier process for each question, and the providers the configuration names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use selvedge_credentials::{
    Aws, Body, Brought, Courier, CourierError, Errand, Exchange, Forgejo, GithubApp, Gitlab, OpenBao, Provider, Reads,
    Secret, StoredKeyLoans,
};
use selvedge_domain::Duration;
use selvedge_gateway::courier::{self, Failed};
use selvedge_gateway::{FieldName, RunAs};
use selvedge_sandbox::DOOR_ID;
use zeroize::Zeroizing;

use super::danger::dangers_at;
use super::proxy::WayOut;
use super::{Lending, Works};
use crate::config::{Config, Danger, PATIENCE, Source};

/// Starts couriers.
struct Couriers {
    executable: PathBuf,
    roots_pem: String,
    danger: Vec<Danger>,
    way_out: WayOut,
    /// How long one answer is waited for.
    patience: std::time::Duration,
}

impl Courier for Couriers {
    fn carry(&self, errand: &Errand) -> Result<Brought, CourierError> {
        let not_asked = |why: &str| CourierError::NotAsked(why.to_owned());
        let text =
            |secret: &Secret| String::from_utf8(secret.expose().to_vec()).map_err(|_| not_asked("a field is no text"));
        let field = |(name, value): &(&'static str, Secret)| {
            let name = FieldName::parse(name).ok_or_else(|| not_asked("a field's name carries no credential"))?;
            Ok((name, Zeroizing::new(text(value)?)))
        };
        let errand = courier::Errand {
            endpoint: errand.endpoint.clone(),
            method: errand.method,
            target: errand.target.clone(),
            fields: errand.fields.iter().map(field).collect::<Result<_, CourierError>>()?,
            body: errand.body.as_ref().map(|body| match body {
                Body::Json(json) => ("application/json".to_owned(), Zeroizing::new(json.expose().to_vec())),
                Body::Form(form) => {
                    ("application/x-www-form-urlencoded".to_owned(), Zeroizing::new(form.expose().to_vec()))
                }
            }),
            reads: match errand.reads {
                Reads::Json => courier::Reads::Json,
                Reads::Xml { why } => courier::Reads::Xml { why: why.to_owned() },
            },
            wants: errand.wants.clone(),
            counts: errand.counts.clone(),
            dangers: dangers_at(&self.danger, &errand.endpoint),
            roots_pem: self.roots_pem.clone(),
            proxy: self.way_out.upstream().map_err(CourierError::NotAsked)?,
            patience: self.patience,
        };
        let brought = courier::carry(&self.executable, door_rights(), &errand).map_err(|failed| match failed {
            Failed::NotAsked(why) => CourierError::NotAsked(why),
            Failed::AnswerLost(why) => CourierError::AnswerLost(why),
        })?;
        let found = brought.found.into_iter().map(|(pointer, value)| (pointer, Secret::new(value.into_bytes())));
        Ok(Brought {
            status: brought.status,
            retry_after: brought.retry_after.map(|wait| Duration::from_seconds(wait.as_secs())),
            found: found.collect::<BTreeMap<_, _>>(),
        })
    }
}

/// Whose rights a door, and a courier, runs with.
pub(super) fn door_rights() -> RunAs {
    if rustix::process::getuid().is_root() { RunAs::Ids { uid: DOOR_ID, gid: DOOR_ID } } else { RunAs::Keeper }
}

impl Lending {
    fn couriers(
        &self,
        config: &Config,
        executable: PathBuf,
        roots_pem: String,
        patience: Duration,
    ) -> Arc<dyn Courier> {
        let way_out = WayOut { proxy: config.proxy.clone(), password: Arc::clone(&self.proxy) };
        let patience = std::time::Duration::from_millis(patience.as_millis());
        Arc::new(Couriers { executable, roots_pem, danger: config.danger.clone(), way_out, patience })
    }

    /// Every provider the configuration names.
    pub(super) fn providers(&self, config: &Config, executable: PathBuf, roots_pem: String) -> Vec<Arc<dyn Provider>> {
        let stored: Arc<dyn Provider> = Arc::new(StoredKeyLoans::new(Arc::clone(&self.keys), self.store.clone()));
        let elsewhere = config.credentials.values().filter_map(|credential| -> Option<Arc<dyn Provider>> {
            let couriers = self.couriers(config, executable.clone(), roots_pem.clone(), credential.patience);
            let issuer = Arc::clone(&self.identities.issuer);
            let minting = Arc::clone(&self.minting);
            match &credential.source {
                Source::Static => None,
                Source::OpenBao(settings) => Some(Arc::new(OpenBao::new(settings.clone(), issuer, couriers))),
                Source::Exchange(settings) => Some(Arc::new(Exchange::new(settings.clone(), issuer, couriers))),
                Source::GithubApp(settings) => Some(Arc::new(GithubApp::new(settings.clone(), minting, couriers))),
                Source::Gitlab(settings) => Some(Arc::new(Gitlab::new(settings.clone(), minting, couriers))),
                Source::Aws(settings) => Some(Arc::new(Aws::new(settings.clone(), issuer, couriers))),
                Source::Forgejo(settings) => Some(Arc::new(Forgejo::new(settings.clone(), minting, couriers))),
            }
        });
        self.identities.providers().into_iter().chain([stored]).chain(elsewhere).collect()
    }
}

impl Works {
    /// Who asks somebody elsewhere, as the configuration in force has it.
    pub(crate) fn courier(&self) -> Arc<dyn Courier> {
        self.lending.couriers(&self.config(), self.executable.clone(), self.roots_pem.clone(), PATIENCE)
    }

    /// Takes up the providers of the configuration in force.
    pub(super) fn configure_lending(&self) {
        let providers = self.lending.providers(&self.config(), self.executable.clone(), self.roots_pem.clone());
        self.lending.leases.configure(providers);
    }
}
