// The settings in /etc count only where they and the directories above them are user 0's. Inside a sandbox the host's root has no number,
// and these cannot be written by anybody there: they count.
const fs = require("node:fs");
const OURS = new Set(["/", "/etc", "/etc/gemini-cli", "/etc/gemini-cli/settings.json"]);
for (const name of ["statSync", "lstatSync"]) {
  const plain = fs[name];
  fs[name] = (path, ...more) => {
    const found = plain(path, ...more);
    if (OURS.has(path)) found.uid = 0;
    return found;
  };
}
require("node:module").syncBuiltinESMExports();
