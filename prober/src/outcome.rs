//! Owns what an attack came to. An attack with several spellings succeeded if any of them did.

use std::io;

/// What an attack came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It worked: the fence is broken, or there is none.
    Succeeded(String),
    /// Every spelling was refused.
    Refused(String),
    /// It could not be tried.
    Untestable(String),
}

/// One way to try an attack, and the kernel's answer.
#[derive(Debug)]
pub struct Spelling {
    how: String,
    answer: io::Result<()>,
}

impl Spelling {
    /// Takes the answer, whatever was returned.
    pub(crate) fn new<T>(how: impl Into<String>, answer: io::Result<T>) -> Self {
        Self { how: how.into(), answer: answer.map(drop) }
    }
}

impl Outcome {
    /// The word for it in the report.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Refused(_) => "refused",
            Self::Untestable(_) => "untestable",
        }
    }

    /// What was seen.
    pub fn detail(&self) -> &str {
        match self {
            Self::Succeeded(detail) | Self::Refused(detail) | Self::Untestable(detail) => detail,
        }
    }

    /// Joins the answers to all spellings.
    pub(crate) fn of(spellings: impl IntoIterator<Item = Spelling>) -> Self {
        let (worked, refused): (Vec<_>, Vec<_>) = spellings.into_iter().partition(|spelling| spelling.answer.is_ok());
        if !worked.is_empty() {
            let how: Vec<String> = worked.into_iter().map(|spelling| spelling.how).collect();
            return Self::Succeeded(how.join(", "));
        }
        let told: Vec<String> =
            refused.into_iter().map(|spelling| format!("{}: {}", spelling.how, answer(&spelling.answer))).collect();
        if told.is_empty() { Self::Untestable("nothing to try".to_owned()) } else { Self::Refused(told.join(", ")) }
    }

    /// One spelling.
    pub(crate) fn one<T>(how: &str, answer: io::Result<T>) -> Self {
        Self::of([Spelling::new(how, answer)])
    }
}

fn answer(answer: &io::Result<()>) -> String {
    const NAMES: [(i32, &str); 16] = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EACCES, "EACCES"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSPC, "ENOSPC"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::ENXIO, "ENXIO"),
        (libc::EBUSY, "EBUSY"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::ESRCH, "ESRCH"),
        (libc::ENOMEM, "ENOMEM"),
    ];
    match answer {
        Ok(()) => "worked".to_owned(),
        Err(error) => {
            let known = NAMES.iter().find(|(errno, _)| error.raw_os_error() == Some(*errno));
            known.map_or_else(|| error.to_string(), |(_, name)| (*name).to_owned())
        }
    }
}
