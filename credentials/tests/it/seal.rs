//! Sealed records open in their own place, whole, under their own key; the master key's file is private or refused.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use selvedge_credentials::{MasterKey, MasterKeyError, Purpose, Sealed, Sealer, Secret, Slot, Unreadable};

const CANARY: &[u8] = b"canary-3f9a1c77e5";

fn sealer(byte: u8) -> Sealer {
    Sealer::new(&MasterKey::supplied(&Secret::new(vec![byte; 32])).unwrap()).unwrap()
}

fn slot(id: &str) -> Slot {
    Slot { purpose: Purpose::Lease, id: id.to_owned(), version: 3 }
}

fn why(sealer: &Sealer, slot: &Slot, bytes: &[u8]) -> Option<Unreadable> {
    sealer.open(slot, &Sealed::from_bytes(bytes.to_vec())).err().map(|error| error.why)
}

proptest! {
    #[test]
    fn what_was_sealed_opens_as_it_was(secret in prop::collection::vec(any::<u8>(), 0..2000), id in ".{0,40}") {
        let sealed = sealer(1).seal(&slot(&id), &Secret::new(secret.clone())).unwrap();
        let stored = Sealed::from_bytes(sealed.as_bytes().to_vec());
        let opened = sealer(1).open(&slot(&id), &stored).unwrap();
        prop_assert_eq!(opened.expose(), secret.as_slice());
    }

    #[test]
    fn no_change_of_any_byte_goes_unseen(length in 0_usize..200, at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let sealed = sealer(1).seal(&slot("a"), &Secret::new(vec![5; length])).unwrap();
        let mut bytes = sealed.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let expected = match at {
            0 => Unreadable::Format(bytes[0]),
            1..=8 => Unreadable::OtherKey,
            _ => Unreadable::Tampered,
        };
        prop_assert_eq!(why(&sealer(1), &slot("a"), &bytes), Some(expected));
    }

    #[test]
    fn no_other_length_opens(length in 0_usize..100, cut in any::<prop::sample::Index>(), more in 1_usize..40) {
        let sealed = sealer(1).seal(&slot("a"), &Secret::new(vec![5; length])).unwrap();
        let bytes = sealed.as_bytes();
        prop_assert!(why(&sealer(1), &slot("a"), &bytes[..cut.index(bytes.len())]).is_some());
        prop_assert!(why(&sealer(1), &slot("a"), &[bytes, &vec![0; more]].concat()).is_some());
    }

    #[test]
    fn bytes_that_were_never_sealed_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(why(&sealer(1), &slot("a"), &bytes).is_some());
    }
}

#[test]
fn a_record_opens_in_no_other_place_and_under_no_other_key() {
    let sealed = sealer(1).seal(&slot("a"), &Secret::new(CANARY.to_vec())).unwrap();
    assert_eq!(sealer(1).open(&slot("a"), &sealed).unwrap().expose(), CANARY);
    for moved in [
        slot("b"),
        Slot { version: 2, ..slot("a") },
        Slot { version: 4, ..slot("a") },
        Slot { purpose: Purpose::SigningKeys, ..slot("a") },
    ] {
        assert_eq!(why(&sealer(1), &moved, sealed.as_bytes()), Some(Unreadable::Tampered), "{moved}");
    }
    assert_eq!(why(&sealer(2), &slot("a"), sealed.as_bytes()), Some(Unreadable::OtherKey));
}

#[test]
fn the_same_secret_never_seals_to_the_same_bytes_nor_shows_in_them() {
    let seal = || sealer(1).seal(&slot("a"), &Secret::new(CANARY.to_vec())).unwrap();
    let (one, two) = (seal(), seal());
    let shared = one.as_bytes().windows(8).skip(9).filter(|part| two.as_bytes().windows(8).any(|w| w == *part)).count();
    assert_eq!(shared, 0, "own key and nonce each");
    assert!(!one.as_bytes().windows(8).any(|part| CANARY.windows(8).any(|canary| canary == part)));
    assert!(sealer(1).seal(&slot("a"), &Secret::new(vec![0; (1 << 20) + 1])).is_err(), "bounded");
}

fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("master.key")
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_master_key_is_made_once_private_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = Sealer::new(&MasterKey::in_state_dir(dir.path()).unwrap())
        .unwrap()
        .seal(&slot("a"), &Secret::new(CANARY.to_vec()))
        .unwrap();
    let metadata = std::fs::metadata(file(dir.path())).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.len()), (0o600, 32));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["master.key"], "no draft is left behind");
    let again = Sealer::new(&MasterKey::in_state_dir(dir.path()).unwrap()).unwrap();
    assert_eq!(again.open(&slot("a"), &sealed).unwrap().expose(), CANARY);
}

#[test]
fn keepers_that_start_together_agree_on_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let sealed: Vec<Sealed> = std::thread::scope(|scope| {
        let start = || {
            let sealer = Sealer::new(&MasterKey::in_state_dir(dir.path()).unwrap()).unwrap();
            sealer.seal(&slot("a"), &Secret::new(CANARY.to_vec())).unwrap()
        };
        let starting: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sealer = Sealer::new(&MasterKey::in_state_dir(dir.path()).unwrap()).unwrap();
    assert!(sealed.iter().all(|sealed| sealer.open(&slot("a"), sealed).is_ok()));
}

#[test]
fn a_master_key_others_may_have_read_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::in_state_dir(dir.path()).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o644, 0o666] {
        chmod(&file(dir.path()), mode);
        let error = MasterKey::in_state_dir(dir.path()).unwrap_err();
        assert!(matches!(error, MasterKeyError::Exposed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
        assert!(error.remedy().contains("chmod 600"), "{}", error.remedy());
    }
    chmod(&file(dir.path()), 0o400);
    assert!(MasterKey::in_state_dir(dir.path()).is_ok(), "narrower will do");
}

#[test]
fn what_is_no_key_file_is_refused_and_never_replaced() {
    let refused = |make: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        make(&file(dir.path()));
        let error = MasterKey::in_state_dir(dir.path()).unwrap_err();
        assert!(matches!(error, MasterKeyError::NotAKey { .. }), "{error}");
    };
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes).unwrap();
        chmod(path, 0o600);
    };
    for bytes in [&[][..], &[1; 31], &[1; 33], &[1; 4096]] {
        refused(&|path| write(path, bytes));
    }
    refused(&|path| std::fs::create_dir(path).unwrap());
    refused(&|path| symlink("/dev/zero", path).unwrap());
    refused(&|path| {
        write(&path.with_extension("elsewhere"), &[1; 32]);
        symlink(path.with_extension("elsewhere"), path).unwrap();
    });
}

#[test]
fn a_key_that_cannot_be_made_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let error = MasterKey::in_state_dir(&dir.path().join("missing")).unwrap_err();
    assert!(matches!(error, MasterKeyError::Io { .. }), "{error}");
    assert!(error.to_string().contains("missing/master.key"), "{error}");
    assert!(error.remedy().contains("can be read"), "{}", error.remedy());
}
