//! Services that speak GraphQL: where, and what may be asked of them.

use selvedge_domain::{GraphqlAct, GraphqlKind, HostPattern};
use selvedge_gateway::GraphqlService;
use selvedge_gateway::http::path::CanonicalPath;

use super::{ConfigError, File, PLAIN_PATH, Reader};

/// How many services, and mutations and bytes of documents each: what a door is told in one message has to hold it all.
const SERVICES_MAX: usize = 16;
const MUTATIONS_MAX: usize = 256;
const PERSISTED_BYTES_MAX: usize = 64 * 1024;

impl Reader<'_> {
    /// Whatever is written here is read now, so that no fence turns out to be none when a run needs it.
    pub(super) fn graphql(&self, file: &File) -> Result<Vec<GraphqlService>, ConfigError> {
        if file.graphql.len() > SERVICES_MAX {
            return self.bad("graphql", format!("holds more than {SERVICES_MAX} services"));
        }
        let mut services: Vec<GraphqlService> = Vec::new();
        for (place, written) in &file.graphql {
            let key = format!("graphql.\"{place}\"");
            let Some((host, path)) = parse_place(place) else {
                return self.bad(key, format!("is not `<host>/<path>`{PLAIN_PATH}"));
            };
            if written.mutations.len() > MUTATIONS_MAX {
                return self.bad(key + ".mutations", format!("holds more than {MUTATIONS_MAX} fields"));
            }
            let is_field = |field: &&String| GraphqlAct::new(GraphqlKind::Mutation, field).is_some();
            if let Some(other) = written.mutations.iter().find(|field| !is_field(field)) {
                let because = format!("`{}` is not the name of a field, such as `addComment`", other.escape_debug());
                return self.bad(key + ".mutations", because);
            }
            if written.persisted.iter().map(String::len).sum::<usize>() > PERSISTED_BYTES_MAX {
                return self.bad(key + ".persisted", format!("holds more than {PERSISTED_BYTES_MAX} bytes"));
            }
            // A request there would be one to both, and the fewer mutations of one would be undone by the other.
            if let Some(other) = services.iter().find(|other| other.host == host && overlap(other, &host, &path)) {
                let because = format!(
                    "is at the same paths as `{}{}`, for a service is its path and all beneath it: declare one of them",
                    other.host, other.path
                );
                return self.bad(key, because);
            }
            let mutations = written.mutations.iter().cloned().collect();
            let service = GraphqlService { host, path, mutations, persisted: written.persisted.clone() };
            if let Err(because) = service.refused_document() {
                return self.bad(key + ".persisted", because);
            }
            services.push(service);
        }
        Ok(services)
    }
}

/// Whether a request could be one to this service and to one at that path.
fn overlap(service: &GraphqlService, host: &HostPattern, path: &str) -> bool {
    let at_path = GraphqlService { path: path.to_owned(), ..service.clone() };
    service.is_at(host, path) || at_path.is_at(host, &service.path)
}

/// `api.example/graphql`. No port: a service is no other for being reached at another one.
fn parse_place(place: &str) -> Option<(HostPattern, String)> {
    let (host, path) = place.split_once('/')?;
    let path = format!("/{path}");
    let canonical = CanonicalPath::parse(&path).ok()?;
    (canonical.as_str() == path).then_some(())?;
    Some((HostPattern::parse(host)?, path))
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn services(text: &str) -> Result<usize, String> {
        Config::parse("selvedge.toml", text).map(|config| config.graphql.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a47_a_service_is_read_or_refused_by_its_key() {
        let whole = "[graphql.\"api.github.com/graphql\"]\nmutations = [\"addComment\"]\npersisted = [\"{ viewer }\"]";
        assert_eq!(services(whole), Ok(1));
        assert_eq!(services("[graphql.\"api.github.com/graphql\"]"), Ok(1), "queries only");
        let beside = "[graphql.\"a.example/g\"]\n[graphql.\"a.example/g2\"]\n[graphql.\"b.example/g\"]";
        assert_eq!(services(beside), Ok(3), "no path of theirs is another's");
        for (text, named) in [
            ("[graphql.\"https://api.github.com/graphql\"]", "is not `<host>/<path>`"),
            ("[graphql.\"api.github.com\"]", "is not `<host>/<path>`"),
            ("[graphql.\"api.github.com/a/../graphql\"]", "is not `<host>/<path>`"),
            ("[graphql.\"a.example/g\"]\nmutations = [\"add comment\"]", "mutations"),
            ("[graphql.\"a.example/g\"]\npersisted = [\"{ viewer\"]", "persisted"),
            ("[graphql.\"a.example/g\"]\npersisted = [\"mutation { other }\"]", "persisted"),
            ("[graphql.\"a.example/g\"]\n[graphql.\"a.example/g/admin\"]", "same paths as `a.example/g`"),
            ("[graphql.\"a.example/g/admin\"]\n[graphql.\"a.example/g\"]", "declare one of them"),
            ("[graphql.\"a.example/g\"]\n[graphql.\"a.example/G\"]", "declare one of them"),
            ("[graphql.\"a.example/\"]\n[graphql.\"a.example/g\"]", "declare one of them"),
        ] {
            let error = services(text).unwrap_err();
            assert!(error.contains(named) && error.contains("graphql."), "{text}: {error}");
        }
    }
}
