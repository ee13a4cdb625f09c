// Tells the run's door of each tool call, and nothing else: whatever goes wrong, the call goes on as without it.
const at = process.env.SELVEDGE_TOLD_AT;
const tell = (event, { tool, callID }, exit) => {
  const told = { hook_event_name: event, tool_name: tool, tool_use_id: callID, tool_response: { exit_code: exit } };
  const sent = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(told) };
  return fetch(at, { ...sent, signal: AbortSignal.timeout(2000) }).catch(() => {});
};
export const Told = async () => ({
  "tool.execute.before": async (call) => void (await tell("PreToolUse", call)),
  "tool.execute.after": async (call, output) => void (await tell("PostToolUse", call, output?.metadata?.exit)),
});
