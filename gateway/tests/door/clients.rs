//! Package managers as they are shipped, configured as a sandbox configures them.

use std::path::Path;
use std::process::Command;

use crate::world::{World, connect, exchange};

/// Serves a sparse cargo registry with one crate.
fn serve_registry(world: &World) {
    let package = world.directory().join("sample-1.0.0");
    std::fs::create_dir_all(package.join("src")).unwrap();
    std::fs::write(
        package.join("Cargo.toml"),
        "[package]\nname = \"sample\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
    )
    .unwrap();
    std::fs::write(package.join("src/lib.rs"), "").unwrap();
    let archive = world.directory().join("sample.crate");
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(world.directory()).arg("sample-1.0.0"));
    let digest = run(Command::new("sha256sum").arg(&archive));
    let checksum = digest.split(' ').next().unwrap();
    let entry =
        format!(r#"{{"name":"sample","vers":"1.0.0","deps":[],"cksum":"{checksum}","features":{{}},"yanked":false}}"#);
    let configuration = r#"{"dl":"https://registry.example/dl/{crate}/{version}.crate"}"#;
    world.tls.serve("/index/config.json", configuration.into());
    world.tls.serve("/index/sa/mp/sample", entry.into());
    world.tls.serve("/dl/sample/1.0.0.crate", std::fs::read(archive).unwrap());
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A project that needs the crate, and a cargo home that knows the registry.
fn write_project(directory: &Path) {
    std::fs::create_dir_all(directory.join("src")).unwrap();
    std::fs::create_dir_all(directory.join("home")).unwrap();
    let manifest = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nsample = \"1\"\n[workspace]\n";
    std::fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(directory.join("src/lib.rs"), "").unwrap();
    let sources = "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+https://registry.example/index/\"\n";
    std::fs::write(directory.join("home/config.toml"), sources).unwrap();
}

#[test]
fn cargo_fetches_a_crate_through_the_door() {
    let world = World::start();
    serve_registry(&world);
    let project = world.directory().join("project");
    write_project(&project);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for inherited in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ] {
        cargo.env_remove(inherited);
    }
    cargo
        .args(["fetch", "--quiet"])
        .current_dir(&project)
        .env("CARGO_HOME", project.join("home"))
        .env("CARGO_HTTP_PROXY", format!("http://{}", world.proxy))
        .env("CARGO_HTTP_CAINFO", world.ca_file());
    run(&mut cargo);
    let lock = std::fs::read_to_string(project.join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"sample\"\nversion = \"1.0.0\""), "{lock}");
    let asked: Vec<_> = world.keeper.asked.lock().unwrap().iter().map(|ask| ask.path.clone()).collect();
    assert_eq!(asked, ["/index/config.json", "/index/sa/mp/sample", "/dl/sample/1.0.0.crate"]);
}

/// Packs the smallest wheel that pip takes.
const PACK_WHEEL: &str = r"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    about = 'sample-1.0.0.dist-info/'
    wheel.writestr(about + 'METADATA', 'Metadata-Version: 2.1\nName: sample\nVersion: 1.0.0\n')
    wheel.writestr(about + 'WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr(about + 'RECORD', '')
";

#[test]
fn pip_fetches_a_package_through_the_door() {
    let world = World::start();
    let wheel = world.directory().join("sample-1.0.0-py3-none-any.whl");
    run(Command::new("python3").args(["-c", PACK_WHEEL]).arg(&wheel));
    world.tls.serve(
        "/simple/sample/",
        br#"<a href="/files/sample-1.0.0-py3-none-any.whl">sample-1.0.0-py3-none-any.whl</a>"#.to_vec(),
    );
    world.tls.serve("/files/sample-1.0.0-py3-none-any.whl", std::fs::read(&wheel).unwrap());
    let target = world.directory().join("target");
    let path = std::env::var_os("PATH").unwrap_or_default();
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "--isolated",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "download",
            "--no-deps",
            "--quiet",
        ])
        .args([
            "--index-url",
            "https://registry.example/simple",
            "--proxy",
            &format!("http://{}", world.proxy),
            "--dest",
        ])
        .arg(&target)
        .arg("--cert")
        .arg(world.ca_file())
        .arg("sample")
        .env_clear()
        .env("PATH", path)
        .env("HOME", world.directory()));
    assert!(target.join("sample-1.0.0-py3-none-any.whl").exists());
}

#[test]
fn npm_fetches_a_scoped_package_through_the_door() {
    let world = World::start();
    let package = world.directory().join("package");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("package.json"), r#"{"name":"@scope/sample","version":"1.0.0"}"#).unwrap();
    let archive = world.directory().join("sample.tgz");
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(world.directory()).arg("package"));
    let digest = run(Command::new("sha1sum").arg(&archive));
    let shasum = digest.split(' ').next().unwrap();
    let tarball = "https://registry.example/@scope/sample/-/sample-1.0.0.tgz";
    let version =
        format!(r#"{{"name":"@scope/sample","version":"1.0.0","dist":{{"tarball":"{tarball}","shasum":"{shasum}"}}}}"#);
    let index =
        format!(r#"{{"name":"@scope/sample","dist-tags":{{"latest":"1.0.0"}},"versions":{{"1.0.0":{version}}}}}"#);
    world.tls.serve("/@scope/sample", index.into());
    world.tls.serve("/@scope/sample/-/sample-1.0.0.tgz", std::fs::read(&archive).unwrap());
    run(Command::new("npm")
        .args(["pack", "@scope/sample", "--registry", "https://registry.example/", "--https-proxy"])
        .arg(format!("http://{}", world.proxy))
        .args(["--update-notifier=false", "--cafile"])
        .arg(world.ca_file())
        .current_dir(world.directory())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", world.directory()));
    assert!(world.directory().join("scope-sample-1.0.0.tgz").exists());
    let asked: Vec<_> = world.keeper.asked.lock().unwrap().iter().map(|ask| ask.path.clone()).collect();
    // npm wrote `/@scope%2fsample`.
    assert!(asked.iter().any(|path| path == "/@scope/sample"), "{asked:?}");
}

#[test]
fn an_npm_scope_is_one_package_however_its_slash_is_written() {
    let world = World::start();
    world.clear.serve("/@types/node", b"the package".to_vec());
    for path in ["/@types%2fnode", "/@types%2Fnode", "/@types/node"] {
        let request = format!("GET http://registry.example{path} HTTP/1.1\r\nHost: registry.example\r\n\r\n");
        assert!(exchange(&mut connect(world.proxy), &request).ends_with("the package"), "{path}");
    }
    assert!(world.keeper.asked.lock().unwrap().iter().all(|ask| ask.path == "/@types/node"));
}
