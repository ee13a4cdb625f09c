//! Coding agents as their vendors publish them, installed once beneath the target directory by `selvedge agents install`.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_gateway::dial::address::is_global;

use super::{Said, Scene};

/// A scene in which this agent is installed, from the registry that the npm of whoever runs this uses (some 400 MB, once).
pub(crate) fn with_agent(name: &str) -> Scene {
    let kept = kept(name);
    let scene = Scene::copied(&kept, "agents");
    // Not those of the day on which it was installed.
    let policies = scene.state().join("policies");
    std::fs::remove_dir_all(&policies).unwrap();
    let fresh = Scene::ready();
    let copied = Command::new("cp").arg("-a").arg(fresh.state().join("policies")).arg(&policies).status().unwrap();
    assert!(copied.success());
    scene
}

/// Where it is kept; made by the first who asks, while others wait.
fn kept(name: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coding-agents");
    std::fs::create_dir_all(&all).unwrap();
    let lock = File::create(all.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let kept = all.join(name);
    if !(kept.exists() && is_installed(&Scene::copied(&kept, "agents"), name)) {
        let scene = Scene::ready();
        install(&scene, name);
        if kept.exists() {
            std::fs::remove_dir_all(&kept).unwrap();
        }
        let made = kept.with_extension("made");
        let _left_over = std::fs::remove_dir_all(&made);
        assert!(Command::new("cp").arg("-a").arg(scene.path(".")).arg(&made).status().unwrap().success());
        std::fs::rename(made, &kept).unwrap();
    }
    kept
}

/// Whether the version this build knows is the one that lies there; a state that an older build left may not even be read.
fn is_installed(scene: &Scene, name: &str) -> bool {
    let said = scene.run(&["agents", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    let all = listed["runtimes"].as_array().cloned().unwrap_or_default();
    all.iter().any(|runtime| runtime["name"] == name && runtime["is_installed"] == true)
}

/// Installs it, with the registry's tables as `selvedge` itself says they are to be.
pub(crate) fn install(scene: &Scene, name: &str) {
    let mut command = scene.command(&["agents", "install", name]);
    if let Some(npm) = said_by("npm", &["config", "get", "registry"]) {
        command.env("npm_config_registry", npm);
    }
    let said = Said::of(&command.output().unwrap());
    let mut text = std::fs::read_to_string(scene.config()).unwrap();
    if let Some((_, tables)) = said.err.split_once("`selvedge.toml`:\n") {
        text.push_str(&tables.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>());
    } else if said.err.contains("[registry.pypi]") {
        text.push_str(&pypi());
    }
    std::fs::write(scene.config(), text).unwrap();
    let said = scene.run(&["agents", "install", name]);
    if !said.out.contains("is installed and started") {
        let run = said.out.split("`selvedge output ").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or("");
        panic!(
            "{name} cannot be installed; a registry that this machine reaches has to be named: {said:?}\n{:?}",
            scene.run(&["output", run])
        );
    }
}

/// The hosts that the system's pip goes to where nobody tells it otherwise; one that is told has an index of its own.
fn pypi() -> String {
    let hosts = "from urllib.parse import urlsplit\nfrom pip._internal.models.index import PyPI\n\
                 print(urlsplit(PyPI.url).netloc, PyPI.file_storage_domain)";
    let hosts = said_by("/usr/bin/python3", &["-c", hosts]).unwrap();
    let hosts: Vec<&str> = hosts.split_whitespace().collect();
    let mut addresses = String::new();
    for host in &hosts {
        let found = (*host, 443).to_socket_addrs().into_iter().flatten().map(|found| found.ip());
        let not_global: BTreeSet<String> =
            found.filter(|found| !is_global(*found)).map(|found| found.to_string()).collect();
        if !not_global.is_empty() {
            addresses.push_str(&format!("[danger.addresses.\"{host}\"]\nallow = {:?}\n", Vec::from_iter(not_global)));
        }
    }
    format!("[registry.pypi]\nhosts = {hosts:?}\n{addresses}")
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir("/").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install it to run this test"));
    let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
