//! The `selvedge` command: the only place that knows which adapters exist.
//!
//! The same executable is entered by another name where a smaller program is needed: the launcher, the door process, the client of ACP, the
//! remediation worker, the prober and the demonstration's obedient agent. Each name leads straight into its crate and nowhere else.

use std::path::Path;
use std::process::ExitCode;

mod cli;
mod config;
mod demo;
mod errors;
mod keeper;
mod output;
mod wiring;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    match name {
        "selvedge-jail" => selvedge_jail::main(),
        "selvedge-door" => selvedge_gateway::main(),
        selvedge_workers::acp::PROGRAM => selvedge_workers::acp::main(),
        selvedge_workers::remediate::PROGRAM => selvedge_workers::remediate::main(arguments),
        "selvedge-prober" => ExitCode::from(u8::try_from(selvedge_prober::main(&words(arguments))).unwrap_or(u8::MAX)),
        selvedge_scripted::OBEDIENT => ExitCode::from(selvedge_scripted::obey(&words(arguments))),
        _ => cli::main(),
    }
}

fn words(arguments: std::env::ArgsOs) -> Vec<String> {
    arguments.map(|word| word.to_string_lossy().into_owned()).collect()
}
