//! The tool door: one place inside the sandbox that speaks the Model Context Protocol (MCP), behind which other servers have their tools
//! (`docs/decisions/0016-tool-door.md`). An agent sees a tool only as the operator took it on, by the digest of what is said of it; a call is
//! judged with its arguments before any of it reaches the server; and what comes back is bounded and made anew.
//!
//! `rpc`, `describe` and `facts` read and write without I/O; `over_http` and `over_pipe` carry messages to a server and back; `server` is a
//! conversation with one, `people` waits for those who answer. Never knows why something is allowed, or whose run it is.

pub mod describe;
pub(crate) mod door;
pub mod factory;
pub mod facts;
pub(crate) mod over_http;
pub(crate) mod over_pipe;
pub(crate) mod people;
pub mod result;
pub mod rpc;
pub(crate) mod server;
pub mod wanted;
pub(crate) mod wire;
