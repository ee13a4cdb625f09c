//! Policies from a directory. The only file here that opens files: everything else takes text.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::load::{BYTES_MAX, SOURCES_MAX};
use crate::{LoadError, Policies, SCHEMA_FILE};

/// Longest single file; also keeps a wrong path, such as a device, from filling memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Policies {
    /// Loads every `*.cedar` file of a directory.
    ///
    /// What else lies there is refused, hidden files, the schema and a `README.md` excepted: a guardrail whose name was
    /// misspelt, or that lies a directory deeper, must not be missing in silence.
    pub fn load(directory: &Path) -> Result<Self, LoadError> {
        let failed = |path: &Path, because: String| LoadError::Read { path: path.display().to_string(), because };
        let entries = fs::read_dir(directory).map_err(|error| failed(directory, error.to_string()))?;
        let mut sources = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let path = entry.map_err(|error| failed(directory, error.to_string()))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                return Err(failed(&path, "the file's name is not UTF-8".to_owned()));
            };
            match kind(&name) {
                Kind::Policies => {}
                Kind::Other if path.is_dir() => {
                    return Err(failed(&path, "directories inside are not read; put its files here".to_owned()));
                }
                Kind::Other => return Err(failed(&path, "policy files end in `.cedar`; rename or move it".to_owned())),
                Kind::Ignored => continue,
            }
            let text = read(&path).map_err(|because| failed(&path, because))?;
            bytes += text.len();
            sources.push((name, text));
            if sources.len() > SOURCES_MAX || bytes > BYTES_MAX {
                break; // `from_sources` tells which limit was passed.
            }
        }
        Self::from_sources(sources)
    }
}

enum Kind {
    Policies,
    Ignored,
    Other,
}

fn kind(name: &str) -> Kind {
    if name.starts_with('.') || name == SCHEMA_FILE || name == "README.md" {
        Kind::Ignored
    } else if name.ends_with(".cedar") {
        Kind::Policies
    } else {
        Kind::Other
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).map_or(true, |length| length > FILE_BYTES_MAX) {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes; split it"));
    }
    String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}
