//! Owns what the keeper asks the launcher for: one plain structure and its byte form. Knows nothing of how it is done.

use crate::wire::{Malformed, Reader, Writer};

/// Largest encoded spec: room for a merged CA bundle and a few configuration files, far below what could strain memory.
pub const SPEC_BYTES_MAX: usize = 16 << 20;

/// Where the workspace is mounted.
pub const WORKSPACE: &str = "/workspace";
/// The home directory inside.
pub const HOME: &str = "/home/agent";
/// The one user id any process has inside. There is no user 0.
pub const USER: u32 = 1000;
/// A second id, that only files have, where [`Mapping::ByHelpers`] needs one.
pub(crate) const BESIDE: u32 = USER + 1;

/// Everything the launcher needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The program and its arguments; a name without `/` is looked for along the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where the program starts.
    pub directory: String,
    /// Who the sandbox is on the host.
    pub owner: Owner,
    /// Where its processes are counted and limited.
    pub groups: Groups,
    /// The pristine tree shown, writable, at [`WORKSPACE`].
    pub workspace: Option<String>,
    /// Other host directories and files to show.
    pub binds: Vec<Bind>,
    /// Files made for this sandbox, read-only inside.
    pub files: Vec<File>,
    /// Whether there is a way out.
    pub network: Network,
    /// Limits that the launcher itself sets.
    pub limits: Limits,
    /// What is observed; nothing when absent.
    pub observe: Option<Observe>,
    /// The step that is to fail, for the test that nothing is left behind. Heeded only when built for that test.
    pub fail_at: Option<String>,
}

/// What is observed of a sandbox: the programs it starts, and the first opening of some files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observe {
    /// Whether the programs are told, which makes each a little slower to start.
    pub programs: bool,
    /// Files of the workspace, relative to it. Regular files, each of them there.
    pub files: Vec<String>,
}

/// Who the sandbox is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The host user that user 1000 inside stands for.
    pub uid: u32,
    /// The host group that group 1000 inside stands for.
    pub gid: u32,
    /// The keeper's own user and group.
    pub keeper: (u32, u32),
    /// How the mapping is made.
    pub mapping: Mapping,
}

/// How user 1000 comes to stand for a host user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// The launcher is root: it writes the maps, and mounts show the keeper's files as the sandbox's own.
    ByRoot,
    /// An ordinary user: `newuidmap` and `newgidmap` write the maps from the subordinate ids; files of the keeper that
    /// must be writable are given to the sandbox on a private copy.
    ByHelpers {
        /// Absolute path of `newuidmap`.
        newuidmap: String,
        /// Absolute path of `newgidmap`.
        newgidmap: String,
        /// The user and group mapped as 1001. The keeper's own, so that its files can be given away on a private copy;
        /// or subordinate ones where the sandbox is the keeper, for without any the kernel lets nobody leave groups.
        beside: (u32, u32),
    },
}

/// The control groups, made by the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    /// A version 2 directory: the sandbox is born in it, and its `cgroup.kill` ends it.
    pub unified: Option<String>,
    /// `tasks` files of version 1 directories that the first process writes itself to.
    pub attach: Vec<String>,
}

/// A host directory or file shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host, without symbolic links.
    pub source: String,
    /// Absolute path inside.
    pub target: String,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and execute, as the host's permissions say.
    ReadOnly,
    /// Everything, on a copy that dies with the sandbox.
    PrivateCopy,
    /// Everything, on the host's directory itself.
    ReadWrite,
}

/// A file made for the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path inside.
    pub target: String,
    /// Permission bits.
    pub mode: u32,
    /// The bytes.
    pub content: Vec<u8>,
}

/// Whether there is a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Only a loopback that nobody outside listens to.
    None,
    /// The same, with the doors' listeners on it.
    Doors,
}

/// Limits that the launcher itself sets; the control groups hold the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that may be written to everything writable together, except read-write binds.
    pub disk_bytes: u64,
    /// Files that may exist there.
    pub disk_files: u64,
    /// Processes of this host user; `None` where the user is shared with the keeper.
    pub processes: Option<u64>,
    /// Descriptors one process may hold.
    pub open_files: u64,
}

impl Spec {
    /// The byte form.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        let text = |w: &mut Writer, t: &String| w.bytes(t.as_bytes());
        w.list(&self.argv, text);
        w.list(&self.env, |w, (name, value)| {
            w.bytes(name.as_bytes());
            w.bytes(value.as_bytes());
        });
        w.bytes(self.directory.as_bytes());
        self.owner.encode(&mut w);
        w.optional(self.groups.unified.as_ref(), text);
        w.list(&self.groups.attach, text);
        w.optional(self.workspace.as_ref(), text);
        w.list(&self.binds, |w, bind| {
            w.bytes(bind.source.as_bytes());
            w.bytes(bind.target.as_bytes());
            w.u8(bind.access as u8);
        });
        w.list(&self.files, |w, file| {
            w.bytes(file.target.as_bytes());
            w.u32(file.mode);
            w.bytes(&file.content);
        });
        w.u8(self.network as u8);
        w.u64(self.limits.disk_bytes);
        w.u64(self.limits.disk_files);
        w.optional(self.limits.processes.as_ref(), |w, n| w.u64(*n));
        w.u64(self.limits.open_files);
        w.optional(self.observe.as_ref(), |w, observe| {
            w.u8(observe.programs.into());
            w.list(&observe.files, text);
        });
        w.optional(self.fail_at.as_ref(), text);
        w.finish()
    }

    /// Reads the byte form; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > SPEC_BYTES_MAX {
            return Err(Malformed);
        }
        let mut r = Reader::new(bytes);
        let spec = Self {
            argv: r.list(Reader::text)?,
            env: r.list(|r| Ok((r.text()?, r.text()?)))?,
            directory: r.text()?,
            owner: Owner::decode(&mut r)?,
            groups: Groups { unified: r.optional(Reader::text)?, attach: r.list(Reader::text)? },
            workspace: r.optional(Reader::text)?,
            binds: r.list(|r| {
                let (source, target) = (r.text()?, r.text()?);
                let access = match r.u8()? {
                    0 => Access::ReadOnly,
                    1 => Access::PrivateCopy,
                    2 => Access::ReadWrite,
                    _ => return Err(Malformed),
                };
                Ok(Bind { source, target, access })
            })?,
            files: r.list(|r| Ok(File { target: r.text()?, mode: r.u32()? & 0o777, content: r.bytes()? }))?,
            network: match r.u8()? {
                0 => Network::None,
                1 => Network::Doors,
                _ => return Err(Malformed),
            },
            limits: Limits {
                disk_bytes: r.u64()?,
                disk_files: r.u64()?,
                processes: r.optional(Reader::u64)?,
                open_files: r.u64()?,
            },
            observe: r.optional(|r| {
                let programs = match r.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed),
                };
                Ok(Observe { programs, files: r.list(Reader::text)? })
            })?,
            fail_at: r.optional(Reader::text)?,
        };
        r.end()?;
        if spec.argv.is_empty() { Err(Malformed) } else { Ok(spec) }
    }
}

impl Spec {
    /// Whether the programs that are started inside are told.
    pub(crate) fn tells_programs(&self) -> bool {
        self.observe.as_ref().is_some_and(|observe| observe.programs)
    }
}

impl Owner {
    fn encode(&self, w: &mut Writer) {
        for id in [self.uid, self.gid, self.keeper.0, self.keeper.1] {
            w.u32(id);
        }
        match &self.mapping {
            Mapping::ByRoot => w.u8(0),
            Mapping::ByHelpers { newuidmap, newgidmap, beside } => {
                w.u8(1);
                w.bytes(newuidmap.as_bytes());
                w.bytes(newgidmap.as_bytes());
                w.u32(beside.0);
                w.u32(beside.1);
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (uid, gid, keeper) = (r.u32()?, r.u32()?, (r.u32()?, r.u32()?));
        let mapping = match r.u8()? {
            0 => Mapping::ByRoot,
            1 => Mapping::ByHelpers { newuidmap: r.text()?, newgidmap: r.text()?, beside: (r.u32()?, r.u32()?) },
            _ => return Err(Malformed),
        };
        // Host root is never the user of a sandbox, whatever the keeper asks for.
        if uid == 0 || gid == 0 { Err(Malformed) } else { Ok(Self { uid, gid, keeper, mapping }) }
    }

    /// Whether files of the keeper must be given to the sandbox one by one.
    pub(crate) fn must_be_given_files(&self) -> bool {
        matches!(self.mapping, Mapping::ByHelpers { .. }) && (self.uid, self.gid) != self.keeper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn example() -> Spec {
        Spec {
            argv: vec!["/usr/bin/true".into(), "ü".into()],
            env: vec![("PATH".into(), "/usr/bin".into())],
            directory: WORKSPACE.into(),
            owner: Owner { uid: 200_000, gid: 200_000, keeper: (0, 0), mapping: Mapping::ByRoot },
            groups: Groups { unified: Some("/sys/fs/cgroup/x".into()), attach: vec!["/a/tasks".into()] },
            workspace: Some("/srv/tree".into()),
            binds: vec![Bind { source: "/opt".into(), target: "/opt/tool".into(), access: Access::PrivateCopy }],
            files: vec![File { target: "/etc/x".into(), mode: 0o644, content: vec![0, 255] }],
            network: Network::Doors,
            limits: Limits { disk_bytes: 1 << 20, disk_files: 100, processes: Some(64), open_files: 1024 },
            observe: Some(Observe { programs: true, files: vec![".env".into()] }),
            fail_at: None,
        }
    }

    #[test]
    fn a_spec_reads_back_as_itself() {
        let spec = example();
        assert_eq!(Spec::decode(&spec.encode()), Ok(spec));
    }

    #[test]
    fn every_shorter_and_every_longer_form_is_refused() {
        let bytes = example().encode();
        for end in 0..bytes.len() {
            assert_eq!(Spec::decode(&bytes[..end]), Err(Malformed), "cut at {end}");
        }
        assert_eq!(Spec::decode(&[bytes.as_slice(), &[0]].concat()), Err(Malformed));
    }

    #[test]
    fn garbage_is_refused_without_great_effort() {
        // A linear congruential generator: the same garbage on every machine.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..20_000 {
            let bytes: Vec<u8> = (0..round % 200)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect();
            assert_eq!(Spec::decode(&bytes), Err(Malformed));
        }
        assert_eq!(Spec::decode(&[0xff; 64]), Err(Malformed), "a length of 2^64-1 is not believed");
    }

    #[test]
    fn flipped_bytes_never_panic_and_never_make_host_root_the_owner() {
        let bytes = example().encode();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                if let Ok(spec) = Spec::decode(&flipped) {
                    assert!(spec.owner.uid != 0 && spec.owner.gid != 0);
                }
            }
        }
    }

    #[test]
    fn a_name_with_nul_and_a_sandbox_that_is_root_are_refused() {
        let mut spec = example();
        spec.argv = vec!["a\0b".into()];
        assert_eq!(Spec::decode(&spec.encode()), Err(Malformed));
        let mut spec = example();
        spec.owner.uid = 0;
        assert_eq!(Spec::decode(&spec.encode()), Err(Malformed));
        let mut spec = example();
        spec.argv.clear();
        assert_eq!(Spec::decode(&spec.encode()), Err(Malformed));
    }
}
