//! Attacks that use up what others need. Each is bounded: past its bound it says that nothing held it.

use std::fs::{self, File};
use std::io::Write;

use crate::outcome::Outcome;
use crate::{Attack, Control, Family, raw};

/// Processes the fork bomb makes before it says that nothing held it. A sandbox under test must allow fewer.
pub(crate) const PROCESSES: usize = 600;
/// Memory the memory bomb touches.
pub(crate) const MEMORY_BYTES: usize = 256 << 20;
/// Bytes the fills write.
pub(crate) const FILL_BYTES: usize = 64 << 20;
/// Terminals taken before it says that nothing held it.
const TERMINALS: usize = 512;
/// Files the count fill makes.
pub(crate) const FILES: usize = 20_000;

pub(crate) const ATTACKS: &[Attack] = &[
    attack("S-16", "make processes without end", fork_bomb),
    attack("S-17", "take memory without end", memory_bomb),
    attack("S-17b", "take memory through shared files", shared_memory_bomb),
    attack("S-18", "fill a temporary file", fill_file),
    attack("S-19", "make files without end", fill_count),
    attack("S-20", "fill the workspace over many files", fill_many),
    attack("S-16b", "take every terminal of the machine", take_terminals),
];

const fn attack(id: &'static str, title: &'static str, act: fn() -> Outcome) -> Attack {
    Attack { id, title, family: Family::Bombs, control: Control::Arena, act }
}

fn fork_bomb() -> Outcome {
    let mut children = Vec::new();
    let refused = loop {
        if children.len() >= PROCESSES {
            break None;
        }
        match raw::fork() {
            Ok(0) => raw::sleep_for_ever(),
            Ok(pid) => children.push(pid),
            Err(error) => break Some(error),
        }
    };
    for pid in &children {
        raw::kill(*pid, libc::SIGKILL);
    }
    for pid in &children {
        raw::wait(*pid);
    }
    match refused {
        Some(error) => Outcome::Refused(format!("held after {} processes: {error}", children.len())),
        None => Outcome::Succeeded(format!("{PROCESSES} processes and nothing held them")),
    }
}

fn memory_bomb() -> Outcome {
    // In a process of its own: the kernel's answer is to kill it.
    match raw::apart(|writer| {
        let pages = raw::touch(MEMORY_BYTES);
        let _ = write!(writer, "{pages}");
    }) {
        Ok((text, _)) if !text.is_empty() => Outcome::Succeeded(format!("{text} pages and nothing held them")),
        Ok((_, ended)) => raw::outcome_of_end(ended),
        Err(error) => Outcome::Untestable(error.to_string()),
    }
}

fn shared_memory_bomb() -> Outcome {
    match raw::apart(|writer| {
        let written = raw::call(libc::SYS_memfd_create, &[raw::text("x"), 0])
            .map(|fd| format!("/proc/self/fd/{fd}"))
            .and_then(|path| File::options().write(true).open(path))
            .and_then(|mut file| fill(&mut file, MEMORY_BYTES));
        let _ = match written {
            Ok(bytes) => write!(writer, "filled {bytes}"),
            Err(error) => write!(writer, "refused {error}"),
        };
    }) {
        Ok((text, _)) if text.starts_with("filled") => Outcome::Succeeded(format!("{text} bytes")),
        Ok((text, _)) if text.starts_with("refused") => Outcome::Refused(text),
        Ok((_, ended)) => raw::outcome_of_end(ended),
        Err(error) => Outcome::Untestable(error.to_string()),
    }
}

fn fill(file: &mut File, bytes: usize) -> std::io::Result<usize> {
    let chunk = vec![b'x'; 1 << 20];
    let mut written = 0;
    while written < bytes {
        file.write_all(&chunk)?;
        written += chunk.len();
    }
    Ok(written)
}

fn fill_file() -> Outcome {
    let path = format!("/tmp/fill-{}", std::process::id());
    let filled = File::create(&path).and_then(|mut file| fill(&mut file, FILL_BYTES));
    let _ = fs::remove_file(&path);
    Outcome::one("one file", filled)
}

fn fill_count() -> Outcome {
    let directory = format!("/tmp/count-{}", std::process::id());
    let mut made = 0;
    let result = fs::create_dir(&directory).and_then(|()| {
        (0..FILES).try_for_each(|number| {
            made = number;
            File::create(format!("{directory}/{number}")).map(drop)
        })
    });
    let _ = fs::remove_dir_all(&directory);
    match result {
        Ok(()) => Outcome::Succeeded(format!("{FILES} files and nothing held them")),
        Err(error) => Outcome::Refused(format!("held after {made} files: {error}")),
    }
}

fn fill_many() -> Outcome {
    let directory = "fill-many";
    let result = fs::create_dir(directory).and_then(|()| {
        (0..FILL_BYTES >> 20).try_for_each(|number| {
            File::create(format!("{directory}/{number}")).and_then(|mut file| fill(&mut file, 1 << 20)).map(drop)
        })
    });
    let _ = fs::remove_dir_all(directory);
    Outcome::one("many files", result)
}

fn take_terminals() -> Outcome {
    let mut held = Vec::new();
    while held.len() < TERMINALS {
        match raw::open_kept("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY) {
            Ok(terminal) => held.push(terminal),
            Err(error) => return Outcome::Refused(format!("held after {} terminals: {error}", held.len())),
        }
    }
    Outcome::Succeeded(format!("{TERMINALS} terminals and nothing held them"))
}
