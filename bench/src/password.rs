//! The password of all accounts, and hashes of it that are more or less expensive to verify.

use argon2::{Argon2, Params, password_hash::PasswordHasher as _};

pub const PASSWORD: &str = "correct horse battery";

/// Memory in KiB and passes of argon2id.
#[derive(Debug, Clone, Copy)]
pub struct Cost(u32, u32);

impl Cost {
    /// OWASP's parameters, which the functions use.
    pub const PRODUCTION: Self = Self(19 * 1024, 2);
    /// The minimum that argon2id allows. The cost of such a login is the cost without password hashing.
    pub const MINIMUM: Self = Self(8, 1);
}

/// A hash of [`PASSWORD`] in the format of the database. It contains its parameters, with which it is verified.
pub fn hash(Cost(memory, passes): Cost) -> anyhow::Result<String> {
    let failed = |error: &dyn std::fmt::Display| anyhow::anyhow!("argon2: {error}");
    let params = Params::new(memory, passes, 1, None).map_err(|error| failed(&error))?;
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = argon2.hash_password(PASSWORD.as_bytes()).map_err(|error| failed(&error))?;
    Ok(hash.to_string())
}
