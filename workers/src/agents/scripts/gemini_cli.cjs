// The settings in /etc count only where they and the directories above them are user 0's. Inside a sandbox the host's root has no number,
// and these cannot be written by anybody there: they count. The repository's own are not there: they would be read, and where they are
// written as an older version wrote them, rewritten, which would be a change of the repository's.
const fs = require("node:fs");
const OURS = new Set(["/", "/etc", "/etc/gemini-cli", "/etc/gemini-cli/settings.json"]);
const THEIRS = new Set(["settings.json", ".env"].map((name) => `${process.cwd()}/.gemini/${name}`));
for (const name of ["statSync", "lstatSync"]) {
  const plain = fs[name];
  fs[name] = (path, ...more) => {
    const found = plain(path, ...more);
    if (OURS.has(path)) found.uid = 0;
    return found;
  };
}
const exists = fs.existsSync;
fs.existsSync = (path) => !THEIRS.has(path) && exists(path);
require("node:module").syncBuiltinESMExports();
