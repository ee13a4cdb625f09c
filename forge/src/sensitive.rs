//! Paths that someone else's machine will run or obey after a change is delivered (attacks ).
//!
//! A name here is no verdict: policy asks for more before such a change leaves, and the proposal calls it out. The list
//! errs towards asking, and compares without case because some systems do.

mod names;

use std::fmt;

use selvedge_domain::RepoPath;

use crate::fold::folded;

use names::{DIRECTORIES, FILES, SUFFIXES};

/// Who acts on the file, long after the run's sandbox is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActedOnBy {
    /// The forge's automation: workflows, pipelines, ownership and merge rules.
    Ci,
    /// A build or package manager, on whoever's machine builds.
    Build,
    /// An editor or development environment, when the folder is opened.
    Editor,
    /// Another agent, as instructions or tools.
    Agent,
    /// Git itself: attributes, submodules, hooks.
    Git,
    /// A shell or environment manager that acts on entering the directory.
    Shell,
}

impl ActedOnBy {
    /// The word in policies and proposals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Build => "build",
            Self::Editor => "editor",
            Self::Agent => "agent",
            Self::Git => "git",
            Self::Shell => "shell",
        }
    }
}

impl fmt::Display for ActedOnBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who would act on a file at `path`, if anyone. Ask about removed paths as well: a rule that is gone no longer protects.
pub fn acted_on_by(path: &RepoPath) -> Option<ActedOnBy> {
    let path = folded(path.as_str());
    let name = path.rsplit('/').next().unwrap_or(&path);
    // The slash at the end finds a link that stands in a directory's place: what it leads to is opened under this name.
    let slashed = format!("/{path}/");
    let directory = DIRECTORIES.iter().find(|(dir, _)| slashed.contains(&format!("/{dir}")));
    let file = || FILES.iter().find(|(file, _)| *file == name);
    let suffix = || SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix));
    directory.or_else(file).or_else(suffix).map(|(_, by)| *by)
}

/// Whether a symlink at `path` may lead out of the repository or into git's own directory (attack A-27).
///
/// Judged by the target's text alone, and towards yes: a target that passes through another link is not looked up.
pub fn leads_outside(path: &RepoPath, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else { return true };
    if target.starts_with(['/', '\\', '~']) || target.contains(':') || target.contains('\\') {
        return true;
    }
    let mut depth = path.as_str().matches('/').count();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            name if RepoPath::parse(name.as_bytes()).is_err() => return true,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::ActedOnBy::{Agent, Build, Ci, Editor, Git, Shell};
    use super::*;

    fn who(path: &str) -> Option<ActedOnBy> {
        acted_on_by(&RepoPath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_34_what_others_run_or_obey_is_named() {
        for (path, by) in [
            (".github/workflows/ci.yml", Ci),
            (".GitHub/Workflows/ci.yml", Ci),
            (".github/CODEOWNERS", Ci),
            ("docs/.gitlab-ci.yml", Ci),
            (".vscode/tasks.json", Editor),
            ("sub/.vscode/tasks.json", Editor),
            ("Makefile", Build),
            ("rules/common.mk", Build),
            ("crates/x/build.rs", Build),
            ("package.json", Build),
            ("web/package.json", Build),
            (".cargo/config.toml", Build),
            (".mcp.json", Agent),
            ("AGENTS.md", Agent),
            ("sub/Claude.md", Agent),
            (".claude/settings.json", Agent),
            (".gitattributes", Git),
            ("vendor/.gitmodules", Git),
            (".husky/pre-commit", Git),
            (".envrc", Shell),
            // A link in the place of a directory, and spellings that some systems take for the same.
            (".vscode", Editor),
            ("sub/.claude", Agent),
            (".vs\u{200c}code/tasks.json", Editor),
            (".vscode./tasks.json", Editor),
            ("AGENTS.md::$DATA", Agent),
            ("Makefile.", Build),
            ("web/vite.config.ts", Build),
            ("infra/main.tf", Build),
        ] {
            assert_eq!(who(path), Some(by), "{path}");
        }
    }

    #[test]
    fn ordinary_files_are_not_called_out() {
        for path in [
            "src/lib.rs",
            "README.md",
            "docs/github/workflows.md",
            "src/claude.rs",
            "mygithub/x",
            "src/makefile.rs",
            "a.github/x",
        ] {
            assert_eq!(who(path), None, "{path}");
        }
    }

    #[test]
    fn a_27_links_that_may_lead_outside_are_told_from_links_that_stay() {
        let at =
            |path: &str, target: &str| leads_outside(&RepoPath::parse(path.as_bytes()).unwrap(), target.as_bytes());
        for (path, target) in [
            ("l", "/etc/passwd"),
            ("l", "../x"),
            ("a/l", "../../x"),
            ("a/l", "b/../../../x"),
            ("l", ".git/hooks"),
            ("a/l", "../.GIT/config"),
            ("l", "C:/x"),
            ("l", "..\\x"),
            ("l", "~/x"),
        ] {
            assert!(at(path, target), "{path} -> {target}");
        }
        assert!(leads_outside(&RepoPath::parse(b"l").unwrap(), b"\xff"));
        for (path, target) in [("l", "a/b"), ("a/l", "../b"), ("a/b/l", "../../c"), ("l", "./a"), ("l", "a/../b")] {
            assert!(!at(path, target), "{path} -> {target}");
        }
    }

    #[test]
    fn the_table_is_lower_case_because_paths_are_compared_so() {
        for (text, _) in DIRECTORIES.iter().chain(FILES).chain(SUFFIXES) {
            assert_eq!(*text, text.to_lowercase());
        }
    }
}
