//! The door of one run as a program of its own, for installations that ship it beside the main one.

fn main() -> std::process::ExitCode {
    selvedge_gateway::main()
}
