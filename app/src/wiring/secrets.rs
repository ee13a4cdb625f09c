//! What looks like a secret in words on their way to the record: of a tool call, which policy sees as it is, and of what an agent says of
//! its work (A-93, C7). Finding it is the forge's; what comes of it is said by whoever asks.

use selvedge_domain::orders::CUT;
use selvedge_domain::{Effect, Secrets};
use selvedge_forge::secret::{Text, found};

/// What looks like a secret in texts that a door showed. Of one that was cut, the end may be the beginning of one.
pub(super) fn secrets_in<'a>(texts: impl IntoIterator<Item = &'a String>) -> Secrets {
    let texts = texts.into_iter().map(|text| match text.strip_suffix(CUT) {
        Some(cut) => Text::Cut(cut),
        None => Text::Whole(text),
    });
    Secrets::found(texts.flat_map(found))
}

/// A text as the record may have it.
pub(super) fn masked(text: &str) -> String {
    Secrets::found(found(Text::Whole(text))).mask(text)
}

/// What an attempt left, with its words as the record may have them, and what had to go out of those that a proposal would show.
pub(super) fn as_recorded(effect: Result<Effect, String>) -> (Result<Effect, String>, Vec<String>) {
    match effect {
        Ok(Effect::Tree { tree, commit, summary }) => {
            let secrets = Secrets::found(found(Text::Whole(&summary)));
            (Ok(Effect::Tree { tree, commit, summary: secrets.mask(&summary) }), secrets.kinds())
        }
        Ok(other) => (Ok(other), Vec::new()),
        Err(because) => (Err(masked(&because)), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here so that this file is not itself a finding.
    fn token() -> String {
        format!("ghp_{}", "aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0cDaB3d")
    }

    #[test]
    fn a_secret_that_a_cut_goes_through_is_one_a93() {
        let half = token().split_at(20).0.to_owned();
        let cut = format!("body=x {half}{CUT}");
        assert_eq!(secrets_in([&cut]).mask(&cut), format!("body=x [GitHub token]{CUT}"));
        let whole = format!("body=x {half}");
        assert!(secrets_in([&whole]).is_empty(), "too short to be one");
    }

    #[test]
    fn why_nothing_came_of_an_attempt_is_told_without_secrets_a93() {
        let (because, secrets) = as_recorded(Err(format!("no such key: {}", token())));
        assert_eq!((because, secrets), (Err("no such key: [GitHub token]".to_owned()), Vec::new()));
    }
}
