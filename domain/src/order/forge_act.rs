//! What a request would do to proposals and branches at a forge, told by its path alone. Owns the shapes of the paths at GitHub,
//! GitLab and Forgejo; never knows which hosts are forges, so that one nobody named is seen through as well.

use crate::Method;

/// What only people do at a forge to what a run made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeAct {
    /// Merge a proposal, now or once its checks pass.
    Merge,
    /// Review a proposal, which may approve it.
    Review,
    /// Move a branch. A proposal whose commits come to lie on its target counts as merged.
    Push,
    /// Any of these: a change asked for in GraphQL, which nobody read.
    Unread,
}

impl ForgeAct {
    /// What this request would come to; nothing, for one that only reads or that leaves the decision to others. `path` is
    /// canonical. The method says no more than whether it writes: some servers take another one from the body of a `POST`.
    pub fn of(method: Method, path: &str) -> Option<Self> {
        if matches!(method, Method::Get | Method::Head | Method::Options) {
            return None;
        }
        let segments: Vec<String> = path.split('/').skip(1).map(name).collect();
        (0..segments.len()).find_map(|from| Self::at(segments.get(from..)?))
    }

    /// What a root field of a mutation in GraphQL would come to, by its name at GitHub and GitLab.
    pub fn of_mutation(field: &str) -> Option<Self> {
        let field = field.to_ascii_lowercase();
        let opens = field.starts_with("create") || field.ends_with("create");
        match field.as_str() {
            "createcommitonbranch" | "commitcreate" | "updateref" | "updaterefs" | "deleteref" => Some(Self::Push),
            field if field.contains("review") || field.contains("approv") => Some(Self::Review),
            field if field.contains("merge") && !opens => Some(Self::Merge),
            _ => None,
        }
    }

    /// What a request that may change something would come to at a place where forges speak GraphQL, where nothing of it was read:
    /// GitHub's and GitLab's API is at `/graphql` or `/api/graphql`, below whatever they were installed at.
    pub fn of_unread(method: Method, path: &str) -> Option<Self> {
        if matches!(method, Method::Get | Method::Head | Method::Options) {
            return None;
        }
        let segments: Vec<String> = path.split('/').map(name).filter(|segment| !segment.is_empty()).collect();
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["graphql"] | [.., "api", "graphql"]).then_some(Self::Unread)
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Review => "review",
            Self::Push => "push",
            Self::Unread => "unread",
        }
    }

    /// What a path comes to that goes on like this.
    fn at(segments: &[String]) -> Option<Self> {
        let words: Vec<&str> = segments.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            // GitHub and Forgejo; `POST` there may also ask for the merge once the checks pass.
            ["pulls", _, "merge", ..] | ["repos", _, _, "merges", ..] | ["repositories", _, "merges", ..] => {
                Some(Self::Merge)
            }
            ["pulls", _, "reviews", ..] => Some(Self::Review),
            ["merge_requests", _, "merge", ..] => Some(Self::Merge),
            // All else at one of GitLab's: approvals and their rules, and every text, as a line `/approve` or `/merge` in it is done.
            ["merge_requests", _, ..] => Some(Self::Review),
            // A new reference moves nothing, so `git/refs` itself is not meant.
            ["git", "refs", _, ..] | ["git-receive-pack"] => Some(Self::Push),
            // Files written to a branch are commits on it; GitHub and Forgejo, then GitLab.
            ["repos", _, _, "contents" | "diffpatch" | "merge-upstream", ..] => Some(Self::Push),
            ["repositories", _, "contents" | "merge-upstream", ..] => Some(Self::Push),
            ["branches", _, "rename" | "protection", ..] => Some(Self::Push),
            ["repository", "commits" | "files", ..] => Some(Self::Push),
            _ => None,
        }
    }
}

/// The name that a segment begins with: without a format (`merge.json`) or parameters, which some servers take away, and in lower
/// case, as some take names in any.
fn name(segment: &str) -> String {
    let is_of_name = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '-' | '_');
    segment.chars().take_while(|byte| is_of_name(*byte)).map(|byte| byte.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_merges_reviews_or_pushes_at_a_forge_is_seen_whatever_the_forge_a67() {
        for (path, act) in [
            ("/repos/acme/shop/pulls/7/merge", ForgeAct::Merge),
            ("/api/v3/repos/acme/shop/pulls/7/merge", ForgeAct::Merge),
            ("/api/v1/repos/acme/shop/pulls/7/merge", ForgeAct::Merge),
            ("/repos/acme/shop/merges", ForgeAct::Merge),
            ("/api/v4/projects/7/merge_requests/1/merge", ForgeAct::Merge),
            ("/acme/shop/-/merge_requests/1/merge", ForgeAct::Merge),
            ("/repos/acme/shop/pulls/7/reviews", ForgeAct::Review),
            ("/repos/acme/shop/pulls/7/reviews/80/events", ForgeAct::Review),
            ("/api/v4/projects/7/merge_requests/1/approve", ForgeAct::Review),
            ("/api/v4/projects/7/merge_requests/1/approval_rules", ForgeAct::Review),
            ("/api/v4/projects/7/merge_requests/1/notes", ForgeAct::Review),
            ("/api/v4/projects/7/merge_trains/merge_requests/1", ForgeAct::Review),
            ("/api/v4/projects/7/merge_requests/1", ForgeAct::Review),
            ("/repos/acme/shop/git/refs/heads/main", ForgeAct::Push),
            ("/acme/shop.git/git-receive-pack", ForgeAct::Push),
            ("/repositories/7/merges", ForgeAct::Merge),
            ("/repos/acme/shop/contents/src/lib.rs", ForgeAct::Push),
            ("/api/v1/repos/acme/shop/contents", ForgeAct::Push),
            ("/repos/acme/shop/merge-upstream", ForgeAct::Push),
            ("/repos/acme/shop/branches/main/protection", ForgeAct::Push),
            ("/api/v4/projects/7/repository/commits", ForgeAct::Push),
            ("/api/v4/projects/7/repository/files/src%2Flib.rs", ForgeAct::Push),
            // As other servers read it.
            ("/repos/acme/shop/pulls/7/Merge/", ForgeAct::Merge),
            ("/api/v4/projects/7/merge_requests/1/merge.json", ForgeAct::Merge),
            ("/repos/acme/shop/pulls/7/merge;v=1", ForgeAct::Merge),
            ("/repos/acme/shop/pulls/7/merge%3Bv=1", ForgeAct::Merge),
        ] {
            for writes in [Method::Post, Method::Put, Method::Patch, Method::Delete] {
                assert_eq!(ForgeAct::of(writes, path), Some(act), "{path}");
            }
            for reads in [Method::Get, Method::Head, Method::Options] {
                assert_eq!(ForgeAct::of(reads, path), None, "{path}");
            }
        }
    }

    #[test]
    fn a_mutation_that_decides_is_seen_by_its_name_a47_a67() {
        for (field, act) in [
            ("mergePullRequest", ForgeAct::Merge),
            ("enablePullRequestAutoMerge", ForgeAct::Merge),
            ("mergeRequestAccept", ForgeAct::Merge),
            ("addPullRequestReview", ForgeAct::Review),
            ("updateRef", ForgeAct::Push),
            ("createCommitOnBranch", ForgeAct::Push),
        ] {
            assert_eq!(ForgeAct::of_mutation(field), Some(act), "{field}");
        }
        for field in ["addComment", "createPullRequest", "mergeRequestCreate", "createIssue"] {
            assert_eq!(ForgeAct::of_mutation(field), None, "{field}");
        }
    }

    #[test]
    fn what_is_asked_in_graphql_and_was_not_read_may_be_any_of_them_a47_a67() {
        for path in
            ["/graphql", "/api/graphql", "/gitlab/api/graphql", "/GraphQL/", "/graphql;a=b", "/api/graphql.json"]
        {
            assert_eq!(ForgeAct::of_unread(Method::Post, path), Some(ForgeAct::Unread), "{path}");
            assert_eq!(
                ForgeAct::of_unread(Method::Get, path),
                None,
                "a server carries no mutation out by this: {path}"
            );
        }
        for path in ["/", "/repos/acme/graphql", "/graphql/docs", "/graphql2", "/v1/graphql"] {
            assert_eq!(ForgeAct::of_unread(Method::Post, path), None, "{path}");
        }
    }

    #[test]
    fn opening_and_commenting_is_no_forge_act() {
        for path in [
            "/",
            "/repos/acme/shop/pulls",
            "/repos/acme/shop/pulls/7",
            "/repos/acme/shop/pulls/7/comments",
            "/repos/acme/shop/issues/7/comments",
            "/repos/acme/shop/git/refs",
            "/repos/acme/merge/pulls",
            "/api/v4/projects/7/merge_requests",
            "/api/v4/projects/7/merge_requests/",
            "/api/v4/projects/7/issues/3/notes",
            "/acme/shop.git/git-upload-pack",
        ] {
            assert_eq!(ForgeAct::of(Method::Post, path), None, "{path}");
        }
    }
}
