//! The demonstration itself: what a newcomer types first has to end well.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Said, Scene, fields};

#[test]
fn the_demonstration_ends_in_a_proposal_and_with_nothing_got_through() {
    assert!(common::is_root(), "needs root: the attacks are first tried without the fence");
    let scene = Scene::new();
    let mut demo = scene.command(&["demo", "--json"]);
    // It looks for a Rust toolchain where the operator has one.
    demo.env("HOME", std::env::var_os("HOME").unwrap());
    let demo = Said::of(&demo.output().unwrap()).ok().document();
    assert_eq!(fields(&demo), ["attacks_not_shown", "attacks_refused", "entries", "kept", "proposal"], "{demo}");
    assert_eq!(demo["proposal"], 1);
    assert!(demo["attacks_refused"].as_u64().unwrap() >= 60, "{demo}");
}
