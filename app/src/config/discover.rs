//! Reads, once, what the operator's own tools are configured to use: registries and toolchains (A-105: never from a repository).

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Largest tool configuration we read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Discovered {
    /// Hosts, as `host:port`, that the operator's cargo uses.
    pub(crate) cargo_hosts: BTreeSet<String>,
    /// The sparse registry that replaces the default one, when the operator configured that.
    pub(crate) cargo_replacement: Option<String>,
    /// Toolchains outside `/usr`.
    pub(crate) toolchains: Vec<PathBuf>,
    /// Hosts above that resolve to addresses that are not global.
    pub(crate) not_global: Vec<(String, Vec<IpAddr>)>,
    /// Things that were looked for and not found, in words for a person.
    pub(crate) notes: Vec<String>,
}

/// Looks around on behalf of the operator who runs `init`.
pub(crate) fn discover() -> Discovered {
    let mut found = Discovered::default();
    match cargo_home() {
        Some(home) => cargo(&home, &mut found),
        None => found.notes.push("no cargo home: set CARGO_HOME or HOME".to_owned()),
    }
    rust_toolchain(&mut found);
    found.not_global = found.cargo_hosts.iter().filter_map(|host| not_global(host)).collect();
    found
}

/// The registry that the operator's own client is told to use, as tables for `selvedge.toml`; none when nobody told it, or when its
/// address means nothing to a door. The client itself is not asked: started in a repository, it would answer by that repository's settings.
pub(crate) fn registry_tables(manager: &str) -> Option<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let in_home = |name: &str| read(&home.as_ref()?.join(name));
    let (variables, written) = match manager {
        "npm" => (["npm_config_registry", "NPM_CONFIG_REGISTRY"].as_slice(), in_home(".npmrc")),
        "pypi" => (["PIP_INDEX_URL"].as_slice(), in_home(".config/pip/pip.conf").or_else(|| in_home(".pip/pip.conf"))),
        _ => return None,
    };
    let named = variables.iter().find_map(|name| std::env::var(name).ok()).filter(|address| !address.is_empty());
    let setting = if manager == "npm" { "registry" } else { "index-url" };
    tables_of(manager, &named.or_else(|| set_to(&written?, setting))?)
}

/// What a client's settings say for everything.
fn set_to(text: &str, setting: &str) -> Option<String> {
    let named = |line: &str| Some(line.trim().strip_prefix(setting)?.trim_start().strip_prefix('=')?.trim().to_owned());
    text.lines().rev().find_map(named).filter(|address| !address.is_empty())
}

fn tables_of(manager: &str, address: &str) -> Option<String> {
    // A user and a password in it would lie in the configuration.
    let host = host_of(address).filter(|host| !host.contains('@'))?;
    let replace_with = Some(address.to_owned());
    let mut file = super::File::default();
    if let Some((name, allow)) = not_global(&host) {
        file.danger.addresses.insert(name, super::file::Addresses { allow, plain_port: None });
    }
    file.registry.insert(manager.to_owned(), super::file::Registry { hosts: vec![host], replace_with });
    let mut tables = toml::Table::try_from(&file).ok()?;
    tables.remove("factory");
    toml::to_string_pretty(&tables).ok()
}

fn cargo_home() -> Option<PathBuf> {
    let explicit = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    explicit.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

#[derive(Deserialize)]
struct CargoConfig {
    #[serde(default)]
    source: std::collections::BTreeMap<String, CargoSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CargoSource {
    replace_with: Option<String>,
    registry: Option<String>,
}

/// What a sparse index says about itself (The Cargo Book, "Index Configuration").
#[derive(Deserialize)]
struct IndexConfig {
    dl: String,
    api: Option<String>,
}

fn cargo(home: &Path, found: &mut Discovered) {
    if let Some(replacement) = replacement(home) {
        found.cargo_hosts.extend(host_of(&replacement));
        found.cargo_replacement = Some(replacement);
    }
    // Cargo names the directory of an index it used after the index's host.
    let used = std::fs::read_dir(home.join("registry/index")).into_iter().flatten().flatten();
    for index in used.filter(|index| index.path().join("config.json").is_file()) {
        let name = index.file_name().to_string_lossy().into_owned();
        let host = name.rsplit_once('-').map_or(name.as_str(), |(host, _)| host);
        if found.cargo_replacement.is_none() {
            found.cargo_hosts.insert(format!("{host}:443"));
        }
        let config = read(&index.path().join("config.json")).and_then(|text| serde_json::from_str(&text).ok());
        if let Some(IndexConfig { dl, api }) = config {
            found.cargo_hosts.extend(host_of(&dl));
            found.cargo_hosts.extend(api.as_deref().and_then(host_of));
        }
    }
    if found.cargo_hosts.is_empty() {
        found.notes.push(
            "cargo has used no registry here yet: run `cargo fetch` in any project, then `selvedge init` again"
                .to_owned(),
        );
    }
}

fn replacement(home: &Path) -> Option<String> {
    let text = ["config.toml", "config"].iter().find_map(|name| read(&home.join(name)))?;
    let config: CargoConfig = toml::from_str(&text).ok()?;
    let name = config.source.get("crates-io")?.replace_with.clone()?;
    config.source.get(&name)?.registry.clone()
}

fn read(path: &Path) -> Option<String> {
    (std::fs::metadata(path).ok()?.len() <= FILE_BYTES_MAX).then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// `host:port` of an address such as `sparse+https://host/path`.
fn host_of(address: &str) -> Option<String> {
    let address = address.strip_prefix("sparse+").unwrap_or(address);
    let (port, rest) = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
        (Some(rest), _) => (443, rest),
        (_, Some(rest)) => (80, rest),
        _ => return None,
    };
    let authority = rest.split(['/', '{', '?']).next().filter(|authority| !authority.is_empty())?;
    Some(if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") })
}

fn rust_toolchain(found: &mut Discovered) {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().ok();
    match sysroot.filter(|output| output.status.success()) {
        Some(output) => {
            let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            if !path.starts_with("/usr") {
                found.toolchains.push(path);
            }
        }
        None => {
            found.notes.push("no Rust toolchain on the path: install one, or list it under `toolchains`".to_owned())
        }
    }
}

fn not_global(host: &str) -> Option<(String, Vec<IpAddr>)> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let mut addresses: Vec<IpAddr> = host.to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    addresses.retain(|address| !selvedge_gateway::dial::address::is_global(*address));
    addresses.sort();
    addresses.dedup();
    (!addresses.is_empty()).then(|| (name.to_owned(), addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_of_npm_is_read_as_npm_writes_it() {
        let text = "//registry.example/:_authToken=x\nregistry=https://a.example/\n registry = https://b.example/npm/ \n@x:registry=https://c.example/\n";
        assert_eq!(set_to(text, "registry").as_deref(), Some("https://b.example/npm/"));
        assert_eq!(set_to("registry=\n; registry\n", "registry"), None);
        let tables = tables_of("npm", "https://b.invalid:8443/npm/").unwrap();
        assert_eq!(
            tables,
            "[registry.npm]\nhosts = [\"b.invalid:8443\"]\nreplace_with = \"https://b.invalid:8443/npm/\"\n"
        );
        assert_eq!(tables_of("npm", "https://user:secret@b.invalid/"), None);
    }

    #[test]
    fn the_index_of_pip_is_read_as_pip_writes_it() {
        let text = "[global]\ntrusted-host = c.example\nindex-url = https://a.example/simple\n";
        assert_eq!(set_to(text, "index-url").as_deref(), Some("https://a.example/simple"));
        let tables = tables_of("pypi", "https://b.invalid/simple").unwrap();
        assert!(tables.starts_with("[registry.pypi]\nhosts = [\"b.invalid:443\"]\n"), "{tables}");
        assert_eq!(registry_tables("cargo"), None);
    }

    #[test]
    fn hosts_are_read_from_every_form_cargo_uses() {
        assert_eq!(host_of("sparse+https://registry.example/index/"), Some("registry.example:443".to_owned()));
        assert_eq!(host_of("https://registry.example:8443/api/{crate}"), Some("registry.example:8443".to_owned()));
        assert_eq!(host_of("http://127.0.0.1:8000/x"), Some("127.0.0.1:8000".to_owned()));
        assert_eq!(host_of("file:///x"), None);
    }
}
