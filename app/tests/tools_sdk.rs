//! The official implementation of the Model Context Protocol (PyPI `mcp`) as client of the tool door and as server behind it: what the strict
//! stand-ins of `app/tests/tools.rs` hold for the protocol is so.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Scene, agent};

/// The version that was tried.
const PACKAGE: &str = "mcp==2.3.0";

/// A server with one tool, over the streams of its sandbox.
const SERVER: &str = r#"
from mcp.server.mcpserver import MCPServer
server = MCPServer("sums")
@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b
@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("it cannot")
server.run("stdio")
"#;

/// A client of the tool door.
const CLIENT: &str = r#"
import asyncio, os
from mcp import Client
async def main():
    async with Client(os.environ["SELVEDGE_TOOLS_URL"] + "/sums") as client:
        tools = (await client.list_tools()).tools
        print("tools", sorted(tool.name for tool in tools))
        if tools:
            answer = await client.call_tool("add", {"a": 2, "b": 40})
            print("add", answer.is_error, answer.content[0].text)
            answer = await client.call_tool("fail", {})
            print("fail", answer.is_error)
asyncio.run(main())
"#;

/// The package, installed once beneath the target directory, in the form of a toolchain.
fn package() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp-sdk");
    std::fs::create_dir_all(directory.join("bin")).unwrap();
    let one_at_a_time = std::fs::File::create(directory.join("lock")).unwrap();
    one_at_a_time.lock().unwrap();
    if !directory.join("py/mcp").exists() {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-m", "pip", "install", "--quiet", "--target"]).arg(directory.join("py")).arg(PACKAGE);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(directory.join("server.py"), SERVER).unwrap();
    directory
}

#[test]
#[ignore = "installs the official implementation from a registry: cargo nextest run --workspace --test tools_sdk --run-ignored all"]
fn the_official_implementation_is_served_and_brokered_e3() {
    let (scene, package) = (Scene::ready(), package());
    let configure = |tools: &str| {
        scene.configure(
            "checks = [\"sh tests/run.sh\"]",
            &format!(
                "{}mcp = [\"sums\"]\n[factory]\ntoolchains = [{package:?}]\n[mcp.sums]\nowner = \"team@example.org\"\n\
                 command = [\"env\", \"PYTHONPATH=/opt/toolchain/0/py\", \"/usr/bin/python3\", \"/opt/toolchain/0/server.py\"]\n{tools}",
                agent("asker", "draft"),
            ),
        );
    };
    scene.commit("client.py", CLIENT);
    let ask = || {
        let task = "PYTHONPATH=/opt/toolchain/0/py /usr/bin/python3 client.py";
        let said = scene.run(&["run", "--agent", "asker", "--wait", "--json", task]);
        let run = said.document()["runs"][0]["run"].as_str().unwrap().to_owned();
        scene.run(&["output", &run]).ok().out
    };
    configure("");
    let out = ask();
    assert!(out.contains("tools []"), "{out}");
    // What a person would copy, having read it.
    let shown = scene.run(&["tools", "sums"]).ok().out;
    assert!(shown.contains("| Add two numbers."), "{shown}");
    let lines = shown.lines().map(str::trim).filter(|line| line.starts_with("[mcp.") || line.starts_with("digest"));
    configure(&lines.map(|line| format!("{line}\n")).collect::<String>());
    let out = ask();
    for line in ["tools ['add', 'fail']", "add False 42", "fail True"] {
        assert!(out.contains(line), "{line}: {out}");
    }
}
