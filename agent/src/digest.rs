//! Digests of contents, under a key that this process makes at its start and never tells, or that it is given: whoever comes to see
//! digests without it can't find out what they stand for by trying contents.

use std::sync::OnceLock;

use reloadlet_core::model::digest::Digest;
use ring::hmac::{Context, HMAC_SHA256, Key};
#[cfg(not(test))]
use ring::rand::SystemRandom;

/// The key. What the API server shows and what is on disk is compared, so there is one for both.
static KEY: OnceLock<Option<Key>> = OnceLock::new();

/// The key; one that wasn't given is made, and kept nowhere else: what the journal remembers doesn't hang on it.
fn key() -> Option<&'static Key> {
    KEY.get_or_init(made).as_ref()
}

#[cfg(not(test))]
fn made() -> Option<Key> {
    Key::generate(HMAC_SHA256, &SystemRandom::new()).ok()
}

/// The key of all tests: one of them is given it, and they share the process.
#[cfg(test)]
pub(crate) const OF_TESTS: [u8; 64] = [7; 64];

#[cfg(test)]
fn made() -> Option<Key> {
    Some(Key::new(HMAC_SHA256, &OF_TESTS))
}

/// Makes the key, unless the kernel gives no random bytes. Without it nothing is known of any contents.
pub(crate) fn make_key() -> bool {
    key().is_some()
}

/// Takes this key. Whether it is the one by which digests are made: there is one for the life of the process.
pub(crate) fn use_key(bytes: &[u8]) -> bool {
    let given = Some(Key::new(HMAC_SHA256, bytes));
    // Two keys are the same if they make the same of something.
    let sign = |key: &Key| ring::hmac::sign(key, b"which key").as_ref().to_vec();
    let expected = given.as_ref().map(sign);
    KEY.get_or_init(|| given).as_ref().map(sign) == expected
}

/// What tells the key from others, and leads back to none.
pub(crate) fn key_id() -> Option<String> {
    let digest = of(b"the name of the key")?;
    Some(digest.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// A digest that is being made: HMAC-SHA-256, out of the crate that TLS uses anyway.
pub(crate) struct Hasher(Context);

impl Hasher {
    /// A hash of nothing yet; `None` where the process has no key.
    pub(crate) fn begin() -> Option<Self> {
        key().map(|key| Self(Context::with_key(key)))
    }

    /// Adds bytes to what is hashed.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes that were added.
    pub(crate) fn end(self) -> Option<Digest> {
        self.0.sign().as_ref().try_into().ok().map(Digest::new)
    }
}

/// The digest of these bytes.
pub(crate) fn of(bytes: &[u8]) -> Option<Digest> {
    let mut hasher = Hasher::begin()?;
    hasher.update(bytes);
    hasher.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::{SHA256, digest};

    #[test]
    fn a_digest_cant_be_made_without_the_key() {
        let content = b"password";
        let made = of(content).unwrap();
        assert_eq!(Some(made), of(content));
        assert_ne!(Some(made), of(b"passwork"));
        let sha256 = digest(&SHA256, content);
        assert_ne!(&made.as_bytes()[..], sha256.as_ref(), "the plain SHA-256");
        for guess in [&[][..], &[0; 32], &[0; 64]] {
            let tag = ring::hmac::sign(&Key::new(HMAC_SHA256, guess), content);
            assert_ne!(&made.as_bytes()[..], tag.as_ref(), "a key that is no secret");
        }
    }

    #[test]
    fn a_digest_doesnt_show_its_bytes_where_it_is_printed() {
        assert_eq!(format!("{:?}", of(b"password").unwrap()), "Digest");
    }

    #[test]
    fn a_digest_of_pieces_is_that_of_the_whole() {
        let mut hasher = Hasher::begin().unwrap();
        hasher.update(b"pass");
        hasher.update(b"word");
        assert_eq!(hasher.end(), of(b"password"));
    }
}
