//! A server of static files on loopback: the demonstration's registry. One request a connection, `GET` only, nothing but
//! what lies in the directory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::errors::{CliError, Kind};

/// Longest request head we read.
const HEAD_BYTES_MAX: u64 = 16 << 10;

/// How long a client may take.
const CLIENT_WITHIN: Duration = Duration::from_secs(10);

/// A server that lives as long as the process.
pub(super) struct Server {
    port: u16,
}

impl Server {
    /// The port on loopback.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// Serves `root`, whose clients know it as `https://<host>/`.
pub(super) fn serve(root: PathBuf, host: &'static str) -> Result<Server, CliError> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| CliError::caused(Kind::State, &error))?;
    let port = listener.local_addr().map_err(|error| CliError::caused(Kind::State, &error))?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || {
                let _client_gone = answer(stream, &root, host);
            });
        }
    });
    Ok(Server { port })
}

fn answer(stream: TcpStream, root: &Path, host: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CLIENT_WITHIN))?;
    let mut reader = BufReader::new(&stream).take(HEAD_BYTES_MAX);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or("");
    let body = match target.split('?').next().unwrap_or("") {
        "/index/config.json" => {
            Some(format!("{{\"dl\": \"https://{host}/crates/{{crate}}-{{version}}.crate\"}}").into_bytes())
        }
        path => file(root, path),
    };
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let mut stream = &stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

fn file(root: &Path, path: &str) -> Option<Vec<u8>> {
    let relative = Path::new(path.strip_prefix('/')?);
    let plain = relative.components().all(|component| matches!(component, Component::Normal(_)));
    plain.then(|| std::fs::read(root.join(relative)).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directory_is_served() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("root/in"), "in").unwrap();
        std::fs::write(dir.path().join("out"), "out").unwrap();
        let root = dir.path().join("root");
        assert_eq!(file(&root, "/in"), Some(b"in".to_vec()));
        for path in ["/../out", "//out", "/a/../../out", "out", "/"] {
            assert_eq!(file(&root, path), None, "{path}");
        }
    }
}
