//! Looks for bytes where a process keeps them: its memory, its environment, its arguments. What is looked for is written in
//! every common form, so that no encoder on the way hides it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memchr::memmem;

/// How much of a memory is read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A process that lives below another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// What it was started as: the first of its arguments, without directories. Empty for one that has none any more.
    pub(crate) name: String,
}

/// Bytes that are looked for, in every form.
#[derive(Debug)]
pub(crate) struct Needle {
    forms: Vec<Vec<u8>>,
}

impl Needle {
    /// `secret`, its second half (the allocator writes over the beginning of what is freed), and both as encoders write them.
    pub(crate) fn new(secret: &str) -> Self {
        let (_, rest) = secret.split_at(secret.len() / 2);
        let mut forms = Vec::new();
        for text in [secret, rest] {
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            let percent: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            forms.extend([text.to_owned(), hex.to_uppercase(), hex, percent.to_uppercase(), percent]);
            forms.extend((0..3).map(|offset| base64_inside(text, offset)));
        }
        Self { forms: forms.into_iter().map(String::into_bytes).collect() }
    }

    /// Whether any form is in `bytes`.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| memmem::find(bytes, form).is_some())
    }

    /// The first file below `dir` that has it in its content or in its name.
    pub(crate) fn file_below(&self, dir: &Path) -> Option<PathBuf> {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let is_named = self.is_in(path.as_os_str().as_encoded_bytes());
            let kind = entry.file_type().unwrap();
            // Sockets and the like hold nothing, and what is gone by now is no longer there to be found.
            let content = if kind.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
            let below = if kind.is_dir() { self.file_below(&path) } else { None };
            if is_named || self.is_in(&content) {
                return Some(path);
            }
            if below.is_some() {
                return below;
            }
        }
        None
    }

    /// The places of a process that have it. Nothing is said of one that has ended meanwhile.
    pub(crate) fn places_in(&self, pid: u32) -> Option<Vec<String>> {
        let mut places = Vec::new();
        for file in ["environ", "cmdline"] {
            if self.is_in(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()) {
                places.push(file.to_owned());
            }
        }
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok().filter(|maps| !maps.is_empty())?;
        let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
        for line in maps.lines() {
            let region = Region::of(line);
            if region.may_hold_bytes && self.is_between(&memory, region.begin, region.end) {
                places.push(format!("memory {line}"));
            }
        }
        // What ended while it was read may have been read in part.
        Path::new(&format!("/proc/{pid}/root")).exists().then_some(places)
    }

    fn is_between(&self, memory: &File, begin: u64, end: u64) -> bool {
        let overlap = self.forms.iter().map(Vec::len).max().unwrap();
        let mut piece = vec![0; PIECE_BYTES + overlap];
        let mut at = begin;
        while at < end {
            let wanted = piece.len().min(usize::try_from(end - at).unwrap());
            // A region that is unmapped meanwhile holds nothing, and some of the kernel's own cannot be read by anybody.
            let read = memory.read_at(&mut piece[..wanted], at).unwrap_or(0);
            if self.is_in(&piece[..read]) {
                return true;
            }
            if read < wanted {
                return false;
            }
            at += u64::try_from(PIECE_BYTES).unwrap();
        }
        false
    }
}

/// One line of `maps`.
struct Region {
    begin: u64,
    end: u64,
    may_hold_bytes: bool,
}

impl Region {
    fn of(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let (begin, end) = words.next().unwrap().split_once('-').unwrap();
        let (rights, inode) = (words.next().unwrap(), words.nth(2).unwrap());
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        // What a program or library brings along and nobody may write is what its file says; the rest is what processes keep.
        let is_only_its_file = inode != "0" && !rights.contains('w');
        Self { begin: number(begin), end: number(end), may_hold_bytes: rights.starts_with('r') && !is_only_its_file }
    }
}

/// Every live process below `root`, and `root`.
pub(crate) fn processes_below(root: u32) -> Vec<Process> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name stands in parentheses and may hold anything, also parentheses.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parents.extend(pid.zip(parent));
    }
    let mut found = vec![root];
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).copied() {
        found.extend(parents.iter().filter(|(_, above): &&(u32, u32)| *above == parent).map(|(pid, _)| *pid));
        looked_at += 1;
    }
    let name = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(first.rsplit(|byte| *byte == b'/').next().unwrap_or_default()).into_owned()
    };
    found.iter().map(|pid| Process { pid: *pid, name: name(pid) }).collect()
}

/// What base64 of any text that holds `text` holds, when `offset` bytes (modulo 3) stand before it.
fn base64_inside(text: &str, offset: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = std::iter::repeat_n(0, offset).chain(text.bytes()).collect();
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (sixes, _) = bits.as_chunks::<6>();
    let digit = |six: &[u8; 6]| char::from(ALPHABET[six.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))]);
    // The digits that depend on what stands before are no part of it.
    sixes.iter().map(digit).skip((offset * 8).div_ceil(6)).collect()
}

#[test]
fn a_needle_is_found_in_every_form() {
    let secret = "canary-0123456789-abcdef";
    let needle = Needle::new(secret);
    let base64 = |text: &str| base64_inside(text, 0);
    for written in [
        format!("x{secret}y"),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
        base64(&format!("{secret}===")),
        base64(&format!("u:{secret}")),
        base64(&format!("x:y{secret}!")),
        secret.split_at(12).1.to_owned(),
    ] {
        assert!(needle.is_in(written.as_bytes()), "{written}");
    }
    assert!(!needle.is_in(&secret.as_bytes()[..12]));
    // RFC 4648 section 10.
    assert_eq!(base64_inside("foobar", 0), "Zm9vYmFy");
}
