//! Single values: each is read into what it means, or refused by its key with what to write instead. A value that means
//! nothing would otherwise show much later, as a run that never starts or a file looked for in the wrong place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use selvedge_credentials::{AUDIENCE_BYTES_MAX, IssuerName, OWN_AUDIENCE};
use selvedge_domain::{Autonomy, Duration, HostPattern, Owner, Trust};
use selvedge_gateway::ProxyLogin;
use selvedge_workers::agents::Adapter;

use super::file::{Factory, File, Limits, Network};
use super::{AD_HOC, AgentFile, ConfigError, Proxy, RECERTIFY_DEFAULT, Reader, Runtime, one_of};

impl Reader<'_> {
    /// The trust domain is also the host of the issuer's URL, so both have to accept it.
    pub(super) fn issuer(&self, factory: &Factory) -> Result<IssuerName, ConfigError> {
        let written = &factory.trust_domain;
        let Ok(own) = IssuerName::parse(&format!("https://{written}"), written) else {
            return self.bad(
                "factory.trust_domain",
                format!("`{written}` is not a trust domain; write a lower-case host name, such as `selvedge.internal`"),
            );
        };
        let Some(url) = &factory.issuer else { return Ok(own) };
        IssuerName::parse(url, written).or_else(|bad| self.bad("factory.issuer", bad.to_string()))
    }

    /// Nobody is granted our own audience, which every run has, nor one that a token could not carry.
    pub(super) fn audiences(&self, key: &str, written: &[String]) -> Result<BTreeSet<String>, ConfigError> {
        let bad = |audience: &String| {
            let length = 1..=AUDIENCE_BYTES_MAX;
            audience == OWN_AUDIENCE
                || !length.contains(&audience.len())
                || !audience.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(audience) = written.iter().find(|audience| bad(audience)) {
            let audience = audience.escape_debug();
            let because =
                format!("`{audience}` is not an audience; write the URL or name that a service accepts tokens for");
            return self.bad(format!("{key}.audiences"), because);
        }
        Ok(written.iter().cloned().collect())
    }

    /// `http://<host>:<port>` and nothing else: a password in it would lie in the configuration.
    pub(super) fn proxy(&self, network: &Network) -> Result<Option<Proxy>, ConfigError> {
        let user = network.proxy_user.clone();
        let Some(written) = &network.proxy else {
            return match user {
                None => Ok(None),
                Some(_) => self.bad("network.proxy_user", "is for a proxy, and `network.proxy` names none"),
            };
        };
        if written.contains('@') {
            let because = "holds a user; name it in `proxy_user`, and store its password with `selvedge credentials store --proxy`";
            return self.bad("network.proxy", because);
        }
        let named = written.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let named = named.and_then(|named| named.rsplit_once(':'));
        let parsed = named.and_then(|(host, port)| Some((HostPattern::parse(host)?, port.parse().ok()?)));
        let Some((host, port @ 1..)) = parsed else {
            let because =
                format!("`{written}` is not a proxy; write `http://<host>:<port>`, which is spoken to in clear text");
            return self.bad("network.proxy", because);
        };
        // What cannot be written for `Basic` whatever the password.
        if user.as_ref().is_some_and(|user| ProxyLogin::new(user, "x").is_none()) {
            return self.bad("network.proxy_user", "is not a user: letters, digits and signs without a colon");
        }
        Ok(Some(Proxy { host, port, user }))
    }

    pub(super) fn publish(&self, factory: &Factory) -> Result<Option<PathBuf>, ConfigError> {
        factory.publish.as_deref().map(|path| self.absolute("factory.publish", path)).transpose()
    }

    /// Whoever set the factory up, where nobody is named.
    pub(super) fn owner(&self, factory: &Factory) -> Result<Owner, ConfigError> {
        match Owner::parse(factory.owner.as_deref().unwrap_or("the operator")) {
            Some(owner) => Ok(owner),
            None => {
                self.bad("factory.owner", "is empty: name the person or team that answers for the factory's own keys")
            }
        }
    }

    /// How long a person's word for an agent, a credential or the factory is good.
    pub(super) fn recertify(&self, key: &str, own: Option<&str>, file: &File) -> Result<Duration, ConfigError> {
        match (own, file.factory.recertify.as_deref()) {
            (Some(own), _) => self.span(&format!("{key}.recertify"), own),
            (None, Some(all)) => self.span("factory.recertify", all),
            (None, None) => Ok(RECERTIFY_DEFAULT),
        }
    }

    /// What an agent's owner registers it as. What nobody graded is taken for what it could become, so that no control is missing.
    pub(super) fn autonomy(&self, key: &str, written: &AgentFile, trust: Trust) -> Result<Autonomy, ConfigError> {
        if let Some(word) = &written.autonomy {
            return Autonomy::parse(word).map_or_else(
                || self.bad(format!("{key}.autonomy"), one_of(word, Autonomy::ALL.iter().map(|grade| grade.as_str()))),
                Ok,
            );
        }
        let is_fixed = written.model.is_none() && written.credentials.is_empty() && trust < Trust::Release;
        Ok(if is_fixed { Autonomy::BoundedAutomation } else { Autonomy::Autonomous })
    }

    pub(super) fn level(&self, factory: &Factory) -> Result<Option<String>, ConfigError> {
        match factory.sandbox.as_deref() {
            None | Some("full" | "user") => Ok(factory.sandbox.clone()),
            Some(level) => self.bad("factory.sandbox", format!("`{level}` is not a level; use `full` or `user`")),
        }
    }

    /// The number of the group that may use the control socket.
    pub(super) fn people(&self, factory: &Factory) -> Result<Option<u32>, ConfigError> {
        let Some(name) = &factory.people else { return Ok(None) };
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let number = groups.lines().find_map(|line| match line.split(':').collect::<Vec<_>>().as_slice() {
            [group, _, number, ..] if group == name => number.parse().ok(),
            _ => None,
        });
        match number {
            Some(number) => Ok(Some(number)),
            None => self.bad("factory.people", format!("there is no group `{name}` on this machine")),
        }
    }

    pub(super) fn toolchains(&self, factory: &Factory) -> Result<Vec<PathBuf>, ConfigError> {
        let toolchain = |path: &PathBuf| {
            let path = self.absolute("factory.toolchains", path)?;
            if path.is_dir() {
                return Ok(path);
            }
            let because = format!("`{}` is not a directory; name one that holds a `bin`", path.display());
            self.bad("factory.toolchains", because)
        };
        factory.toolchains.iter().map(toolchain).collect()
    }

    /// What the agent runs as. Only the built-in agent may leave its program to whoever asks for a run.
    pub(super) fn runtime(&self, key: &str, name: &str, written: &super::AgentFile) -> Result<Runtime, ConfigError> {
        if let Some(adapter) = Adapter::named(&written.runtime) {
            return self.coding_agent(key, adapter, written);
        }
        if written.runtime == "acp" {
            return self.any_acp(key, written);
        }
        if written.acp.is_some() {
            return self.bad(format!("{key}.acp"), "belongs to `runtime = \"acp\"` and to coding agents that speak it");
        }
        match (written.runtime.as_str(), written.command.as_slice()) {
            ("remediate", []) => Ok(Runtime::Remediate),
            ("remediate", _) => {
                self.bad(format!("{key}.command"), "belongs to `runtime = \"command\"` and `runtime = \"acp\"`")
            }
            ("command", []) if name == AD_HOC => Ok(Runtime::Command(Vec::new())),
            ("command", command) if command.first().is_some_and(|program| !program.trim().is_empty()) => {
                Ok(Runtime::Command(command.to_vec()))
            }
            ("command", _) => self.bad(
                format!("{key}.command"),
                "names no program; write it with its arguments, such as `command = [\"./tools/fix.sh\", \"{text}\"]`",
            ),
            (other, _) => self.no_runtime(key, other),
        }
    }

    /// No attempt can live on nothing of one kind.
    pub(super) fn limits(&self, key: &str, written: &Limits) -> Result<Limits, ConfigError> {
        let key = |name: &str| format!("{key}.limits.{name}");
        Ok(Limits {
            memory_mib: self.at_least_one(&key("memory_mib"), written.memory_mib)?,
            processes: self.at_least_one(&key("processes"), written.processes)?,
            disk_mib: self.at_least_one(&key("disk_mib"), written.disk_mib)?,
            files: self.at_least_one(&key("files"), written.files)?,
        })
    }

    pub(super) fn at_least_one<N: Default + PartialEq>(&self, key: &str, number: N) -> Result<N, ConfigError> {
        if number == N::default() {
            return self.bad(key, "is 0, with which nothing could ever run; write 1 or more, or leave it out");
        }
        Ok(number)
    }

    /// A relative path would mean another place for every directory a command is called in.
    pub(super) fn absolute(&self, key: &str, path: &Path) -> Result<PathBuf, ConfigError> {
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        self.bad(key, format!("`{}` is relative; write the whole path, beginning with `/`", path.display()))
    }

    /// An empty check passes whatever there is.
    pub(super) fn checks(&self, key: &str, commands: &[String]) -> Result<Vec<String>, ConfigError> {
        if commands.iter().any(|command| command.trim().is_empty()) {
            return self.bad(key, "holds an empty command, which would pass anything; write a command, or remove it");
        }
        Ok(commands.to_vec())
    }

    /// A name that was given elsewhere in the file.
    pub(super) fn known<N: Display + Clone, T>(
        &self,
        key: &str,
        written: &str,
        known: &BTreeMap<N, T>,
    ) -> Result<N, ConfigError> {
        match known.keys().find(|name| name.to_string() == written) {
            Some(name) => Ok(name.clone()),
            None => {
                let names: Vec<String> = known.keys().map(ToString::to_string).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                self.bad(key, format!("`{written}` is not configured; known are: {names}"))
            }
        }
    }

    pub(super) fn said(&self, key: &str, field: &str, text: &str) -> Result<String, ConfigError> {
        if text.trim().is_empty() {
            return self.bad(format!("{key}.{field}"), "is empty: an agent without it cannot be registered");
        }
        Ok(text.to_owned())
    }

    pub(super) fn span(&self, key: &str, text: &str) -> Result<Duration, ConfigError> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let seconds = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => 0,
        };
        match number.parse::<u64>() {
            Ok(number) if number > 0 && seconds > 0 => Ok(Duration::from_seconds(number.saturating_mul(seconds))),
            _ => self.bad(key, format!("`{text}` is not a span of time; write `30s`, `15m`, `24h` or `7d`")),
        }
    }
}
