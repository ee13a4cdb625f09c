//! Coding agents as their vendors publish them, installed once beneath the target directory by `selvedge agents install`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let registry = Command::new("npm").args(["config", "get", "registry"]).current_dir("/").output();
    let registry = registry.unwrap_or_else(|error| panic!("npm: {error}; install Node.js and npm to run this test"));
    let registry = String::from_utf8(registry.stdout).unwrap();
    let mut command = scene.command(&["agents", "install", name]);
    let said = Said::of(&command.env("npm_config_registry", registry.trim()).output().unwrap());
    if let Some((_, tables)) = said.err.split_once("`selvedge.toml`:\n") {
        let mut text = std::fs::read_to_string(scene.config()).unwrap();
        text.push_str(&tables.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>());
        std::fs::write(scene.config(), text).unwrap();
    }
    let said = scene.run(&["agents", "install", name]);
    assert!(
        said.out.contains("is installed and started"),
        "{name} cannot be installed; `npm config get registry` has to name a registry that this machine reaches: {said:?}"
    );
}
