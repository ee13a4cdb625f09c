//! `[model.NAME]`: a model that agents may have answer through their model door.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_domain::{CredentialName, Duration, Endpoint, Loan, Method, ModelName, Reach};
use selvedge_gateway::http::path::CanonicalPath;
use selvedge_gateway::model::hosting::Hosting;
use selvedge_gateway::model::{Egress, Protocol};

use super::prices::Prices;
use super::{ConfigError, CredentialConfig, File, PLAIN_PATH, Reader, file, one_of, parse_endpoint};

/// Longest name a vendor may give a model.
const MODEL_BYTES_MAX: usize = 128;

/// How long a model may be silent where nobody said. One that reasons says nothing for minutes.
const PATIENCE: Duration = Duration::from_seconds(600);

/// A model that agents may have answer.
#[derive(Debug, Clone)]
pub(crate) struct ModelConfig {
    pub(crate) name: ModelName,
    /// Where it is.
    pub(crate) upstream: Endpoint,
    /// What stands before the protocol's own paths, or those of whoever runs it.
    pub(crate) base_path: String,
    /// Who runs it.
    pub(crate) hosting: Hosting,
    /// What they are called there, of those that have another name.
    pub(crate) called: BTreeMap<String, String>,
    pub(crate) protocols: BTreeSet<Protocol>,
    /// What the door puts into its requests.
    pub(crate) credential: Option<CredentialName>,
    /// What agents call those that may be asked, and what each costs. The first written is the one agents are told to use.
    pub(crate) prices: BTreeMap<String, Prices>,
    pub(crate) first: String,
    /// How long it may be silent, before its answer and within it.
    pub(crate) patience: Duration,
    pub(crate) egress: BTreeSet<Egress>,
}

/// It goes into arguments of agents and files of settings.
pub(super) fn is_model_name(name: &str) -> bool {
    let mark = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
    (1..=MODEL_BYTES_MAX).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(mark)
}

impl ModelConfig {
    /// What an agent's door is lent for it.
    pub(crate) fn loans(&self) -> impl Iterator<Item = Loan> {
        let beneath = format!("{}{}", self.base_path, self.hosting.beneath());
        let uses = Reach {
            endpoint: self.upstream.clone(),
            methods: [Method::Post].into(),
            path_prefix: if beneath.is_empty() { "/".to_owned() } else { beneath },
        };
        self.credential.iter().map(move |credential| Loan { credential: credential.clone(), uses: uses.clone() })
    }
}

impl Reader<'_> {
    pub(super) fn models(
        &self,
        file: &File,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<BTreeMap<ModelName, ModelConfig>, ConfigError> {
        let read = |(name, written): (&String, &file::Model)| {
            let model = self.model(&format!("model.{name}"), name, written, credentials)?;
            Ok((model.name.clone(), model))
        };
        file.model.iter().map(read).collect()
    }

    fn model(
        &self,
        key: &str,
        name: &str,
        written: &file::Model,
        credentials: &BTreeMap<CredentialName, CredentialConfig>,
    ) -> Result<ModelConfig, ConfigError> {
        let name = ModelName::parse(name).or_else(|bad| self.bad(key, bad.to_string()))?;
        let (upstream, base_path) = self.upstream(&format!("{key}.upstream"), &written.upstream)?;
        let mut protocols = BTreeSet::new();
        for word in &written.protocols {
            let known = || one_of(word, Protocol::ALL.iter().map(|protocol| protocol.as_str()));
            let parsed = Protocol::parse(word);
            protocols.insert(parsed.map_or_else(|| self.bad(format!("{key}.protocols"), known()), Ok)?);
        }
        let mut egress = BTreeSet::new();
        for word in &written.egress {
            let known = || one_of(word, Egress::ALL.iter().map(|egress| egress.as_str()));
            egress.insert(Egress::parse(word).map_or_else(|| self.bad(format!("{key}.egress"), known()), Ok)?);
        }
        let prices = self.prices(&format!("{key}.price"), &written.price)?;
        let Some(first) = written.price.first().map(|price| price.of.clone()) else {
            return self.bad(
                format!("{key}.price"),
                "is empty: write what each model that may be asked costs, `price = [{ of = \"NAME\", input = 3.0, output = 15.0 }]`",
            );
        };
        if protocols.is_empty() {
            return self.bad(format!("{key}.protocols"), "is empty: name the protocol it speaks");
        }
        let credential = match &written.credential {
            None => None,
            Some(word) => match CredentialName::parse(word).ok().filter(|name| credentials.contains_key(name)) {
                Some(name) => Some(name),
                None => {
                    let because = one_of(word, credentials.keys().map(CredentialName::as_str));
                    return self.bad(format!("{key}.credential"), because);
                }
            },
        };
        let patience = written.patience.as_deref().map(|text| self.span(&format!("{key}.patience"), text));
        let patience = patience.transpose()?.unwrap_or(PATIENCE);
        let (hosting, called) = (self.hosting(key, written)?, written.called.clone());
        let model = ModelConfig {
            name,
            upstream,
            base_path,
            hosting,
            called,
            protocols,
            credential,
            prices,
            first,
            patience,
            egress,
        };
        self.fits_its_hosting(key, &model, credentials)?;
        for loan in model.loans() {
            let uses = credentials.get(&loan.credential).map(|credential| &credential.uses);
            if !uses.is_some_and(|uses| uses.iter().any(|uses| uses.contains(&loan.uses))) {
                let because = format!("`{}` is not for `{}`: add that to its `uses`", loan.credential, loan.uses);
                return self.bad(format!("{key}.credential"), because);
            }
        }
        Ok(model)
    }

    /// `https://host[:port][/path]`.
    pub(super) fn upstream(&self, key: &str, text: &str) -> Result<(Endpoint, String), ConfigError> {
        let read = || {
            let rest = text.strip_prefix("https://")?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let base = if path.is_empty() { String::new() } else { format!("/{}", path.trim_end_matches('/')) };
            let canonical = CanonicalPath::parse(&format!("{base}/")).ok()?;
            (canonical.as_str() == format!("{base}/")).then_some(())?;
            Some((parse_endpoint(authority)?, base))
        };
        let because = || format!("`{text}` is not `https://<host>` or `https://<host>/<path>`{PLAIN_PATH}");
        read().map_or_else(|| self.bad(key, because()), Ok)
    }
}
