//! What the documents tell people to write is what the command takes: every block of configuration and of policies in the README and the
//! guides loads.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::path::{Path, PathBuf};

use common::{Scene, agent};
use toml::{Table, Value};

/// What somebody has by the time they read a block: agents, a model and its key, a pipeline.
const BEFORE: &str = r##"
[registry.npm]
hosts = ["registry.npm.example"]
replace_with = "https://registry.npm.example/"

[model.main]
upstream = "https://api.anthropic.com"
protocols = ["anthropic-messages"]
credential = "anthropic"
price = [{ of = "claude-sonnet-4-5", input = 3.0, output = 15.0 }]

[credential.anthropic]
kind = "static"
owner = "team-shop@example.org"
uses = ["POST https://api.anthropic.com/"]

[agent.coder]
runtime = "claude-code"
model = "main"
budget = "5 USD"
owner = "team-shop@example.org"
purpose = "small features"
escalate = "#shop-oncall"
trust = "propose"
may = ["read", "write", "open-pr"]

[pipeline.fix]
stages = [{ name = "execute", agent = "fixer" }, { name = "review", agent = "reviewer" }]
"##;

/// A placeholder for what only the command can say.
const DIGEST: (&str, &str) = ("\"…\"", "\"597b3e58841b3aceb195fee53073c1e05dcec51ed85993e6cb672ca8e0f2c21b\"");

struct Block {
    /// Where it stands.
    place: String,
    text: String,
}

/// Every block that is fenced as `language`.
fn blocks(language: &str) -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guides = std::fs::read_dir(root.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = std::iter::once(root.join("README.md")).chain(guides).collect();
    pages.iter().flat_map(|page| blocks_of(page, language)).collect()
}

fn blocks_of(page: &Path, language: &str) -> Vec<Block> {
    let (text, fence) = (std::fs::read_to_string(page).unwrap(), format!("```{language}"));
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| **line == fence).map(|(at, _)| at + 1);
    let block = |at: usize| {
        let within: Vec<&str> = lines.iter().skip(at).take_while(|line| !line.starts_with("```")).copied().collect();
        Block { place: format!("{}:{at}", page.display()), text: within.join("\n") }
    };
    begins.map(block).collect()
}

/// Puts what a block says over what was there, table by table.
fn put(over: &mut Table, block: Table) {
    for (key, value) in block {
        match (over.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(new)) => put(there, new),
            (_, value) => drop(over.insert(key, value)),
        }
    }
}

#[test]
fn every_configuration_in_the_documents_loads_b3() {
    let scene = Scene::ready();
    let shop = format!("[repo.\"acme/shop\"]\npath = {:?}\nbranch = \"main\"\nchecks = [\"true\"]\n", scene.repo());
    let reporters = ["planner", "librarian"].map(|name| agent(name, "draft")).concat();
    let others = ["fixer", "reviewer"].map(|name| agent(name, "propose")).concat();
    let before: Table = toml::from_str(&format!("{shop}{reporters}{others}{BEFORE}")).unwrap();
    let blocks = blocks("toml");
    assert!(blocks.len() > 10, "the documents have no blocks any more, or this test does not find them");
    for Block { place, text } in blocks {
        let written: Table =
            toml::from_str(&text.replace(DIGEST.0, DIGEST.1)).unwrap_or_else(|e| panic!("{place}: {e}"));
        let mut whole = before.clone();
        put(&mut whole, written);
        std::fs::write(scene.config(), toml::to_string(&whole).unwrap()).unwrap();
        let said = scene.run(&["ps"]);
        assert!(said.status == 0, "{place} does not load: {said:?}");
    }
}

#[test]
fn every_policy_in_the_documents_loads_b3() {
    let scene = Scene::ready();
    let blocks = blocks("cedar");
    assert!(!blocks.is_empty(), "the documents have no policies any more, or this test does not find them");
    for Block { place, text } in blocks {
        std::fs::write(scene.state().join("policies/ours.cedar"), text).unwrap();
        let said = scene.run(&["policy", "check"]);
        assert!(said.status == 0, "{place} does not load: {said:?}");
    }
}
