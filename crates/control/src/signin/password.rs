//! Passwords: what is asked of them, and how they are hashed. Argon2id with OWASP's least parameters
//! (19 MiB, two passes, one lane); a hash takes some hundredths of a second, so a node makes two at
//! once at most, off the control thread.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Semaphore;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Parameters of hashes that other programs made, at most: a hash must not stop the node.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 8;

const CHARACTERS_MIN: usize = 12;
pub(super) const PASSWORD_BYTES_MAX: usize = 1024;

/// Hashes made at once.
const AT_ONCE: usize = 2;
/// Sign-ins and new passwords that wait for one, at most.
const WAITING_MAX: usize = 32;

/// What nobody's password hashes to, for comparing where there is no such user: the answer then takes
/// as long as for a user.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm8gc3VjaCB1c2VyLiAgIA$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Refuses what would be guessed soon.
pub(super) fn check(name: &str, secret: &str) -> Result<(), String> {
    let characters = secret.chars().count();
    if characters < CHARACTERS_MIN {
        return Err(format!(
            "the password has {characters} characters; at least {CHARACTERS_MIN} are asked for (a few \
             words are fine: length counts, not kinds of characters)"
        ));
    }
    if secret.len() > PASSWORD_BYTES_MAX {
        return Err(format!(
            "the password is longer than {PASSWORD_BYTES_MAX} bytes"
        ));
    }
    let mut letters = secret.chars();
    let first = letters.next();
    if letters.all(|letter| Some(letter) == first) {
        return Err("the password is one character again and again; take another".to_owned());
    }
    if secret.to_lowercase().contains(&name.to_lowercase()) && name.len() * 2 > secret.len() {
        return Err("the password is hardly more than the user's name; take another".to_owned());
    }
    Ok(())
}

fn argon2() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The PHC string of a password's hash, with a salt of its own.
pub(super) fn hash(secret: &str) -> Result<String, String> {
    let failed = |error: String| format!("the password cannot be hashed: {error}");
    let hash: PasswordHash = argon2()
        .map_err(failed)?
        .hash_password(secret.as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    Ok(hash.to_string())
}

/// Whether a text is a hash that [`verify`] takes.
pub(super) fn check_hash(phc: &str) -> Result<(), String> {
    let wrong = |what: &str| {
        format!("password: {what}; `ebbtide user password` writes what is expected here")
    };
    let hash = PasswordHash::new(phc).map_err(|_| wrong("not a PHC string"))?;
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
        return Err(wrong("not argon2id, version 19"));
    }
    let params = Params::try_from(&hash).map_err(|_| wrong("parameters that are none"))?;
    let too_much = params.m_cost() > MEMORY_KIB_MAX
        || params.t_cost() > PASSES_MAX
        || params.p_cost() > LANES_MAX;
    if too_much || hash.salt.is_none() || hash.hash.is_none() {
        return Err(wrong("no salt, no hash, or parameters that ask too much"));
    }
    Ok(())
}

/// Whether `secret` is the password with this hash. Takes some hundredths of a second.
pub(super) fn verify(secret: &str, phc: &str) -> bool {
    let (Ok(hash), Ok(argon2)) = (PasswordHash::new(phc), argon2()) else {
        return false;
    };
    argon2.verify_password(secret.as_bytes(), &hash).is_ok()
}

/// Where passwords are compared, and new ones hashed, a few at a time.
pub(super) struct Comparing {
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Comparing {
    pub fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether `secret` is the password with this hash; without one it is not, and takes as long.
    /// `None` if too many wait already.
    pub async fn is_right(&self, secret: String, phc: Option<String>) -> Option<bool> {
        let compared = self.in_turn(move || {
            let is_right = verify(&secret, phc.as_deref().unwrap_or(NOBODY));
            is_right && phc.is_some()
        });
        compared.await
    }

    /// The PHC string of a new password's hash. `None` if too many wait already.
    pub async fn hash(&self, secret: String) -> Option<Result<String, String>> {
        self.in_turn(move || hash(&secret)).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let waiting = Waiting::new(&self.waiting)?;
        let permit = Arc::clone(&self.room).acquire_owned().await.ok()?;
        drop(waiting);
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Held to the end, whoever may have hung up meanwhile.
            drop(permit);
            done
        });
        done.await.ok()
    }
}

/// A place in the line; given back when dropped, also by someone who hangs up.
struct Waiting<'line>(&'line AtomicUsize);

impl<'line> Waiting<'line> {
    fn new(line: &'line AtomicUsize) -> Option<Self> {
        let place = Self(line);
        (line.fetch_add(1, Relaxed) < WAITING_MAX).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_owasps_parameters_and_a_salt_each() {
        let (one, two) = (
            hash("correct horse").unwrap(),
            hash("correct horse").unwrap(),
        );
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(check_hash(&one).is_ok());
        assert!(verify("correct horse", &one) && !verify("correct hors", &one));
    }

    #[test]
    fn comparing_with_nobody_is_the_same_work() {
        assert_eq!(check_hash(NOBODY), Ok(()));
        assert!(hash("x").unwrap().len() == NOBODY.len());
    }

    #[test]
    fn weak_passwords_are_refused() {
        for (name, weak) in [
            ("anna", "elevenchars"),
            ("anna", "aaaaaaaaaaaaaaaa"),
            ("annabella99", "Annabella99!"),
            ("anna", &"long".repeat(257)),
        ] {
            assert!(check(name, weak).is_err(), "{weak}");
        }
        assert!(check("anna", "anna has four cats").is_ok());
        // Characters are counted, not bytes.
        assert!(check("anna", "ąąąąąąąćććć").is_err());
    }

    #[tokio::test]
    async fn those_beyond_the_line_are_told_at_once() {
        let comparing = Comparing::new();
        let all = comparing.room.acquire_many(AT_ONCE as u32).await.unwrap();
        let places: Vec<_> = (0..WAITING_MAX)
            .map(|_| Waiting::new(&comparing.waiting))
            .collect();
        assert!(places.iter().all(Option::is_some));
        let answer = comparing.is_right("correct horse".into(), None).await;
        assert_eq!(answer, None);
        let refused = comparing.hash("correct horse".into()).await;
        assert_eq!(refused, None);
        drop((all, places));
        let answer = comparing.is_right("correct horse".into(), None).await;
        assert_eq!(answer, Some(false));
    }
}
