//! A real git in the sandbox, through the git door: clones, pushes to its own branch, and nothing else however it is asked.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may be blunt")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use common::{Scene, agent, eventually, processes_with, text};
use serde_json::Value;

/// Who commits, a clone of the repository in `/tmp/c`, and words for what must and must not work.
const PROLOGUE: &str = r#"set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example
own=refs/heads/$SELVEDGE_BRANCH
refused() {
    words=$1; shift
    if "$@" >/tmp/said 2>&1; then echo "went through: $*"; exit 9; fi
    grep -qF -- "$words" /tmp/said || { echo "refused in other words: $*"; cat /tmp/said; exit 8; }
}
change() { echo "hello $1" >src/greeting; git commit -q -a -m "$1"; }
git clone -q "$SELVEDGE_GIT_URL" /tmp/c
cd /tmp/c
"#;

fn scene() -> Scene {
    let scene = Scene::ready();
    let may = "may = [\"read\", \"write\", \"open-pr\"]";
    assert!(agent("pusher", "propose").contains(may));
    let pusher = agent("pusher", "propose").replace(may, "may = [\"read\", \"write\", \"open-pr\", \"push\"]");
    scene.configure("checks = [\"sh tests/run.sh\"]", &pusher);
    scene
}

/// Has the agent run this after the prologue; the run it came to.
fn push(scene: &Scene, script: &str) -> Value {
    let script = format!("{PROLOGUE}{script}\n");
    let said = scene.run(&["run", "--agent", "pusher", "--wait", "--json", &script]);
    said.document()["runs"][0].clone()
}

/// What the run's program printed, for a failing test.
fn tape(scene: &Scene, run: &Value) -> String {
    let (said, printed) = (scene.run(&["show", text(run, "run")]), scene.run(&["watch", text(run, "run")]));
    format!("{run}\n{}\n{}\n{}", said.out, said.err, printed.out)
}

fn proposed(scene: &Scene, script: &str) -> Value {
    let run = push(scene, script);
    assert_eq!(text(&run, "outcome"), "proposed", "{}", tape(scene, &run));
    run
}

#[test]
fn a_clone_a_commit_and_a_push_become_a_proposal_a65() {
    let scene = scene();
    let script = "change one\ngit push -q origin HEAD:$own\nchange two\ngit push -q origin HEAD:$own\n\
                  git fetch -q origin && test \"$(git rev-parse origin/$SELVEDGE_BRANCH)\" = \"$(git rev-parse HEAD)\"\n\
                  echo left behind >/workspace/not-pushed\n";
    let run = proposed(&scene, script);
    let branch = format!("selvedge/{}", text(&run, "run"));
    let head = scene.landed(&branch);
    scene.git(&["fetch", "-q", "selvedge", &branch]);
    assert_eq!(scene.git(&["show", "FETCH_HEAD:src/greeting"]), "hello two");
    // One commit of the factory's own, on the base, of what was pushed and nothing beside it.
    assert_eq!(scene.git(&["rev-parse", "FETCH_HEAD^"]), scene.git(&["rev-parse", "main"]));
    assert_eq!(scene.git(&["diff", "--name-only", "main", "FETCH_HEAD"]), "src/greeting");
    assert_ne!(head, "");
    assert!(!scene.state().join("landing").read_dir().unwrap().any(|_| true), "the landing repository is gone");
    // The state directory lets the people's group through to its socket, and to nothing else.
    let mode = std::fs::metadata(scene.state().join("landing")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn a60_a62_however_a_push_is_written_only_the_run_s_own_branch_moves() {
    let scene = scene();
    let not_own = "not this run's branch";
    let script = format!(
        r#"git checkout -q -b "$SELVEDGE_BRANCH"
change one
refused "{not_own}" git push origin HEAD:refs/heads/main
refused "{not_own}" git push origin HEAD:main
refused "{not_own}" git push --force origin HEAD:main
refused "{not_own}" git push origin +HEAD:refs/heads/main
refused "{not_own}" git push origin HEAD:refs/heads/other
refused "{not_own}" git push origin HEAD:refs/heads/selvedge/r-0000000000001
refused "{not_own}" git push origin HEAD:refs/tags/v1
refused "{not_own}" git push origin HEAD:refs/pull/1/head
refused "{not_own}" git push origin main:refs/heads/main2
refused "{not_own}" git push --mirror
refused "{not_own}" git push --prune origin 'refs/heads/*:refs/heads/copy/*'
refused "{not_own}" git -c alias.x='push origin HEAD:release' x
refused "{not_own}" git -c remote.origin.push=HEAD:refs/heads/release push
refused "{not_own}" git -c push.default=upstream -c branch.$SELVEDGE_BRANCH.remote=origin -c branch.$SELVEDGE_BRANCH.merge=refs/heads/main push
refused "{not_own}" git push "$SELVEDGE_GIT_URL" HEAD:refs/heads/main
git tag v1
refused "{not_own}" git push --tags origin
refused "{not_own}" git push --follow-tags origin HEAD:refs/heads/x
refused "{not_own}" git push origin v1
refused "{not_own}" git push origin :refs/heads/main
refused "{not_own}" git push --delete origin main
refused "{not_own}" git push origin HEAD:$own HEAD:refs/heads/other
refused "{not_own}" git push --atomic origin HEAD:$own HEAD:refs/heads/other
git push -q origin HEAD:$own
refused "a branch is not deleted here" git push origin :$own
refused "the branch only grows" sh -c 'git checkout -q -b again main && echo hello again >src/greeting && git commit -q -a -m again && git push --force origin again:'$own
git checkout -q "$SELVEDGE_BRANCH"
change two
git push -q origin @:$own
change three
git push -q --set-upstream origin "$SELVEDGE_BRANCH"
change four
git push -q
"#
    );
    let run = proposed(&scene, &script);
    // Whoever looks finds what was tried.
    let shown = scene.run(&["show", text(&run, "run")]).ok().out;
    assert!(shown.contains("push_refused"), "{shown}");
    assert!(shown.contains("git.push"), "{shown}");
}

#[test]
fn a66_a108_what_a_push_holds_is_looked_at_in_every_commit() {
    let scene = scene();
    let script = r#"git checkout -q -b "$SELVEDGE_BRANCH"
begin() { git checkout -q -f -B "$SELVEDGE_BRANCH" main; git clean -q -f -d; }
mkdir -p .github/workflows && echo 'on: push' >.github/workflows/x.yml && git add . && git commit -q -m x
refused "workflows or pipelines" git push origin HEAD:$own
git rm -q -r .github && git commit -q -m 'and away'
refused "workflows or pipelines" git push origin HEAD:$own
begin
printf 'key = "AKIA%s"\n' QWERTYUIOPASDFGH >settings && git add . && git commit -q -m x
refused "adds a secret" git push origin HEAD:$own
git rm -q settings && git commit -q -m 'and away'
refused "adds a secret" git push origin HEAD:$own
begin
git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub && git commit -q -m x
refused "submodules are not supported" git push origin HEAD:$own
begin
ln -s ../../etc/passwd link && git add . && git commit -q -m x
refused "leaves the repository" git push origin HEAD:$own
begin
git checkout -q --orphan new && git commit -q -m x
refused "does not contain the commit the task starts from" git push origin HEAD:$own
git checkout -q -f main
git tag -a -m x t
refused "" git push origin t:$own
git clone -q --depth 1 "$SELVEDGE_GIT_URL" /tmp/shallow
refused "git fetch --unshallow" sh -c 'cd /tmp/shallow && echo hello >src/greeting && git commit -q --allow-empty -m x && git push origin HEAD:'$own
begin
change legitimate
git push -q origin HEAD:$own
"#;
    proposed(&scene, script);
}

#[test]
fn a108_nothing_but_the_base_s_history_and_its_own_can_be_fetched() {
    let scene = scene();
    scene.git(&["checkout", "-q", "-b", "private"]);
    let private = scene.commit("src/private", "not for everybody\n");
    scene.git(&["checkout", "-q", "main"]);
    let script = format!(
        r#"test "$(git ls-remote origin | cut -f2 | sort | tr '\n' ' ')" = "HEAD refs/heads/main "
refused "" git fetch -q origin {private}
refused "" git fetch -q origin private
refused "404" curl -sSf "$SELVEDGE_GIT_URL/HEAD"
refused "404" curl -sSf "$SELVEDGE_GIT_URL/objects/info/packs"
refused "404" curl -sSf "${{SELVEDGE_GIT_URL%/*}}/other.git/info/refs?service=git-upload-pack"
change one
git push -q origin HEAD:$own
"#
    );
    proposed(&scene, &script);
}

#[test]
fn a63_without_the_word_there_is_no_repository_to_ask_for() {
    let scene = scene();
    let run = scene.task("test -z \"${SELVEDGE_GIT_URL:-}\" && echo hello again >src/greeting");
    assert_eq!(text(&run, "outcome"), "proposed", "{run}");
    // With it, and where a policy wants more trust than there is, pushing is denied and recorded; reading is not.
    let path = scene.state().join("policies/factory.cedar");
    let policies = std::fs::read_to_string(&path).unwrap();
    let permitted = "principal.trust_rank >= 1 &&\n  [\"remediate-dependencies\"";
    assert!(policies.contains(permitted));
    std::fs::write(&path, policies.replace(permitted, &permitted.replace(">= 1", ">= 4"))).unwrap();
    let run = push(&scene, "change one\nrefused \"not_permitted\" git push origin HEAD:$own\nexit 7");
    let shown = scene.run(&["show", text(&run, "run")]).ok().out;
    assert!(shown.contains("exit status 7") && shown.contains("git.push"), "{shown}");
}

#[test]
fn a107_paths_that_a_denied_push_names_are_recorded_up_to_a_limit() {
    let scene = scene();
    // Each push is denied, and each denial repeats four megabytes of paths.
    let script = r#"blob=$(git hash-object -w src/greeting)
long=$(printf 'd%.0s' $(seq 120))
seq 10000 26000 | sed "s|.*|100644 $blob\t$long/$long&|" >/tmp/many
printf '100644 %s\t.github/workflows/x.yml\n' "$blob" >>/tmp/many
git update-index --add --index-info </tmp/many
git commit -q -m many
many() { git push origin HEAD:$own; }
for turn in 1 2; do refused "workflows or pipelines" many; done
refused "name too many paths" many
exit 7"#;
    let run = push(&scene, script);
    let shown = scene.run(&["show", text(&run, "run")]).ok().out;
    assert!(shown.contains("exit status 7"), "{}", tape(&scene, &run));
}

/// A push of one object that is small as it is sent and takes minutes to unpack: blocks of zeros, over and over.
const ENDLESS: &str = r#"
import http.client, os, ssl, struct, urllib.parse, zlib
url = urllib.parse.urlparse(os.environ["SELVEDGE_GIT_URL"])
squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
squeeze.compress(bytes(1 << 20)); squeeze.flush(zlib.Z_FULL_FLUSH)
block = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
count = (40 << 20) // len(block)
size, header = count << 20, b""
first = (3 << 4) | (size & 15); size >>= 4
header = bytes([first | 0x80])
while size:
    header += bytes([(size & 127) | (0x80 if size > 127 else 0)]); size >>= 7
pack = b"PACK" + struct.pack(">II", 2, 1) + header + b"\x78\x9c" + block * count
command = b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/" + os.environ["SELVEDGE_BRANCH"].encode() + b"\0 report-status"
body = b"%04x" % (len(command) + 4) + command + b"0000" + pack
proxy = urllib.parse.urlparse(os.environ["HTTPS_PROXY"])
door = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=ssl.create_default_context())
door.set_tunnel(url.hostname, 443)
door.request("POST", url.path + "/git-receive-pack", body, {"Content-Type": "application/x-git-receive-pack-request"})
print("answered", door.getresponse().status)
"#;

#[test]
fn a_halt_does_not_wait_for_git_to_unpack_what_was_pushed_g5() {
    let scene = scene();
    scene.commit("endless.py", ENDLESS);
    let _serving = scene.serve();
    scene.run(&["run", "--agent", "pusher", "--json", "/usr/bin/python3 endless.py"]).ok();
    let landing = scene.state().join("landing").display().to_string();
    let unpacking = || processes_with(&landing).into_iter().find(|pid| command_line(*pid).contains("--fix-thin"));
    eventually("git unpacks what was pushed", unpacking);
    let run = text(&scene.runs()[0], "run").to_owned();
    scene.run(&["halt", "run", &run]).ok();
    eventually("git is ended", || unpacking().is_none().then_some(()));
    eventually("the run ends as halted", || {
        let known = scene.runs().into_iter().find(|known| text(known, "run") == run)?;
        (known["outcome"] == "halted").then_some(())
    });
}

#[test]
fn a_halt_does_not_wait_for_the_listing_of_what_was_pushed_g5() {
    let scene = scene();
    let _serving = scene.serve();
    // Until its repository does not answer, which is when its branch is none that anybody can read.
    let script = format!(
        "{PROLOGUE}change one\ngit push -q origin HEAD:$own\necho PUSHED\n\
         while timeout 2 git ls-remote -q origin >/dev/null 2>&1; do sleep 0.1; done\n"
    );
    scene.run(&["run", "--agent", "pusher", "--json", &script]).ok();
    let run = eventually("it began", || Some(text(scene.runs().first()?, "run").to_owned()));
    eventually("it pushed", || scene.run(&["output", &run]).out.contains("PUSHED").then_some(()));
    let landing = scene.state().join("landing").join(format!("{run}-a1")).join("landing.git");
    let (branch, pipe) = (landing.join("refs/heads/selvedge").join(&run), landing.join("pipe"));
    // Moved over it, so that nobody finds it missing. Whoever opens a pipe waits until somebody writes.
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(pipe, branch).unwrap();
    let landing = landing.display().to_string();
    let listing = || processes_with(&landing).into_iter().find(|pid| command_line(*pid).contains("rev-parse"));
    let ended = || scene.json(&["show", &run]).to_string().contains("sandbox_ended").then_some(());
    eventually("its program ended", ended);
    eventually("what it pushed is listed", listing);
    scene.run(&["halt", "run", &run]).ok();
    eventually("git is ended", || listing().is_none().then_some(()));
    eventually("the run ends as halted", || {
        let known = scene.runs().into_iter().find(|known| text(known, "run") == run)?;
        (known["outcome"] == "halted").then_some(())
    });
    let shown = scene.json(&["show", &run]).to_string();
    assert!(
        shown.contains("it was stopped before what it pushed was looked at"),
        "ended by its limit on time: {shown}"
    );
}

fn command_line(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[test]
fn a11_a40_a60_the_repository_answers_in_one_place_and_to_well_formed_requests() {
    let scene = scene();
    let script = r#"host=git.selvedge.internal
asked=/info/refs?service=git-receive-pack
path=${SELVEDGE_GIT_URL#https://*/}
refused "403" curl -sSf "http://$host/$path$asked"
refused "403" curl -sSf "https://$host:8443/$path$asked"
refused "403" curl -sSf "https://x.$host/$path$asked"
refused "421" curl -sSf -H "Host: other.example" "$SELVEDGE_GIT_URL$asked"
for asked in "$asked&x" "/../repo.git$asked" "//info/refs?service=git-receive-pack"; do
    refused "The requested URL returned error: 4" curl -sSf --path-as-is "$SELVEDGE_GIT_URL$asked"
done
send() { curl -sS --path-as-is -H "Content-Type: application/x-git-receive-pack-request" "$@" "$SELVEDGE_GIT_URL/git-receive-pack"; }
zero=0000000000000000000000000000000000000000
head=$(git rev-parse HEAD)
line() { printf '%04x%s' $((${#1} + 4)) "$1"; }
says() { grep -aqF -- "$1" /tmp/said || { echo "said otherwise: $1"; cat /tmp/said; exit 6; }; }
# No head, half a head, an endless one, no pack, a pack of nothing, a move to what is there already.
for body in '' 0 00 ffff 0001 0002 0003 0004 fffe 0000 "$(line x)" 'PACK'; do
    printf '%s' "$body" | send --data-binary @- >/tmp/said
done
head -c 70000 /dev/zero | tr '\0' 0 | sed 's/^/0fff/' | send --data-binary @- >/tmp/said
curl -sSf -o /dev/null "$SELVEDGE_GIT_URL/info/refs?service=git-receive-pack"
printf '%s0000' "$(line "$zero $head $own$(printf '\001') report-status")" | send --data-binary @- >/tmp/said
says "malformed"
printf '%s0000' "$(line "$zero $head $own")" | send --data-binary @- >/tmp/said
test ! -s /tmp/said
# A gzip that is none, to what fetches.
printf 'no gzip' | curl -sS -o /tmp/said -w '%{http_code}' -H "Content-Type: application/x-git-upload-pack-request" \
    -H "Content-Encoding: gzip" --data-binary @- "$SELVEDGE_GIT_URL/git-upload-pack" | grep -q 404
head -c 90000000 /dev/zero | send -H "Transfer-Encoding: chunked" --data-binary @- -o /tmp/said -w '%{http_code}' | grep -q 413
# Clients that hang up in the middle give their lanes back.
for turn in 1 2 3 4 5 6; do
    (printf '0100'; sleep 1) | timeout 0.5 curl -sS -T - -X POST -H "Content-Type: application/x-git-receive-pack-request" \
        "$SELVEDGE_GIT_URL/git-receive-pack" >/dev/null 2>&1 || true
done
# Two at once: one of them is first, and the other is told so.
change one; git branch first
git reset -q --hard origin/main; change two; git branch second
git push -q origin first:$own >/tmp/first 2>&1 & one=$!
git push -q origin second:$own >/tmp/second 2>&1 & two=$!
went=0
wait $one && went=$((went + 1)) || true
wait $two && went=$((went + 1)) || true
test $went = 1 || { echo "went through: $went"; cat /tmp/first /tmp/second; exit 5; }
"#;
    proposed(&scene, script);
}
