//! What the configuration takes from runs at work, who go on without it. A door is told everything at its start; what the configuration
//! says by now is looked at beside every request it asks about, so that less holds at once (requirement D12). What was added since is
//! for doors that open later. Never decides what a policy decides.

use selvedge_domain::{Endpoint, GraphqlAct, GraphqlKind};
use selvedge_gateway::{Ask, GraphqlService};

use super::danger::dangers_at;
use crate::config::Config;

/// Something that a door was told and that holds no more: a code, what it is about, and what the agent can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Narrowed {
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) next_step: &'static str,
}

/// What of a request that a door would pass on, as it was told, the configuration does not let through any more.
pub(super) fn narrowed(told: &Config, now: &Config, ask: &Ask) -> Option<Narrowed> {
    if std::ptr::eq(told, now) {
        return None;
    }
    danger_narrowed(told, now, &ask.endpoint).or_else(|| graphql_narrowed(told, now, ask))
}

/// The door dials what was named under `danger`, and the configuration names it no more.
pub(super) fn danger_narrowed(told: &Config, now: &Config, endpoint: &Endpoint) -> Option<Narrowed> {
    let still = dangers_at(&now.danger, endpoint);
    let is_gone = dangers_at(&told.danger, endpoint).iter().any(|named| !still.contains(named));
    is_gone.then(|| Narrowed {
        code: "danger_withdrawn",
        detail: endpoint.host.to_string(),
        next_step: "do without this host: the operator lets nothing through to its address any more",
    })
}

fn graphql_narrowed(told: &Config, now: &Config, ask: &Ask) -> Option<Narrowed> {
    let service = service_at(now, ask)?;
    if service_at(told, ask).is_none() {
        return Some(Narrowed {
            code: "graphql_not_read",
            detail: ask.endpoint.host.to_string(),
            next_step: "do without this path: it was declared to speak GraphQL since this task began, and is read for later ones",
        });
    }
    let is_gone = |act: &&GraphqlAct| act.kind() == GraphqlKind::Mutation && !service.mutations.contains(act.field());
    ask.graphql.iter().find(is_gone).map(|act| Narrowed {
        code: "graphql_act_denied",
        detail: format!("`{act}` is not configured any more"),
        next_step: "do without this mutation: queries, and those configured here, are passed on",
    })
}

fn service_at<'a>(config: &'a Config, ask: &Ask) -> Option<&'a GraphqlService> {
    config.graphql.iter().find(|service| service.is_at(&ask.endpoint.host, &ask.path))
}

#[cfg(test)]
mod tests {
    use selvedge_domain::{HostPattern, Method};
    use selvedge_gateway::Source;

    use super::*;

    const HOST: &str = "a.example";

    fn config(text: &str) -> Config {
        Config::parse("selvedge.toml", text).unwrap()
    }

    fn ask(path: &str, acts: &[&str]) -> Ask {
        Ask {
            serial: 1,
            method: Method::Post,
            endpoint: Endpoint { host: HostPattern::parse(HOST).unwrap(), port: 443 },
            path: path.to_owned(),
            query_bytes: 0,
            body_bytes: None,
            credential: None,
            graphql: acts.iter().filter_map(|act| GraphqlAct::parse(act)).collect(),
            source: Source::Connect,
        }
    }

    fn code(told: &str, now: &str, ask: &Ask) -> Option<&'static str> {
        narrowed(&config(told), &config(now), ask).map(|narrowed| narrowed.code)
    }

    fn declared(mutations: &str) -> String {
        format!("[graphql.\"{HOST}/graphql\"]\nmutations = [{mutations}]\n")
    }

    #[test]
    fn a_mutation_that_is_taken_out_is_denied_to_live_doors_a47_d12() {
        let (two, one) = (declared("\"addComment\", \"closeIssue\""), declared("\"addComment\""));
        let closes = ask("/graphql", &["query viewer", "mutation closeIssue"]);
        assert_eq!(code(&two, &one, &closes), Some("graphql_act_denied"));
        assert_eq!(code(&two, &two, &closes), None);
        assert_eq!(code(&two, &one, &ask("/graphql", &["query viewer", "mutation addComment"])), None);
        assert_eq!(code(&two, &one, &ask("/other", &[])), None);
    }

    #[test]
    fn a_path_that_is_declared_since_is_read_by_no_live_door_a47_d12() {
        assert_eq!(code("", &declared(""), &ask("/graphql", &[])), Some("graphql_not_read"));
        assert_eq!(code("", &declared(""), &ask("/other", &[])), None);
        assert_eq!(code(&declared(""), "", &ask("/graphql", &["query viewer"])), None, "its door goes on reading it");
    }

    #[test]
    fn an_address_that_danger_names_no_more_is_not_reached_by_live_doors_d12() {
        let named = |addresses: &str, more: &str| {
            format!(
                "[danger.addresses.\"{HOST}\"]\nallow = [{addresses}]\n{more}[danger.addresses.\"b.example\"]\nallow = [\"10.0.0.9\"]\n"
            )
        };
        let told = named("\"10.0.0.8\"", "plain_port = 80\n");
        let asked = ask("/", &[]);
        assert_eq!(code(&told, "", &asked), Some("danger_withdrawn"));
        assert_eq!(code(&told, &named("\"10.0.0.7\"", "plain_port = 80\n"), &asked), Some("danger_withdrawn"));
        assert_eq!(code(&told, &named("\"10.0.0.8\"", ""), &asked), Some("danger_withdrawn"), "clear text no more");
        assert_eq!(code(&told, &named("\"10.0.0.8\", \"10.0.0.7\"", "plain_port = 80\n"), &asked), None);
        assert_eq!(code(&told, &told, &asked), None);
        assert_eq!(code("", &told, &asked), None, "what was added is for later doors");
    }
}
