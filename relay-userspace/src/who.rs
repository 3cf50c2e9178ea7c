//! Who asked for something.

use std::fmt;

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

/// Longest name taken from a claim.
const CLAIM_MAX: usize = 64;

/// Who asked for something: what the kernel says, and what the caller says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// User of the process that asked, as the kernel knows it.
    pub uid: u32,
    /// Its name, if it has one.
    pub user: Option<String>,
    /// Who was behind sudo, as the caller says. Nobody has checked it.
    pub sudo_user: Option<String>,
}

impl Who {
    /// Looks the user's name up, which may take time: where a host asks a directory service for names.
    #[must_use]
    pub fn of(uid: u32, sudo_user: Option<String>) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        Self { uid, user, sudo_user }
    }

    /// The relay itself, for what it does on its own.
    #[must_use]
    pub fn relay() -> Self {
        Self { uid: Uid::effective().as_raw(), user: Some("xdp-relay".to_owned()), sudo_user: None }
    }
}

/// Who is behind sudo, as the environment of this process says.
#[must_use]
pub fn sudo_user() -> Option<String> {
    std::env::var("SUDO_USER").ok().as_deref().and_then(claimed)
}

/// A claimed name, if it looks like one: it ends up in logs.
#[must_use]
pub fn claimed(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@+\\$".contains(c);
    (!name.is_empty() && name.len() <= CLAIM_MAX && name.chars().all(plain)).then(|| name.to_owned())
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => f.write_str(user)?,
            None => write!(f, "user {}", self.uid)?,
        }
        match &self.sudo_user {
            Some(name) => write!(f, " (for {name})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_claims_are_shown_beside_them() {
        let root = Who::of(0, Some("alice".into()));
        assert_eq!(root.user.as_deref(), Some("root"));
        assert_eq!(root.to_string(), "root (for alice)");
        assert_eq!(Who::of(4_000_000_000, None).to_string(), "user 4000000000");
    }

    #[test]
    fn a_claim_that_is_no_name_is_dropped() {
        assert_eq!(claimed("alice.b-1"), Some("alice.b-1".into()));
        for bad in ["", "a b", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
            assert_eq!(claimed(bad), None, "{bad:?}");
        }
    }
}
