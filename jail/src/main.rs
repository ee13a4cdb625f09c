//! The launcher as a program of its own.

fn main() {
    selvedge_jail::main()
}
