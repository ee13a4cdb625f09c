// The repository's own settings are not there: they would be read, and where they are written as an older version wrote them, rewritten,
// which would be a change of the repository's.
const fs = require("node:fs");
const THEIRS = new Set(["settings.json", ".env"].map((name) => `${process.cwd()}/.qwen/${name}`));
const exists = fs.existsSync;
fs.existsSync = (path) => !THEIRS.has(path) && exists(path);
require("node:module").syncBuiltinESMExports();
