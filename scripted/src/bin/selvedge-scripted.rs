//! Serves a script from a file, for trying real agents by hand: `selvedge-scripted --script FILE [--listen 127.0.0.1:0]`.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use selvedge_scripted::{Script, Server};

const USAGE: &str = "usage: selvedge-scripted --script FILE [--listen ADDRESS:PORT]";

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads it, there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "selvedge-scripted: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let (mut script, mut listen) = (None, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match name.as_str() {
            "--script" => script = Some(value),
            "--listen" => listen = value.parse().map_err(|_| format!("`{value}` is no address with a port"))?,
            _ => return Err(USAGE.into()),
        }
    }
    let file = script.ok_or(USAGE)?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("`{file}` cannot be read: {error}"))?;
    let script = Script::parse(&text).map_err(|error| format!("`{file}`: {error}"))?;
    let server = Server::listen(script, listen).map_err(|error| format!("cannot listen at {listen}: {error}"))?;
    let mut out = std::io::stdout();
    writeln!(out, "http://{}", server.address())?;
    out.flush()?;
    // Says what it was asked as long as anybody listens; ends with a signal.
    let mut told = 0;
    loop {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let seen = server.seen();
        for request in seen.iter().skip(told) {
            let turn = request.turn.map_or_else(|| "no turn".to_owned(), |turn| format!("turn {turn}"));
            let refused = request.refused.as_deref().unwrap_or("-");
            writeln!(out, "{} {} {turn} {} tools, {refused}", request.status, request.path, request.tools.len())?;
        }
        if seen.len() > told {
            told = seen.len();
            writeln!(out, "{:?}", server.totals())?;
        }
        out.flush()?;
    }
}
