//! The remediation worker alone, outside any sandbox: for trying it on a workspace that you trust.

use std::process::ExitCode;

fn main() -> ExitCode {
    selvedge_workers::remediate::main(std::env::args_os().skip(1))
}
