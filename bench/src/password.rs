//! The password of everybody, and what it costs to verify it.

use argon2::{Argon2, Params, password_hash::PasswordHasher as _};

pub const PASSWORD: &str = "correct horse battery";

/// Memory in KiB and passes of argon2id.
#[derive(Debug, Clone, Copy)]
pub struct Cost(u32, u32);

impl Cost {
    /// As in `functions/src/password.rs`: OWASP's parameters.
    pub const USUAL: Self = Self(19 * 1024, 2);
    /// As little as argon2id takes: what is left of a login is all of it but its password.
    pub const LEAST: Self = Self(8, 1);
}

/// The hash of [`PASSWORD`], as the database holds it. It says what it cost, so that verifying it
/// costs the same.
pub fn hash(Cost(memory, passes): Cost) -> anyhow::Result<String> {
    let failed = |error: &dyn std::fmt::Display| anyhow::anyhow!("argon2: {error}");
    let params = Params::new(memory, passes, 1, None).map_err(|error| failed(&error))?;
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = argon2.hash_password(PASSWORD.as_bytes()).map_err(|error| failed(&error))?;
    Ok(hash.to_string())
}
