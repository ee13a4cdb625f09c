//! Owns the second use of a sandbox: running a tool of the host, such as git, on data that is not trusted, and taking
//! its output as bytes.

use crate::driver::NativeDriver;
use crate::live::{Event, Exit, Killer, Stream};
use crate::place::Place;
use crate::refused::Refused;

/// What a tool came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// How it ended.
    pub exit: Exit,
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its error output.
    pub stderr: Vec<u8>,
}

impl NativeDriver {
    /// Runs a place to its end and takes it off the host. Output is bounded by the place's limit.
    pub fn run_tool(&self, id: &str, place: &Place) -> Result<ToolOutput, Refused> {
        let mut stdout = Vec::new();
        let output = self.run_tool_into(id, place, &mut |_| {}, &mut |bytes| stdout.extend_from_slice(bytes))?;
        Ok(ToolOutput { stdout, ..output })
    }

    /// The same, giving away the output as it comes instead of keeping it; `begun` gets what can end it before its time.
    pub fn run_tool_into(
        &self,
        id: &str,
        place: &Place,
        begun: &mut dyn FnMut(Killer),
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<ToolOutput, Refused> {
        let mut sandbox = self.start(id, place)?;
        begun(sandbox.killer());
        let mut stderr = Vec::new();
        let exit = sandbox.wait(&mut |event| match event {
            Event::Output { stream: Stream::Output, bytes } => take(&bytes),
            Event::Output { stream: Stream::Error, bytes } => stderr.extend(bytes),
            Event::RefusedCall { .. } | Event::Started(_) | Event::Became { .. } | Event::Unkept { .. } => {}
        });
        sandbox
            .destroy()
            .map_err(|error| Refused::io(crate::refused::Layer::State, "take the sandbox off the host", error))?;
        Ok(ToolOutput { exit, stdout: Vec::new(), stderr })
    }
}
