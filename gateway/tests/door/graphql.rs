//! GraphQL at a door: what a request would do is found wherever it is hidden, on every way in, and without the fence it leaves (A-47).

use std::collections::BTreeSet;

use selvedge_gateway::GraphqlService;

use crate::ways::{WAYS, Way};
use crate::world::{HOST, World};

const JSON: &str = "application/json";

/// A service that takes queries, one mutation, and one document by its hash: of `{viewer}`.
fn service() -> GraphqlService {
    GraphqlService {
        host: selvedge_domain::HostPattern::parse(HOST).unwrap(),
        path: "/graphql".to_owned(),
        mutations: ["addComment".to_owned()].into(),
        persisted: vec!["{viewer}".to_owned()],
    }
}

const VIEWER_SHA256: &str = "6c1358d167943758b4d42060c70eb270bc2df178458db8d53fca49aa9079a0fc";
const DELETE_SHA256: &str = "06de06b33326b45b89d76db0255ceeaf971bba8b5ad5822ec2d561abb634310b";

fn persisted(hash: &str) -> String {
    format!(r#"{{"extensions":{{"persistedQuery":{{"version":1,"sha256Hash":"{hash}"}}}}}}"#)
}

/// One request, and the code it is refused with where the service is declared.
struct Attack {
    method: &'static str,
    path: &'static str,
    media: &'static str,
    body: String,
    code: &'static str,
}

fn post(body: &str, code: &'static str) -> Attack {
    Attack { method: "POST", path: "/graphql", media: JSON, body: body.to_owned(), code }
}

fn attacks() -> Vec<Attack> {
    let get = |path| Attack { method: "GET", path, media: "", body: String::new(), code: "graphql_act_denied" };
    let denied = "graphql_act_denied";
    vec![
        post(r#"{"query":"mutation{deleteIt}"}"#, denied),
        post(r#"[{"query":"{viewer}"},{"query":"mutation{deleteIt}"}]"#, denied),
        post(r#"{"query":"query A{viewer} mutation B{deleteIt}","operationName":"B"}"#, denied),
        post(r#"{"query":"query A{viewer} mutation B{deleteIt}","operationName":"A"}"#, denied),
        post(r#"{"query":"mutation{...F} fragment F on Mutation{...G} fragment G on Mutation{deleteIt}"}"#, denied),
        post(r#"{"query":"mutation{addComment:deleteIt}"}"#, denied),
        post(r#"{"query":"{viewer}","query":"mutation{deleteIt}"}"#, "graphql_not_read"),
        post(r#"{"query":"{viewer}","Query":"mutation{deleteIt}"}"#, "graphql_not_read"),
        post(r#"{"query":"subscription{deleted}"}"#, "graphql_not_read"),
        post(&persisted(DELETE_SHA256), "graphql_hash_unknown"),
        post(r#"{"query":"{viewer"}"#, "graphql_not_read"),
        Attack { path: "/graphql?query=mutation%7BdeleteIt%7D", ..post(r#"{"query":"{viewer}"}"#, "graphql_not_read") },
        Attack { path: "/GraphQL/", ..post(r#"{"query":"mutation{deleteIt}"}"#, denied) },
        Attack { media: "application/graphql", ..post("mutation{deleteIt}", denied) },
        Attack {
            media: "application/x-www-form-urlencoded",
            ..post("query=mutation%7BdeleteIt%7D", "graphql_not_read")
        },
        get("/graphql?query=mutation%7BdeleteIt%7D"),
        get("/graphql?query=mutation+%7BdeleteIt%7D&operationName=A"),
        // Configured, and by a method that says that it only reads.
        get("/graphql?query=mutation%7BaddComment%7D"),
    ]
}

fn send(world: &World, way: Way, Attack { method, path, media, body, .. }: &Attack) -> String {
    world.keeper.asked.lock().unwrap().clear();
    if *method == "GET" {
        return way.ask(world, method, path, "");
    }
    let fields = format!("Content-Type: {media}\r\nContent-Length: {}\r\n", body.len());
    way.ask_with(world, method, path, &fields, body)
}

#[test]
fn a47_a_mutation_hidden_anywhere_is_refused_on_every_way_in() {
    let world = World::speaking_graphql(vec![service()]);
    for way in WAYS {
        for attack in attacks() {
            let answer = send(&world, way, &attack);
            let code = format!("\"code\":\"{}\"", attack.code);
            assert!(answer.contains(&code), "{way:?} {} {}: {answer}", attack.path, attack.body);
        }
    }
    assert!(world.keeper.asked.lock().unwrap().is_empty(), "nobody was asked");
    assert_eq!(world.upstream_heads(), Vec::<String>::new(), "nothing left");
    for code in ["graphql_act_denied", "graphql_not_read", "graphql_hash_unknown"] {
        world.wait_for_refused(code);
    }
}

/// The control: where nobody said that GraphQL is spoken, each of them is a request like another.
#[test]
fn a47_where_it_is_not_declared_all_of_it_leaves() {
    let world = World::start();
    for way in WAYS {
        for attack in attacks() {
            let before = world.upstream_heads().len();
            let answer = send(&world, way, &attack);
            assert!(answer.starts_with("HTTP/1.1 200"), "{way:?} {}: {answer}", attack.body);
            assert_eq!(world.upstream_heads().len(), before + 1);
        }
    }
}

#[test]
fn a47_what_is_declared_leaves_as_it_was_judged_and_says_what_it_does() {
    let world = World::speaking_graphql(vec![service()]);
    let get = "/graphql?query=%7Bviewer%7D";
    for way in WAYS {
        for (attack, acts) in [
            (post(r#"{"query":"{viewer} mutation A{addComment}"}"#, ""), vec!["query viewer", "mutation addComment"]),
            (post(r#"[{"query":"{a}"},{"query":"{b}"}]"#, ""), vec!["query a", "query b"]),
            (post(&persisted(VIEWER_SHA256), ""), vec!["query viewer"]),
            (Attack { method: "GET", path: get, media: "", body: String::new(), code: "" }, vec!["query viewer"]),
            (Attack { path: "/crates", ..post(r#"{"query":"mutation{deleteIt}"}"#, "") }, vec![]),
        ] {
            let before = world.tls.bodies().len() + world.clear.bodies().len();
            let answer = send(&world, way, &attack);
            assert!(answer.starts_with("HTTP/1.1 200"), "{way:?} {}: {answer}", attack.body);
            let asked = world.keeper.asked.lock().unwrap().pop().unwrap();
            let told: BTreeSet<String> = asked.graphql.iter().map(ToString::to_string).collect();
            assert_eq!(told, acts.into_iter().map(str::to_owned).collect());
            if attack.method == "POST" {
                let upstream = if way.is_clear() { &world.clear } else { &world.tls };
                assert_eq!(world.tls.bodies().len() + world.clear.bodies().len(), before + 1);
                assert_eq!(upstream.bodies().last().unwrap(), attack.body.as_bytes(), "as it was judged");
            }
        }
    }
}
