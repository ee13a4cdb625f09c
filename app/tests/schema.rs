//! The published schema is the one the command prints.

use std::path::Path;
use std::process::Command;

#[test]
fn the_published_schema_is_the_one_in_force() {
    let printed = Command::new(env!("CARGO_BIN_EXE_selvedge")).arg("schema").output().unwrap();
    assert!(printed.status.success());
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/selvedge.schema.json");
    let published = std::fs::read_to_string(published).unwrap();
    assert_eq!(
        String::from_utf8(printed.stdout).unwrap(),
        published,
        "write `selvedge schema` to docs/selvedge.schema.json"
    );
}
