//! The prober as a program of its own.

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    std::process::exit(selvedge_prober::main(&arguments))
}
