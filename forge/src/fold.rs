//! Names as forgiving file systems compare them: what is one name on someone's machine should be one name to us.

/// Folds a `/`-separated path: case everywhere, the code points HFS+ ignores, the trailing dots, spaces and streams NTFS
/// drops. Not the two Unicode spellings of an accented letter.
pub(crate) fn folded(path: &str) -> String {
    path.split('/').map(folded_component).collect::<Vec<_>>().join("/")
}

fn folded_component(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !is_ignored(*c)).collect();
    let stem = visible.split(':').next().unwrap_or_default().trim_end_matches([' ', '.']);
    // A name of nothing else is kept as it is, so that it does not become another path.
    if stem.is_empty() { name.to_lowercase() } else { stem.to_lowercase() }
}

fn is_ignored(c: char) -> bool {
    matches!(u32::from(c), 0x200c..=0x200f | 0x202a..=0x202e | 0x206a..=0x206f | 0xfeff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_fold_to_it() {
        for text in [
            "a/.VsCode",
            "A/.vscode",
            "a/.vs\u{200c}code",
            "a/.vscode.",
            "a/.vscode. .",
            "a/.vscode::$DATA",
            "a./.vscode ",
        ] {
            assert_eq!(folded(text), "a/.vscode", "{text:?}");
        }
        assert_eq!(folded("..."), "...");
        assert_ne!(folded("a/b"), folded("ab"));
    }
}
