//! Real clients inside a governed sandbox, as they are shipped and with no configuration of their own: each reaches a granted
//! host through the run's door, trusts the run's certificate authority, and gets nowhere else.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use common::{Scene, agent, text};

/// A host nobody else has (RFC 6761).
const HOST: &str = "files.selvedge.test";

/// What every client is asked to fetch in its own way. A line is printed for each that got it.
const FETCH: &str = r#"
exec 2>&1
cd /tmp
curl --fail --silent --show-error https://HOST/hello && echo curl got it
git clone --quiet https://HOST/repo.git cloned && cat cloned/src/greeting && echo git got it
node -e "fetch('https://HOST/hello').then(r => r.text()).then(t => console.log(t.trim() + '\nnode got it'))"
npm view @scope/sample version --registry https://HOST/npm/ && echo npm got it
/usr/bin/python3 -c "import urllib.request; print(urllib.request.urlopen('https://HOST/hello').read().decode() + 'python got it')"
/usr/bin/python3 -m pip --quiet download --no-deps --index-url https://HOST/simple --dest . sample && ls sample-1.0.0-py3-none-any.whl && echo pip got it
cargo init --quiet --vcs none --name fetches fetches && echo 'sample = "1"' >> fetches/Cargo.toml
cargo fetch --manifest-path fetches/Cargo.toml && ls $CARGO_HOME/registry/cache/*/sample-1.0.0.crate && echo cargo got it
"#;

#[test]
fn every_client_we_promise_trusts_the_run_s_authority_from_inside_e1() {
    let scene = Scene::ready();
    let port = serve(site(&scene));
    scene.configure(
        "checks = [\"sh tests/run.sh\"]",
        &format!(
            "{}reach = [\"GET https://{HOST}/\"]\n[factory]\ntoolchains = [{:?}]\n\
             [registry.cargo]\nhosts = [{HOST:?}]\nreplace_with = \"https://{HOST}/index/\"\n\
             [danger.addresses.\"{HOST}\"]\nallow = [\"127.0.0.1\"]\nplain_port = {port}\n",
            agent("clients", "draft"),
            said(Command::new("rustc").args(["--print", "sysroot"])),
        ),
    );
    let script = FETCH.replace("HOST", HOST);
    let run = scene.run(&["run", "--agent", "clients", "--wait", "--json", &script]).document()["runs"][0].clone();
    let output = scene.run(&["output", text(&run, "run")]).ok().out;
    let missing: Vec<&str> = ["curl", "git", "node", "npm", "python", "pip", "cargo"]
        .into_iter()
        .filter(|client| !output.contains(&format!("{client} got it")))
        .collect();
    assert!(missing.is_empty(), "{missing:?} did not get through, or are not installed:\n{output}\n{run}");
    // They came through the door, each request an order of its own.
    let show = scene.json(&["show", text(&run, "run")]);
    let asked = show["entries"].as_array().unwrap().iter().filter(|entry| entry["detail"]["verb"] == "http.request");
    assert!(asked.count() >= 2 * 7, "every request is decided and its answer recorded: {show}");
}

/// Everything the clients may find there, by path.
fn site(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let dir = scene.path("site");
    std::fs::create_dir_all(dir.join("sample-1.0.0/src")).unwrap();
    let mut site = BTreeMap::from([("/hello".to_owned(), b"hello\n".to_vec())]);
    repository(scene, &dir, &mut site);
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();

    let manifest = "[package]\nname = \"sample\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    std::fs::write(dir.join("sample-1.0.0/Cargo.toml"), manifest).unwrap();
    std::fs::write(dir.join("sample-1.0.0/src/lib.rs"), "").unwrap();
    said(Command::new("tar").args(["-czf", &at("sample.crate"), "-C", &at(""), "sample-1.0.0"]));
    let checksum = said(Command::new("sha256sum").arg(at("sample.crate")));
    let checksum = checksum.split(' ').next().unwrap();
    let line = format!(
        "{{\"name\":\"sample\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{checksum}\",\"features\":{{}},\"yanked\":false}}"
    );
    site.insert("/index/config.json".to_owned(), format!("{{\"dl\":\"https://{HOST}/crates\"}}").into_bytes());
    site.insert("/index/sa/mp/sample".to_owned(), line.into_bytes());
    site.insert("/crates/sample/1.0.0/download".to_owned(), std::fs::read(at("sample.crate")).unwrap());

    let package = "{\"name\":\"@scope/sample\",\"dist-tags\":{\"latest\":\"1.0.0\"},\"versions\":{\"1.0.0\":\
                   {\"name\":\"@scope/sample\",\"version\":\"1.0.0\",\"dist\":{\"tarball\":\"https://nowhere.test/x\"}}}}";
    site.insert("/npm/@scope/sample".to_owned(), package.as_bytes().to_vec());

    let wheel = "sample-1.0.0-py3-none-any.whl";
    said(Command::new("/usr/bin/python3").args(["-c", PACK_WHEEL, &at(wheel)]));
    site.insert("/simple/sample/".to_owned(), format!("<a href=\"/files/{wheel}\">{wheel}</a>").into_bytes());
    site.insert(format!("/files/{wheel}"), std::fs::read(at(wheel)).unwrap());
    site
}

/// The scene's own repository as plain files, which is what git asks a plain server for.
fn repository(scene: &Scene, dir: &Path, site: &mut BTreeMap<String, Vec<u8>>) {
    let bare = dir.join("repo.git");
    scene.git(&["clone", "--quiet", "--bare", ".", &bare.to_string_lossy()]);
    said(Command::new("git").arg("-C").arg(&bare).arg("update-server-info"));
    let mut directories = vec![bare.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                site.insert(format!("/{name}"), std::fs::read(&path).unwrap());
            }
        }
    }
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

/// Serves these paths on loopback in clear text, as long as the test lives; the door adds TLS. Returns the port.
fn serve(site: BTreeMap<String, Vec<u8>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = std::sync::Arc::new(site);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let site = std::sync::Arc::clone(&site);
            std::thread::spawn(move || answer(&stream, &site));
        }
    });
    port
}

fn answer(mut stream: &TcpStream, site: &BTreeMap<String, Vec<u8>>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let path = request.split(' ').nth(1)?.split('?').next()?;
    let (status, body) = site.get(path).map_or(("404 Not Found", &b""[..]), |body| ("200 OK", body));
    let kind = if path.starts_with("/simple/") { "text/html" } else { "text/plain" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
