//! Clients as they are shipped, for programs inside a sandbox.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Client libraries, installed once beneath the target directory, in the form of a toolchain.
pub(crate) fn clients() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity-clients");
    std::fs::create_dir_all(directory.join("bin")).unwrap();
    // Tests are processes that run side by side, and each of them comes here.
    let one_at_a_time = std::fs::File::create(directory.join("lock")).unwrap();
    one_at_a_time.lock().unwrap();
    let rust = Path::new(env!("CARGO_BIN_EXE_selvedge")).with_file_name("examples").join("spiffe_client");
    // Not one of the executables that cargo builds for a single test file.
    // Another test may be running the one that lies there, which can be replaced and not written to.
    let (new, client) = (directory.join("bin/spiffe_client.new"), directory.join("bin/spiffe_client"));
    let copied = std::fs::copy(&rust, &new).and_then(|_| std::fs::rename(&new, &client));
    copied.unwrap_or_else(|error| panic!("{}: {error}; `cargo build --workspace --examples` makes it", rust.display()));
    if !directory.join("py/authlib").exists() {
        let target = directory.join("py");
        said(
            Command::new("/usr/bin/python3").args(["-m", "pip", "install", "--quiet", "--target"]).arg(target).args([
                "spiffe==0.3.2",
                "authlib==1.9.6",
                "requests>=2",
            ]),
        );
    }
    if !directory.join("node/node_modules/@grpc/grpc-js").exists() {
        let prefix = directory.join("node");
        said(
            Command::new("npm")
                .args(["install", "--silent", "--prefix"])
                .arg(prefix)
                .args(["@grpc/grpc-js@1", "@grpc/proto-loader@0.8"]),
        );
    }
    directory
}

fn said(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
