//! Credentials that doors use for agents: list them, store a key, remove one. No command reads a key back.

use std::io::IsTerminal as _;
use std::os::fd::AsFd;

use clap::Subcommand;
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;
use zeroize::Zeroizing;

use super::people::{ask, say_names_unknown, say_what_may_live, say_what_the_log_lacks, text};
use super::{Common, create_app};
use crate::errors::{CliError, Kind};
use crate::keeper::{Request, SecretWord};
use crate::output::Output;

/// Longest input that is read for a key; more than any key has.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// List configured credentials, or change their keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Credentials {
    /// Say of each what it is for, who answers for it, whom it was lent to, and which of its uses nobody made.
    List,
    /// Store a credential's key, read from standard input: `selvedge credentials store crates < key`. The key of a `static`
    /// credential is lent; that of any other kind makes what is lent, and is lent to nobody.
    Store {
        /// The credential, as `selvedge.toml` names it.
        #[arg(required_unless_present = "proxy")]
        name: Option<String>,
        /// The password of the proxy that everything leaves through instead.
        #[arg(long, conflicts_with = "name")]
        proxy: bool,
    },
    /// Have a GitHub App made for a `github-app` credential, with the permissions it asks for and no more, and store its key. A
    /// browser does it, from a page whose address this prints; afterwards it says where to install the App and what to write
    /// into `selvedge.toml`, which it leaves alone.
    CreateApp(create_app::CreateApp),
    /// Forget a key, and withdraw what was lent of it from live runs, which go on without it.
    Remove {
        /// The credential.
        #[arg(required_unless_present = "proxy")]
        name: Option<String>,
        /// The password of the proxy instead.
        #[arg(long, conflicts_with = "name")]
        proxy: bool,
    },
    /// Withdraw a credential from live runs, which go on without it: their doors forget it, requests under way with it are cut,
    /// and it is ended where it was made. A later attempt is decided on anew.
    Withdraw {
        /// The credential.
        name: String,
        /// From this run only.
        #[arg(long, value_name = "RUN")]
        from: Option<String>,
    },
}

impl Credentials {
    pub(crate) fn run(&self, common: &Common, output: &mut Output) -> Result<u8, CliError> {
        match self {
            Self::List => list(common, output),
            Self::Store { name: None, .. } => {
                let request = Request::StoreProxyPassword { password: secret_from_input(output, "password")? };
                let value = ask(common, output, &request)?;
                output.line(format!("the password of `{}` at the proxy is stored, sealed", text(&value, "user")));
                Ok(0)
            }
            Self::Store { name: Some(name), .. } => {
                let request = Request::StoreKey { name: name.clone(), key: secret_from_input(output, "key")? };
                let value = ask(common, output, &request)?;
                output.line(format!("the key of `{name}` is stored, sealed; {} answers for it", text(&value, "owner")));
                Ok(0)
            }
            Self::CreateApp(create) => create.run(common, output),
            Self::Remove { name: None, .. } => {
                ask(common, output, &Request::RemoveProxyPassword)?;
                output.line("the password of the proxy is forgotten; without it nothing new leaves");
                Ok(0)
            }
            Self::Remove { name: Some(name), .. } => {
                let value = ask(common, output, &Request::RemoveKey { name: name.clone() })?;
                output.line(format!("the key of `{name}` is forgotten here; it lives on until its issuer ends it"));
                say_withdrawn(output, name, &value);
                Ok(0)
            }
            Self::Withdraw { name, from } => {
                let request = Request::Withdraw { name: name.clone(), from: from.clone() };
                let value = ask(common, output, &request)?;
                say_withdrawn(output, name, &value);
                say_names_unknown(output, &value);
                Ok(0)
            }
        }
    }
}

fn say_withdrawn(output: &Output, name: &str, value: &Value) {
    let runs: Vec<&str> =
        value.get("runs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    output.line(match runs.as_slice() {
        [] => format!("`{name}` is lent to nobody now"),
        [run] => format!("`{name}` is withdrawn from {run}, which goes on without it"),
        runs => format!("`{name}` is withdrawn from {}, which go on without it", runs.join(", ")),
    });
    say_what_the_log_lacks(output, value);
    say_what_may_live(output, value);
}

/// Never an argument: those are seen by every process.
pub(super) fn secret_from_input(output: &Output, what: &str) -> Result<SecretWord, CliError> {
    let input = std::io::stdin();
    let read = if input.is_terminal() {
        output.line(format!("paste the {what} and press Enter; it is not shown"));
        without_echo(|| read_secret(&input, true))
    } else {
        read_secret(&input, false)
    };
    let unusable = |error: &dyn std::fmt::Display| {
        CliError::new(Kind::Usage, format!("cannot read the {what} from standard input: {error}"))
    };
    let bytes = read.map_err(|error| unusable(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| unusable(&error))?;
    Ok(SecretWord::new(text.trim().to_owned()))
}

/// What can be read, or one line of it. Read past the buffer of standard input and into one piece of memory, which is wiped: neither
/// that buffer nor what a growing string leaves behind is.
fn read_secret(input: impl AsFd, is_line: bool) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; INPUT_BYTES_MAX]);
    let mut filled = 0;
    loop {
        let room = bytes.get_mut(filled..).unwrap_or_default();
        match rustix::io::read(&input, room) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => break,
            Ok(read) => filled += read,
        }
        if is_line && bytes.get(..filled).is_some_and(|bytes| bytes.contains(&b'\n')) {
            break;
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// What is typed meanwhile is not shown. A terminal that cannot do that shows it.
fn without_echo<T>(read: impl FnOnce() -> T) -> T {
    let input = std::io::stdin();
    let before = tcgetattr(&input).ok();
    if let Some(mut silent) = before.clone() {
        silent.local_modes.remove(LocalModes::ECHO);
        let _shown = tcsetattr(&input, OptionalActions::Now, &silent);
    }
    let result = read();
    if let Some(before) = before {
        let _left = tcsetattr(&input, OptionalActions::Now, &before);
    }
    result
}

fn list(common: &Common, output: &Output) -> Result<u8, CliError> {
    let value = ask(common, output, &Request::Credentials)?;
    let credentials: Vec<&Value> = value.get("credentials").and_then(Value::as_array).into_iter().flatten().collect();
    if credentials.is_empty() {
        output.line("no credentials are configured: agents have none, and need none, to work behind their doors");
    }
    for credential in credentials {
        show(output, credential);
    }
    Ok(0)
}

fn show(output: &Output, credential: &Value) {
    let words = |name: &str| -> Vec<&str> {
        credential.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (name, kind, owner) = (text(credential, "credential"), text(credential, "kind"), text(credential, "owner"));
    output.heading(&format!("{name}: {kind}, {owner} answers for it"));
    if credential.get("needs_key").and_then(Value::as_bool) == Some(true) {
        let key = if kind == "static" { "its key" } else { "the key that makes it (lent to nobody)" };
        let known = |name: &str| credential.get(name).and_then(Value::as_str);
        match (known("stored_since"), known("leaked_at")) {
            (Some(since), _) => output.line(format!("  {key} is stored since {since}")),
            (None, Some(at)) => {
                output.line(format!("  LEAKED at {at} and not lent any more: {owner} ends it at its issuer, then"));
                output.line(format!("  store the new one: selvedge credentials store {name}"));
            }
            (None, None) => output.line(format!("  {key} is not stored: selvedge credentials store {name}")),
        }
    }
    if let state @ ("overdue" | "offboarded") = text(credential, "state") {
        output.line(format!("  {} and not lent: selvedge identities certify credential:{name}", state.to_uppercase()));
    }
    for uses in words("uses") {
        let never = if words("never_used").contains(&uses) { "   (never used)" } else { "" };
        output.line(format!("  for {uses}{never}"));
    }
    let agents = words("agents");
    output.line(format!(
        "  agents: {}",
        if agents.is_empty() { "none may borrow it".to_owned() } else { agents.join(", ") }
    ));
    output.line(format!("  last lent {}; last used {}", text(credential, "last_lent"), text(credential, "last_used")));
    let live: Vec<&Value> = credential.get("live").and_then(Value::as_array).into_iter().flatten().collect();
    for loan in &live {
        output.line(format!(
            "  lent now: {} to {} of {} until {}",
            text(loan, "lease"),
            text(loan, "run"),
            text(loan, "agent"),
            text(loan, "until")
        ));
    }
    if live.is_empty() {
        output.line("  lent to nobody now");
    }
    output.line(format!("  dies: {}", text(credential, "dies")));
}
