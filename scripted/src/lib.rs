//! A model server that follows a script, for tests, the demonstration and benchmarks: it stands where a vendor's would, which cannot be
//! had here. And an agent that does whatever such a model says.
//!
//! Owns the script of one conversation, and four protocols as their vendors publish them: Anthropic Messages, OpenAI Responses, Chat
//! Completions, Gemini; and how Amazon Bedrock, Google Vertex AI and Azure OpenAI put them, by the paths they are asked under. Refuses what a vendor refuses, in the vendor's words where those are known, and counts what it would bill. Knows
//! nothing of the house. Written from the published descriptions; not run against the real services.
//!
//! ```
//! use selvedge_scripted::{Script, Server, Turn};
//!
//! let script = Script::new("sk-scripted")
//!     .turn(Turn::new().call("Write", serde_json::json!({"file_path": "hello.txt", "content": "hello"})))
//!     .turn(Turn::new().text("Done."));
//! let server = Server::start(script)?;
//! println!("http://{}", server.address());
//! assert!(server.seen().is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;
mod aws;
mod fetch;
mod frames;
mod host;
mod http;
mod obey;
mod once;
mod protocol;
mod script;
mod seen;
mod server;
mod shape;

pub use obey::{OBEDIENT, obey};
pub use once::Once;
pub use protocol::Protocol;
pub use script::{
    Call, Expect, Failing, Fault, Input, Part, Script, ScriptError, Side, Times, Turn, Usage, WithoutTools,
};
pub use seen::{Seen, Totals};
pub use server::Server;
