//! The master key: the one secret that lies unsealed on disk, in a file only its owner can read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use selvedge_domain::Digest;
use zeroize::Zeroizing;

use crate::Secret;

const KEY_BYTES: usize = 32;
/// Its name beneath the state directory.
const FILE_NAME: &str = "master.key";

/// The key that seals the key of every record.
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

/// The master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// Others could read it, or could have.
    #[error("`{}` has mode {mode:04o} and belongs to uid {uid}: others may have read it", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
    },
    /// It is not a key file of ours.
    #[error("`{}` is not a master key: {because}", path.display())]
    NotAKey {
        /// The key file.
        path: PathBuf,
        /// What it is instead.
        because: &'static str,
    },
    /// It could not be read or made.
    #[error("cannot use `{}`: {source}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl MasterKeyError {
    /// What the operator can do.
    pub fn remedy(&self) -> String {
        match self {
            Self::Exposed { path, .. } => format!(
                "if nobody else used this machine, run `chmod 600 {0}` as the user that runs selvedge and make sure \
                 that user owns it; otherwise take the state directory for disclosed and start a new one",
                path.display()
            ),
            Self::NotAKey { path, .. } => {
                format!("bring `{}` back from where the state directory is backed up", path.display())
            }
            Self::Io { path, .. } => {
                format!("make sure that `{}` can be read and its directory written", path.display())
            }
        }
    }
}

impl MasterKey {
    /// The key in this state directory, made on first use.
    pub fn in_state_dir(dir: &Path) -> Result<Self, MasterKeyError> {
        let path = dir.join(FILE_NAME);
        match Self::read(&path) {
            Err(MasterKeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(dir, &path).map_err(|source| MasterKeyError::Io { path: path.clone(), source })?;
                Self::read(&path)
            }
            read => read,
        }
    }

    /// A key that was supplied from outside: a service manager's credential, a key service. None unless it has 32 bytes.
    pub fn supplied(key: &Secret) -> Option<Self> {
        key.expose().try_into().ok().map(|key| Self(Zeroizing::new(key)))
    }

    fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let io = |source: io::Error| MasterKeyError::Io { path: path.to_owned(), source };
        let not_a_key = |because| Err(MasterKeyError::NotAKey { path: path.to_owned(), because });
        // Neither a link to somewhere else nor a pipe that blocks.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP) => return not_a_key("it is a symbolic link"),
            Err(error) => return Err(io(error.into())),
        };
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return not_a_key("it is not a file");
        }
        let (mode, uid) = (metadata.mode() & 0o7777, metadata.uid());
        if mode & 0o077 != 0 || uid != rustix::process::geteuid().as_raw() {
            return Err(MasterKeyError::Exposed { path: path.to_owned(), mode, uid });
        }
        if usize::try_from(metadata.len()) != Ok(KEY_BYTES) {
            return not_a_key("it does not hold 32 bytes");
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        file.read_exact(key.as_mut()).map_err(io)?;
        Ok(Self(key))
    }

    /// Tells sealed records of different master keys apart. Public: 64 bits of a digest of 256 random bits.
    pub(crate) fn id(&self) -> [u8; 8] {
        let digest = Digest::of_parts([b"selvedge master key id".as_slice(), self.expose()]);
        let mut id = [0; 8];
        id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        id
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// Makes the key file whole or not at all: written under a name of its own, then linked to `path`, which fails when
/// another process was faster; its key is the one then.
fn create(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let mut nonce = [0; 8];
    let no_randomness = |_| io::Error::other("the system gave no randomness");
    aws_lc_rs::rand::fill(key.as_mut()).map_err(no_randomness)?;
    aws_lc_rs::rand::fill(&mut nonce).map_err(no_randomness)?;
    let draft = dir.join(format!("{FILE_NAME}.{:016x}", u64::from_be_bytes(nonce)));
    let linked = write_private(&draft, key.as_ref()).and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => removed?,
    }
    File::open(dir)?.sync_all()
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes)?;
    file.sync_all()
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}
