//! A secret as it is written into a message: like what it holds, and wiped when dropped.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

/// Text or bytes that leave no copy behind.
pub(crate) struct Wiped<T: Zeroize>(pub(crate) Zeroizing<T>);

impl<T: Zeroize> From<T> for Wiped<T> {
    fn from(secret: T) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl<T: Zeroize + Serialize> Serialize for Wiped<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Wiped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Zeroize> std::fmt::Debug for Wiped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wiped(..)")
    }
}
