//! What became of a run: how it ended, what its programs wrote, and what is on record of it.

use serde_json::Value;

use super::{Scene, eventually, text};

/// Tokens read and written.
pub(crate) type Tokens = (u64, u64);

impl Scene {
    /// Gives an agent a task and waits; the run it came to. Its children have runs of their own.
    pub(crate) fn work(&self, agent: &str, task: &str) -> Value {
        let said = self.run(&["run", "--agent", agent, "--wait", "--json", task]);
        let mut runs = said.document()["runs"].as_array().cloned().unwrap_or_else(|| panic!("no runs: {said:?}"));
        runs.retain(|run| run["agent"] == agent);
        assert_eq!(runs.len(), 1, "{said:?}");
        runs.remove(0)
    }

    /// Waits until a run is over.
    pub(crate) fn settled(&self, run: &str) -> Value {
        eventually("the run settles", || {
            self.runs().into_iter().find(|one| one["run"] == run && one["stage"] == "settled")
        })
    }

    /// What a run's program printed.
    pub(crate) fn printed(&self, run: &str) -> String {
        self.run(&["output", run]).ok().out.replacen("work:\n", "", 1)
    }

    /// What is on record of a run.
    pub(crate) fn entries(&self, run: &str) -> Vec<Value> {
        self.json(&["show", run])["entries"].as_array().unwrap().clone()
    }

    /// The same, as a line each, of those that begin like this.
    pub(crate) fn lines(&self, run: &str, begins: &str) -> Vec<String> {
        let lines = self.entries(run).into_iter().filter_map(|entry| entry["summary"].as_str().map(str::to_owned));
        lines.filter(|line| line.starts_with(begins)).collect()
    }

    /// What was decided in a run about a verb, in order.
    pub(crate) fn decided(&self, run: &str, verb: &str) -> Vec<Value> {
        let details = self.entries(run).into_iter().filter(|entry| entry["kind"] == "decided");
        details.map(|entry| entry["detail"].clone()).filter(|detail| detail["verb"] == verb).collect()
    }

    /// The answers to it.
    pub(crate) fn verdicts(&self, run: &str, verb: &str) -> Vec<String> {
        self.decided(run, verb).iter().map(|decision| text(decision, "verdict").to_owned()).collect()
    }

    /// Tokens of a run's model calls that are settled: by the vendor's own numbers, and by estimates.
    pub(crate) fn metered(&self, run: &str) -> (Tokens, Tokens) {
        let (mut counted, mut estimated) = ((0, 0), (0, 0));
        for line in self.lines(run, "model.call: status ") {
            let numbers: Vec<u64> = line.split(' ').skip(3).filter_map(|word| word.parse().ok()).collect();
            let sum = if line.ends_with("estimated") { &mut estimated } else { &mut counted };
            *sum = (sum.0 + numbers[0], sum.1 + numbers[1]);
        }
        (counted, estimated)
    }
}
