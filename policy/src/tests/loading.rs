//! What does not load, and how that is told: file, line, column, and what would do instead.

use std::fs;

use crate::{LoadError, Policies};

fn load(sources: &[(&str, &str)]) -> Result<Policies, LoadError> {
    Policies::from_sources(sources.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

fn refusal(text: &str) -> String {
    match load(&[("team.cedar", text)]) {
        Ok(_) => panic!("must not load: {text}"),
        Err(error) => error.to_string(),
    }
}

/// One golden line per way to be refused.
#[test]
fn every_refusal_says_where_and_what_to_do() {
    let wrong = [
        "permit (principal, action, resource);",
        "@id(\"a\")\npermit (principal, action, resource);",
        "@id(\"a\") @owner(\" \")\npermit (principal, action, resource);",
        "@id(\"Big Name\") @owner(\"o\")\npermit (principal, action, resource);",
        "@id(\"a\") @owner(\"o\") @mode(\"shaddow\") permit (principal, action, resource);",
        "@id(\"a\") @owner(\"o\") @mod(\"shadow\") permit (principal, action, resource);",
        "@id(\"a\") @owner(\"o\") @next_step(\"one\\ntwo\") permit (principal, action, resource);",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action, resource);\n\n@id(\"a\") @owner(\"o\")\nforbid (principal, action, resource);",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action == Action::\"proposal.opn\", resource);",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action == Action::\"credential.mint\", resource)\nwhen { context.order.ttl_second <= 900 };",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action == Action::\"credential.mint\", resource)\nwhen { context.order.ttl_seconds <= \"900\" };",
        "@id(\"a\") @owner(\"o\")\npermit (principal is Agnet, action, resource);",
        "@id(\"a\") @owner(\"o\")\nforbid (principal, action, resource) when { Agent::\"ghost\".trust_rank < 3 };",
        "@id(\"a\") @owner(\"o\")\nforbid (principal, action, resource) when { principal.trust_rank < 3 };",
        "@id(\"a\") @owner(\"o\")\npermit (principal == ?principal, action, resource);",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action, resource)",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action, resource) when { true;",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action, resource) when { context.run.intent == \"ru\u{202e}n\" };",
        "@id(\"a\") @owner(\"o\")\npermit (principal, action, resource) when { context.run.intent == \"\\u{202e}n\" };",
        "@id(\"a\") @owner(\"o\") // harmless \u{2066} comment\npermit (principal, action, resource);",
    ];
    let escaped = |text: &str| text.replace(|c: char| !c.is_ascii(), "?");
    let told: Vec<String> = wrong.iter().map(|text| format!("{}\n--> {}\n", escaped(text), refusal(text))).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    let bad = "permit (principal, action, resource);\npermit (";
    let error = load(&[("b.cedar", bad), ("a.cedar", bad)]).unwrap_err();
    let places: Vec<String> = error.problems().iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(places[0], "a.cedar:1:1");
    assert!(places.iter().any(|place| place.starts_with("b.cedar:2:")), "{places:?}");
}

#[test]
fn the_digest_follows_the_text_and_not_the_order_of_files() {
    let (a, b) = (("a.cedar", r#"@id("a") @owner("o") permit (principal, action, resource);"#), ("b.cedar", "// b"));
    let one = load(&[a, b]).unwrap();
    assert_eq!(one.digest(), load(&[b, a]).unwrap().digest());
    assert_ne!(one.digest(), load(&[a, ("b.cedar", "// c")]).unwrap().digest());
}

#[test]
fn what_is_too_much_is_refused_before_it_is_parsed() {
    let files: Vec<(String, String)> = (0..1001).map(|n| (format!("{n}.cedar"), String::new())).collect();
    assert!(matches!(Policies::from_sources(files), Err(LoadError::TooMuch(_))));
    let big = vec![("a.cedar".to_owned(), " ".repeat((8 << 20) + 1))];
    assert!(matches!(Policies::from_sources(big), Err(LoadError::TooMuch(_))));
    let long = format!(
        "@id(\"a\") @owner(\"o\") permit (principal, action, resource) when {{ {}true }};",
        "!".repeat(16 << 10)
    );
    assert!(refusal(&long).contains("the policy is too long"));
}

#[test]
fn a_file_of_nothing_but_mistakes_is_given_up_on() {
    let error = load(&[("wrong.cedar", &"wrong;\n".repeat(5_000))]).unwrap_err();
    assert_eq!(error.problems().len(), 100);
    assert!(
        error.to_string().contains("the rest was not read") || error.problems().iter().all(|p| p.place.line <= 101)
    );
}

#[test]
fn text_built_to_exhaust_the_parser_is_refused_and_not_fatal() {
    let policy = |condition: &str| {
        format!("@id(\"a\") @owner(\"o\") permit (principal, action, resource) when {{ {condition} }};")
    };
    let refused = |condition: String| refusal(&policy(&condition));
    for nest in ["(", "[", "!(", "{a:", "if true then (", "-(", "(\")\" == "] {
        let told = refused(nest.repeat((15 << 10) / nest.len()));
        assert!(told.contains("brackets nest too deep"), "{told}");
    }
    assert!(refused(format!("{}true{}", "(".repeat(7 << 10), ")".repeat(7 << 10))).contains("nest too deep"));
}

#[test]
fn long_flat_text_is_heard_to_the_end() {
    // Whether so long a condition loads is Cedar's business; that we live to hear it is ours.
    for (link, end) in [
        ("true && ", "true"),
        ("true || ", "true"),
        ("1 + ", "1 > 0"),
        ("if true then true else ", "true"),
        ("!", "true"),
        ("-", "1 > 0"),
        ("context.", "approved"),
        ("\"a\" == ", "\"a\""),
        ("context has ", "approved"),
        ("principal in ", "resource"),
    ] {
        let condition = format!("{}{end}", link.repeat((15 << 10) / link.len()));
        let text = format!("@id(\"a\") @owner(\"o\") permit (principal, action, resource) when {{ {condition} }};");
        match load(&[("long.cedar", &text)]) {
            Ok(policies) => drop(super::world::judge(
                &policies,
                &super::world::person(),
                &super::world::check(),
                &super::world::plain(),
            )),
            Err(error) => assert!(!error.problems().is_empty(), "{error}"),
        }
    }
}

#[test]
fn a_policy_that_can_never_apply_is_warned_about() {
    let never = "@id(\"a\") @owner(\"o\")\npermit (principal, action, resource) when { context.approved && !context.approved && false };";
    let check = load(&[("team.cedar", never)]).unwrap().check().clone();
    assert_eq!(check.warnings.len(), 1, "{check}");
    assert_eq!(check.warnings[0].place.source, "team.cedar");
}

#[test]
fn a_directory_loads_as_its_files_do() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in crate::default_sources().chain([(crate::SCHEMA_FILE, crate::SCHEMA), ("README.md", "notes")]) {
        fs::File::create(directory.path().join(name))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
    }
    fs::create_dir(directory.path().join(".git")).unwrap();
    let loaded = Policies::load(directory.path()).unwrap();
    assert_eq!(loaded.digest(), Policies::defaults().unwrap().digest());
}

#[test]
fn a_file_that_would_be_missed_is_refused() {
    for (name, wanted) in [("guardrails.ceder", "end in `.cedar`"), ("guardrails.cedar~", "end in `.cedar`")] {
        let directory = tempfile::tempdir().unwrap();
        fs::File::create(directory.path().join(name)).unwrap();
        let error = Policies::load(directory.path()).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains(name), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("team")).unwrap();
    assert!(Policies::load(directory.path()).unwrap_err().to_string().contains("directories inside are not read"));
    fs::remove_dir(directory.path().join("team")).unwrap();
    fs::create_dir(directory.path().join("odd.cedar")).unwrap();
    assert!(Policies::load(directory.path()).unwrap_err().to_string().contains("not a regular file"));
    assert!(Policies::load(&directory.path().join("absent")).is_err());
}

#[test]
fn a_file_that_never_ends_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("big.cedar")).unwrap();
    file.set_len(2 << 20).unwrap();
    assert!(Policies::load(directory.path()).unwrap_err().to_string().contains("more than 1048576 bytes"));
}
